"""A run at work in its folder: what trains it, with its bar, checkpoint and record."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import save

from ..data.dataset import Dataset, load_dataset
from ..errors import ResampledPriorsError
from ..experiment import Config, image_shape
from ..files import json_text, sha256
from ..models import LatentVariableModel, build_model
from ..progress import progress_bar, tensorboard
from ..training import loop
from ..training.side_by_side import Turns
from ..training.trainer import Trainer
from .checkpoints import Checkpoint
from .load import load_trained
from .locks import sole_user
from .provenance import describe_device, environment
from .records import read_run
from .retraining import refuse_to_replace


def build_run_model(settings: Config, base: Path | None) -> LatentVariableModel:
    """The untrained model; post hoc, the base's encoder and decoder, frozen.

    Raises:
        ResampledPriorsError: a post-hoc prior without a base model, or the reverse.
    """
    torch.manual_seed(settings["seed"])
    model = build_model(settings, image_shape(settings))
    name, base_prior = settings["prior"]["name"], settings["prior"].get("base")
    if (base is None) != (base_prior is None):
        remedy = "give it no --base" if base else f"give --base the '{base_prior}' run's model"
        raise ResampledPriorsError(f"prior '{name}' and --base do not fit: {remedy}")
    if base is None:
        return model
    base_settings = read_run(base.parent)["settings"]
    for key in ("dataset", "model", "seed"):
        if base_settings[key] != settings[key]:
            raise ResampledPriorsError(f"{base} has another {key}: give the base of this very run")
    if base_settings["prior"]["name"] != base_prior:
        raise ResampledPriorsError(
            f"{base} has another prior: give the '{base_prior}' run's model"
        )
    base_model, _ = load_trained(base)
    fixed = {k: v for k, v in base_model.state_dict().items() if not k.startswith("prior.")}
    model.load_state_dict(fixed, strict=False)
    for key, parameter in model.named_parameters():
        parameter.requires_grad_(key.startswith("prior."))
    return model


def read_data(path: Path, settings: Config) -> Dataset:
    """The prepared data set of a run.

    Raises:
        ResampledPriorsError: unreadable, or of another data set or image shape.
    """
    data, shape = load_dataset(path), image_shape(settings)
    if data.name != settings["dataset"]:
        raise ResampledPriorsError(
            f"{path} holds {data.name}, the run wants {settings['dataset']}: give that file"
        )
    if data.image_shape != shape:
        raise ResampledPriorsError(
            f"{path} holds images of shape {list(data.image_shape)}, the run wants {list(shape)}: "
            f"correct datasets.{data.name}.image_shape in the config"
        )
    likelihood = settings["model"].get("likelihood", {"family": "bernoulli"})["family"]
    if data.kind == "real" and ":" not in likelihood:  # the package's are all of binary images
        raise ResampledPriorsError(
            f"{path} holds real values, which the {likelihood} likelihood of model "
            f"'{settings['model']['name']}' cannot have: name a likelihood of your own in "
            f"models.{settings['model']['name']}.likelihood"
        )
    return data


class TrainingRun:
    """A run at work: its trainer, progress bar and checkpoint."""

    def __init__(
        self, folder: Path, trainer: Trainer, checkpoint: Checkpoint, provenance: dict[str, Any]
    ) -> None:
        self.folder, self.trainer, self.checkpoint = folder, trainer, checkpoint
        self.provenance = provenance

    def begin(self) -> None:
        """Start, or continue from the checkpoint where there is one."""
        state = self.checkpoint.load()
        if state is None:
            self.trainer.start()
        else:
            self.trainer.restore(state)
            print(f"continuing from iteration {self.trainer.progress.iteration}", flush=True)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Progress is shown, and sent to TensorBoard where that is wished."""
        trainer = self.trainer
        with (
            progress_bar(
                total=trainer.training["iterations"],
                initial=trainer.progress.iteration,
                unit="it",
                desc=trainer.settings["prior"]["name"],
            ) as self.bar,
            tensorboard(self.folder, trainer.progress.iteration) as self.write_scalars,
        ):
            yield

    def is_finished(self) -> bool:
        return loop.is_finished(self.trainer)

    def turn(self) -> None:
        """A step or several; the bar and, now and then, the checkpoint follow."""
        trainer = self.trainer
        loop.turn(trainer)
        self.bar.update(trainer.progress.iteration - self.bar.n)
        if loop.row_is_due(trainer):
            row = trainer.progress.rows[-1]
            self.write_scalars(row)
            self.bar.set_postfix_str(f"loss {row['loss']:.2f} Z {row['z']:.2g}", refresh=False)
        if self.checkpoint.is_due():
            self.checkpoint.save(trainer.state())

    def finish(self) -> None:
        """Write model.safetensors, training.csv and run.json."""
        trainer, progress = self.trainer, self.trainer.progress
        seconds = trainer.seconds()
        weights = {k: v.detach().cpu().contiguous() for k, v in trainer.weights().items()}
        payload = save(weights)  # not save_file, which a kill makes leave a file of its own
        rows = pd.DataFrame(progress.rows).to_csv(index=False)
        best = trainer.early_stopping and trainer.early_stopping.best_iteration
        record = self.provenance | {
            "device": describe_device(trainer.device),
            "threads": torch.get_num_threads(),
            "iterations": progress.iteration,
            "best_iteration": best or None,
            "train_seconds": round(seconds, 3),
            "model_sha256": hashlib.sha256(payload).hexdigest(),
            "training_sha256": hashlib.sha256(rows.encode()).hexdigest(),
        }
        self.checkpoint.finish(
            {
                "training.csv": rows.encode(),
                "model.safetensors": payload,
                "run.json": json_text(record).encode(),
            }
        )
        print(f"trained {self.folder}: {progress.iteration} iterations in {seconds:.0f} s")


class FinishedRun:
    """A run that was finished before: there is nothing to do."""

    def is_finished(self) -> bool:
        return True

    def turn(self) -> None:
        pass

    def finish(self) -> None:
        pass


@contextmanager
def training_run(
    folder: Path, settings: Config, data: Path, base: Path | None, device: str
) -> Iterator[Turns]:
    """A run at work in its folder, which no other process may enter.

    Args:
        settings: a run's resolved settings (``experiment.resolve_run``).

    Raises:
        ResampledPriorsError: a file that is missing, damaged or does not fit, the results of
            other settings that took more than an hour, or a training that is not finite.
    """
    provenance: dict[str, Any] = {"settings": settings, **environment()}
    model = build_run_model(settings, base)
    dataset = read_data(data, settings)
    made_from = {"data_sha256": sha256(data)}
    if base is not None:
        made_from["base_sha256"] = sha256(base)
        made_from["base_run_sha256"] = sha256(base.with_name("run.json"))
    with sole_user(folder):
        checkpoint = Checkpoint(folder, "train", {"settings": settings, **made_from}, device)
        if checkpoint.restore():
            yield FinishedRun()
            return
        refuse_to_replace(folder, settings)
        trainer = Trainer(model, dataset, settings, device)
        run = TrainingRun(
            folder, trainer, checkpoint, provenance | {"data": dataset.provenance, **made_from}
        )
        run.begin()
        with run.shown():
            yield run
