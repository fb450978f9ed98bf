"""Training (C.3): Adam, KL warm-up, Algorithm 1's moving average, checkpoints, exact resume."""

import math
from collections.abc import Generator
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import save
from torch import Tensor

from ..data.dataset import Dataset
from ..errors import ResampledPriorsError
from ..evaluation import estimate_model_z, importance_weighted_terms
from ..experiment import Config
from ..files import atomic_write
from ..lars.normalizer import estimate_z
from ..machine.linear import products_in
from ..models import LatentVariableModel
from ..priors import has_own_class
from ..progress import progress_bar, tensorboard
from ..runs.checkpoints import Checkpoint
from ..training.graphs import Graph

LOG_ROWS = 500
GRAPH_STEPS = 20  # training steps in one CUDA graph
COMPILED_ITERATIONS = 100_000  # a run this long wins back the minute that compiling takes
VALIDATION_Z_SAMPLES = 1_000_000


@dataclass
class Progress:
    """Where training stands: all of it but weights, optimizer and generators."""

    iteration: int = 0
    seconds: float = 0.0
    rows: list[dict[str, float]] = field(default_factory=list)
    best_nll: float = math.inf
    best_iteration: int = 0


# ---- one step -----------------------------------------------------------------------------


def kl_weight(iteration: int, warm_up: int) -> float:
    """β, from 0 to 1 in a straight line over the warm-up."""
    return min(1.0, iteration / warm_up) if warm_up else 1.0


def learning_rate(iteration: int, training: Config) -> float:
    decay_after = training["decay_after"]
    decayed = decay_after is not None and iteration >= decay_after
    return training["decayed_learning_rate" if decayed else "learning_rate"]


def training_step(
    model: LatentVariableModel,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    beta: Tensor | float,
) -> Tensor:
    """One step of Adam on −log p(x|z) + β (log q(z|x) − log p(z)), one sample per image.

    Stores the new moving averages of Z. Returns loss, reconstruction and KL terms (nats, means
    over the batch), shape (3,).
    """
    (log_likelihood, log_prior, log_posterior), averages = model.training_terms(x)
    recons, kl = -log_likelihood.mean(), (log_posterior - log_prior).mean()
    loss = recons + beta * kl
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    for part, new_average in averages:
        part.z_average.copy_(new_average)
    return torch.stack([loss, recons, kl]).detach()


