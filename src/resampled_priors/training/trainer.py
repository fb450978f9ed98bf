"""One training step, and all of the state that a step changes, named once (C.3)."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..contracts import Objective
from ..data.dataset import Dataset
from ..errors import ResampledPriorsError
from ..models import LatentVariableModel
from ..own_code import has_own_class
from .early_stopping import EarlyStopping
from .graphs import Graph
from .objectives import build_objective
from .optimizers import build_optimizer
from .schedule import batch_indices, kl_weight, learning_rate

GRAPH_STEPS = 20  # training steps in one CUDA graph
COMPILED_ITERATIONS = 100_000  # a run this long wins back the minute that compiling takes


@dataclass
class Progress:
    """Where training stands."""

    iteration: int = 0
    seconds: float = 0.0
    rows: list[dict[str, float]] = field(default_factory=list)


class Sums(nn.Module):
    """Loss, reconstruction and KL terms (nats) since the last row of the log."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("terms", torch.zeros(3))


class Trainer:
    """Trains one model on one data set; its state is saved and restored whole.

    Attributes:
        parts: name -> what a step changes, each with ``state_dict`` and ``load_state_dict``.
            Checkpoints, graphs and the refusal of what is not finite go through them.
    """

    def __init__(
        self, model: LatentVariableModel, data: Dataset, settings: dict[str, Any], device: str
    ) -> None:
        self.model = model.to(device).train()
        self.settings, self.training, self.device = settings, settings["training"], device
        self.data = data
        self.images = data.train.to(device)
        self.watched = data.means("train")[: self.training["batch_size"]].to(device)
        on_gpu = device.startswith("cuda")
        self.objective: Objective = build_objective(self.training.get("objective"))
        self.optimizer = build_optimizer(
            self.training.get("optimizer"),
            model.parameters(),
            torch.tensor(self.training["learning_rate"], device=device),
        )
        self.sums = Sums().to(device)
        self.parts = {"model": model, "optimizer": self.optimizer, "sums": self.sums}
        self.early_stopping = (
            EarlyStopping(self.training) if self.training["early_stopping"] else None
        )
        # A class of the user's own may look at values on the host, which no graph can record.
        recordable = on_gpu and not has_own_class(settings)
        self.graph_steps = GRAPH_STEPS if recordable else 1
        self.graph: Graph | None = None
        self.terms = model.training_terms
        if on_gpu and self.training["iterations"] >= COMPILED_ITERATIONS:
            # What does not compile runs as it is.
            with_errors_suppressed = torch._dynamo.config.patch(suppress_errors=True)
            self.terms = with_errors_suppressed(torch.compile(model.training_terms))
        self.progress = Progress()
        self.turn_began: float | None = None
        self.unset: set[str] = set()  # tensors that are NaN until training has ended

    def start(self) -> None:
        """Before the first step: let the model's priors, and its decoder, see the images."""
        images = self.data.means("train").to(self.device)
        self.model.start(images)
        if self.training.get("output_bias") == "mean_image":
            self.model.start_output(images)
        self.note_unset()

    # ---- steps ----------------------------------------------------------------------------

    def batch(self, rows: Tensor) -> Tensor:
        return self.data.binarize(self.images.index_select(0, rows))

    def means(self, rows: Tensor) -> Tensor:
        """Means of the pixels of training images, (n, pixels)."""
        return self.data.means_of(self.images.index_select(0, rows))

    def step(self, x: Tensor, beta: Tensor | float) -> None:
        """One step on a batch, in which priors move their averages; its terms go to the sums."""
        terms, prior_loss = self.terms(x, self.objective.num_samples)
        loss = self.objective(terms, beta) + prior_loss
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        recons = -terms.log_likelihood.detach().mean()
        kl = (terms.log_posterior - terms.log_prior).detach().mean()
        self.sums.terms += torch.stack([loss.detach(), recons, kl])

    def steps(self, rows: Tensor, betas: Tensor, rates: Tensor) -> None:
        """Steps of this schedule, no value of which goes to the host."""
        for row, beta, rate in zip(rows, betas, rates, strict=True):
            for group in self.optimizer.param_groups:
                group["lr"].copy_(rate)
            self.model.before_step(row, self.means)
            self.step(self.batch(row), beta)

    def schedule(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Of the next iterations: rows (count, batch), β (count,) and learning rate (count,)."""
        iterations = range(self.progress.iteration, self.progress.iteration + count)
        size, seed = self.training["batch_size"], self.settings["seed"]
        rows = [batch_indices(i, len(self.images), size, seed) for i in iterations]
        betas = [kl_weight(i, self.training["warm_up"]) for i in iterations]
        rates = [learning_rate(i, self.training) for i in iterations]
        on_host = torch.stack(rows), torch.tensor(betas), torch.tensor(rates)
        return tuple(tensor.to(self.device) for tensor in on_host)

    def advance(self, until: int) -> None:
        """The next step; on a GPU several at once where they end at iteration `until` or before.

        The first step is never in a graph: it makes the optimizer's state.
        """
        count = self.graph_steps
        if not self.optimizer.state or self.progress.iteration + count > until:
            count = 1
        schedule = self.schedule(count)
        if count == 1:
            self.steps(*schedule)
        else:
            if self.graph is None:
                self.graph = Graph(self.steps, schedule, list(self.tensors().values()))
            self.graph(*schedule)
        self.progress.iteration += count

    # ---- state ----------------------------------------------------------------------------

    @contextmanager
    def clock(self) -> Iterator[None]:
        """Count the time within: that of this training alone, where several take turns."""
        self.turn_began = time.monotonic()
        yield
        self.progress.seconds, self.turn_began = self.seconds(), None

    def seconds(self) -> float:
        """Time spent on training, in earlier attempts up to their last checkpoint, too."""
        began = self.turn_began
        return self.progress.seconds + (0.0 if began is None else time.monotonic() - began)

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor that a step changes, by name."""
        return {
            f"{name}.{key}": tensor
            for name, part in self.parts.items()
            for key, tensor in _tensors(part.state_dict())
        }

    def note_unset(self) -> None:
        """What is not finite before a step is not yet set, and no sign of a failure."""
        self.unset = {name for name, t in self.tensors().items() if not _is_finite(t)}

    def check_finite(self) -> None:
        """What is not finite is never kept: a checkpoint of it would end each attempt alike.

        Raises:
            ResampledPriorsError: a tensor that a step has changed is not finite.
        """
        found = [name for name, t in self.tensors().items() if not _is_finite(t)]
        if not self.unset.issuperset(found):
            raise ResampledPriorsError(
                f"the weights are not finite at iteration {self.progress.iteration}: "
                "lower training.learning_rate or lengthen the warm-up, and train again"
            )

    def state(self) -> dict[str, Any]:
        """All that a checkpoint holds.

        Raises:
            ResampledPriorsError: it is not finite.
        """
        self.check_finite()
        state = {name: part.state_dict() for name, part in self.parts.items()}
        state["progress"] = asdict(self.progress)
        if self.early_stopping is not None:
            state["early_stopping"] = self.early_stopping.state_dict()
        return state

    def restore(self, state: dict[str, Any]) -> None:
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        self.progress = Progress(**state["progress"])
        if self.early_stopping is not None:
            self.early_stopping.load_state_dict(state["early_stopping"])
        self.note_unset()

    def weights(self) -> dict[str, Tensor]:
        """What training has found: the best model, where it stops early, else the last, finished.

        Raises:
            ResampledPriorsError: it is not finite.
        """
        self.check_finite()
        best = self.early_stopping and self.early_stopping.best_weights
        if best:
            return best
        self.model.finish(self.means)
        return self.model.state_dict()


def _tensors(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """The tensors in nested dictionaries and lists, each with its path."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in items:
            yield from _tensors(part, f"{name}.{key}" if name else str(key))


def _is_finite(tensor: Tensor) -> bool:
    return bool(tensor.isfinite().all())


def means_since(sums: Sums, iterations: int) -> list[float]:
    """Loss, reconstruction and KL terms (nats), means over so many iterations; sums begin anew."""
    means = (sums.terms / iterations).tolist()
    sums.terms.zero_()
    return means


def check_loss(loss: float, recons: float, kl: float, iteration: int) -> None:
    """Raises ResampledPriorsError where the loss is not finite."""
    if not math.isfinite(loss):
        raise ResampledPriorsError(
            f"the loss is {loss} at iteration {iteration} (reconstruction {recons}, KL {kl}): "
            "lower training.learning_rate or lengthen the warm-up, and train again"
        )