def batch_indices(iteration: int, size: int, batch_size: int, seed: int) -> Tensor:
    """Row numbers of this iteration's batch: each epoch a permutation of its own.

    A function of the iteration alone, so that a resumed run sees the very same batches. The
    remainder of an epoch that fills no batch is left out.
    """
    batch_size = min(batch_size, size)
    epoch, position = divmod(iteration, size // batch_size)
    order = _epoch_order(size, seed, epoch)
    return order[position * batch_size : (position + 1) * batch_size]


@lru_cache(maxsize=1)
def _epoch_order(size: int, seed: int, epoch: int) -> Tensor:
    # The generator reads the low 32 bits only: a seed shifted above them would change nothing.
    generator = torch.Generator().manual_seed(seed * 1_000_000 + epoch)
    return torch.randperm(size, generator=generator)


# ---- the loop -----------------------------------------------------------------------------


class Trainer:
    """Trains one model on one data set; its state is saved and restored whole."""

    def __init__(
        self, model: LatentVariableModel, data: Dataset, settings: Config, device: str
    ) -> None:
        self.model = model.to(device).train()
        self.settings, self.training, self.device = settings, settings["training"], device
        self.data = data
        self.images = data.train.to(device)
        on_gpu = device.startswith("cuda")
        self.optimizer = torch.optim.Adam(
            [p for p in model.parameters() if p.requires_grad],
            lr=torch.tensor(self.training["learning_rate"], device=device),
            fused=True,
            capturable=on_gpu,
        )
        # A class of the user's own may look at values on the host, which no graph can record.
        recordable = on_gpu and not has_own_class(settings["prior"])
        self.graph_steps = GRAPH_STEPS if recordable else 1
        self.graph: Graph | None = None
        if on_gpu and self.training["iterations"] >= COMPILED_ITERATIONS:
            torch._dynamo.config.suppress_errors = True  # what does not compile runs as it is
            model.training_terms = torch.compile(model.training_terms)
        self.progress = Progress()
        self.sums = torch.zeros(3, device=device)  # of loss and terms, since the last row
        self.best_weights: dict[str, Tensor] | None = None

    def start(self) -> None:
        """Set the moving average of Z to an estimate, since the paper's starts from none."""
        part = self.model.resampled_part()
        if part is not None:
            part.z_average.fill_(estimate_z(part.proposal, part.log_a, 10_000).mean)

    def schedule(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Of the next iterations: rows (count, batch), β (count,) and learning rate (count,)."""
        iterations = range(self.progress.iteration, self.progress.iteration + count)
        size, seed = self.training["batch_size"], self.settings["seed"]
        rows = [batch_indices(i, len(self.images), size, seed) for i in iterations]
        betas = [kl_weight(i, self.training["warm_up"]) for i in iterations]
        rates = [learning_rate(i, self.training) for i in iterations]
        on_host = torch.stack(rows), torch.tensor(betas), torch.tensor(rates)
        return tuple(tensor.to(self.device) for tensor in on_host)

    def batch(self, rows: Tensor) -> Tensor:
        return self.data.binarize(self.images.index_select(0, rows))

    def steps(self, rows: Tensor, betas: Tensor, rates: Tensor) -> None:
        """Steps of this schedule, no value of which goes to the host."""
        (group,) = self.optimizer.param_groups
        with products_in(self.training.get("precision", "float32")):
            for row, beta, rate in zip(rows, betas, rates, strict=True):
                group["lr"].copy_(rate)
                self.sums += training_step(self.model, self.optimizer, self.batch(row), beta)

    def step(self) -> None:
        self.steps(*self.schedule(1))
        self.progress.iteration += 1

    def advance(self, until: int) -> None:
        """The next step; on a GPU several at once where they end at iteration `until` or before.

        The first step is never in a graph: it makes the state of Adam.
        """
        count = self.graph_steps
        if count == 1 or not self.optimizer.state or self.progress.iteration + count > until:
            self.step()
            return
        schedule = self.schedule(count)
        if self.graph is None:
            self.graph = Graph(self.steps, schedule, self.changing_tensors())
        self.graph(*schedule)
        self.progress.iteration += count

    def changing_tensors(self) -> list[Tensor]:
        """What a step changes: weights, moving averages, the state of Adam, the sums."""
        adam = [tensor for state in self.optimizer.state.values() for tensor in state.values()]
        rate = self.optimizer.param_groups[0]["lr"]
        return [*self.model.state_dict().values(), *adam, rate, self.sums]

    def log(self) -> None:
        """Add a row of means since the last one.

        Raises:
            ResampledPriorsError: the loss is not finite.
        """
        iteration, rows = self.progress.iteration, self.progress.rows
        loss, recons, kl = (
            self.sums / (iteration - (rows[-1]["iteration"] if rows else 0))
        ).tolist()
        self.sums.zero_()
        if not math.isfinite(loss):
            raise ResampledPriorsError(
                f"the loss is {loss} at iteration {iteration} (reconstruction {recons}, KL {kl}): "
                "lower training.learning_rate or lengthen the warm-up, and train again"
            )
        part = self.model.resampled_part()
        row = {
            "iteration": iteration,
            "loss": loss,
            "recons": recons,
            "kl": kl,
            "kl_weight": kl_weight(iteration - 1, self.training["warm_up"]),
            "z": 1.0 if part is None else part.z_average.item(),
            "learning_rate": learning_rate(iteration - 1, self.training),
            "seconds": self.progress.seconds,
            "validation_nll": math.nan,
        }
        rows.append(row)

    def validate(self) -> None:
        """NLL on the validation set; keeps the weights if it is the best so far.

        Raises:
            ResampledPriorsError: the weights are not finite.
        """
        self.check_finite()
        images = self.data.evaluation_images("validation", seed=0).to(self.device)
        self.model.eval()
        estimate_model_z(self.model, VALIDATION_Z_SAMPLES, target=0.01)
        num_samples = self.training["validation_importance_samples"]
        terms = importance_weighted_terms(self.model, images, num_samples)
        self.model.train()
        nll = -terms["log_likelihood"].mean().item()
        if self.progress.rows:
            self.progress.rows[-1]["validation_nll"] = nll
        if nll < self.progress.best_nll:
            self.progress.best_nll = nll
            self.progress.best_iteration = self.progress.iteration
            self.best_weights = {k: v.clone() for k, v in self.model.state_dict().items()}

    def next_stop(self, log_every: int) -> int:
        """The next iteration after which something else than a step is to be done."""
        every = [log_every]
        if self.training["early_stopping"]:
            every.append(self.training["validation_interval"])
        iteration = self.progress.iteration
        stops = [(iteration // interval + 1) * interval for interval in every]
        return min(*stops, self.training["iterations"])

    def validation_is_due(self) -> bool:
        if not self.training["early_stopping"]:
            return False
        iteration = self.progress.iteration
        every = self.training["validation_interval"]
        return iteration % every == 0 or iteration == self.training["iterations"]

    def finished(self) -> bool:
        iteration = self.progress.iteration
        if iteration >= self.training["iterations"]:
            return True
        if not self.training["early_stopping"]:
            return False
        # No model is judged before the KL term has its full weight.
        since = iteration - max(self.progress.best_iteration, self.training["warm_up"])
        return since >= self.training["patience"] * self.training["validation_interval"]

    def check_finite(self) -> None:
        """What is not finite is never kept: a checkpoint of it would end each attempt alike.

        Raises:
            ResampledPriorsError: weights, moving averages or losses that are not finite.
        """
        tensors = [self.sums, *self.model.parameters()]
        tensors += [t for state in self.optimizer.state.values() for t in state.values()]
        part = self.model.resampled_part()
        if part is not None:
            tensors.append(part.z_average)
        if not all(bool(tensor.isfinite().all()) for tensor in tensors):
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
        return {
            "sums": self.sums,
            "progress": asdict(self.progress),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best_weights": self.best_weights,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.progress = Progress(**state["progress"])
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.best_weights = state["best_weights"]
        self.sums = state["sums"]


def training(
    model: LatentVariableModel,
    data: Dataset,
    settings: Config,
    run_folder: Path,
    checkpoint: Checkpoint,
    device: str = "cpu",
    *,
    show_progress: bool = True,
) -> Generator[None, None, Progress]:
    """Train a model; write model.safetensors and training.csv to the run folder.

    A generator that stops after each step, or each few on a GPU, so that several runs can take
    turns; `train` runs one to its end.

    Args:
        model: as built, its frozen parameters without ``requires_grad``.
        settings: a run's resolved settings (``experiment.resolve_run``).
        checkpoint: continued from where there is one, to the same result bit by bit (on a CPU);
            left to the caller to clear, once all that belongs to the run is written.

    Raises:
        ResampledPriorsError: loss or weights are not finite, or a file cannot be written.
    """
    iterations = settings["training"]["iterations"]
    log_every = math.ceil(iterations / LOG_ROWS)
    trainer = Trainer(model, data, settings, device)
    state = checkpoint.load()
    if state is None:
        trainer.start()
    else:
        trainer.restore(state)
        print(f"continuing from iteration {trainer.progress.iteration}", flush=True)
    progress = trainer.progress
    with (
        progress_bar(
            total=iterations,
            initial=progress.iteration,
            unit="it",
            desc=settings["prior"]["name"],
            disable=not show_progress,
        ) as bar,
        tensorboard(run_folder, progress.iteration) as write_scalars,
    ):
        while not trainer.finished():
            trainer.advance(until=trainer.next_stop(log_every))
            bar.update(progress.iteration - bar.n)
            if progress.iteration % log_every == 0 or progress.iteration == iterations:
                progress.seconds = checkpoint.seconds()
                trainer.log()
                row = progress.rows[-1]
                write_scalars(row)
                bar.set_postfix_str(f"loss {row['loss']:.2f} Z {row['z']:.2g}", refresh=False)
            if trainer.validation_is_due():
                trainer.validate()
            if checkpoint.is_due():
                checkpoint.save(trainer.state())
            yield
    progress.seconds = checkpoint.seconds()
    trainer.check_finite()
    write_results(trainer, run_folder)
    return progress


def train(*arguments: Any, **options: Any) -> Progress:
    """`training` from its beginning to its end."""
    steps = training(*arguments, **options)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def write_results(trainer: Trainer, run_folder: Path) -> None:
    """model.safetensors (the best weights, where training stops early) and training.csv."""
    weights = trainer.best_weights or trainer.model.state_dict()
    with atomic_write(run_folder / "training.csv") as temporary:
        pd.DataFrame(trainer.progress.rows).to_csv(temporary, index=False)
    # not save_file, which leaves a temporary file of its own when it is killed
    payload = save({k: v.detach().cpu().contiguous() for k, v in weights.items()})
    with atomic_write(run_folder / "model.safetensors") as temporary:
        temporary.write_bytes(payload)
