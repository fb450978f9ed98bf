"""The steps of a run on disk: train, estimate Z, evaluate. One function a command."""

from dataclasses import astuple
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..contracts import LogAcceptance, Prior, ZEstimate
from ..errors import ResampledPriorsError
from ..evaluation import (
    COLUMNS,
    Evaluated,
    estimate_model_z,
    metrics,
    running_importance_weighted_terms,
    sampling_seconds,
)
from ..experiment import Config
from ..files import json_text, sha256
from ..lars import RunningMean, running_z_estimates
from ..models import LatentVariableModel, parameter_counts
from ..progress import progress_bar
from ..training.side_by_side import in_turns
from .checkpoints import Checkpoint
from .load import load_run, load_trained
from .locks import sole_user
from .provenance import code_version, describe_device
from .records import hashes, read_run, read_z
from .training import read_data, training_run

EVALUATION_SEED = 0  # of the fixed binarization of validation and test images


def train_run(folder: Path, settings: Config, data: Path, base: Path | None, device: str) -> None:
    """Train; write training.csv, model.safetensors and run.json.

    Raises:
        ResampledPriorsError: as ``training_run``.
    """
    with training_run(folder, settings, data, base, device) as run:
        while not run.is_finished():
            run.turn()
        run.finish()


def train_runs_together(settings: dict[Path, Config], data: Path, device: str) -> None:
    """Train several runs of one data set side by side; each ends as if trained alone.

    Args:
        settings: run folder -> resolved settings, none of a post-hoc prior.

    Raises:
        ResampledPriorsError: as ``training_run``, once the other runs have ended.
    """
    in_turns({str(f): training_run(f, s, data, None, device) for f, s in settings.items()}, device)


# ---- Z ------------------------------------------------------------------------------------


class CheckpointedZ:
    """``estimate_z`` with a bar and a checkpoint, for a prior that may ask for several Zs.

    Attributes:
        done: the estimates that have been made, in the order in which they were asked for.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        saved = checkpoint.load() or {"done": [], "sums": RunningMean()}
        self.saved = [ZEstimate(*values) for values in saved["done"]]
        self.sums = RunningMean(*saved["sums"])
        self.done: list[ZEstimate] = []

    def __call__(
        self,
        proposal: Distribution | nn.Module,
        log_a: LogAcceptance,
        num_samples: int,
        batch_size: int,
        *,
        target_log_standard_error: float | None,
    ) -> ZEstimate:
        if len(self.done) < len(self.saved):
            self.done.append(self.saved[len(self.done)])
            return self.done[-1]
        sums, self.sums = self.sums, RunningMean()
        estimates = running_z_estimates(
            proposal,
            log_a,
            num_samples,
            batch_size,
            target_log_standard_error=target_log_standard_error,
            sums=sums,
        )
        with progress_bar(total=num_samples, unit="sample", unit_scale=True, desc="Z") as bar:
            for current, sums in estimates:
                estimate = current
                bar.update(estimate.num_samples - bar.n)
                text = f"Z {estimate.mean:.4g} ± {estimate.standard_error:.1g}"
                bar.set_postfix_str(text, refresh=False)
                if self.checkpoint.is_due():
                    self.checkpoint.save(
                        {"done": [astuple(z) for z in self.done], "sums": tuple(sums)}
                    )
        self.done.append(estimate)
        return estimate


def estimate_run_z(folder: Path, num_samples: int, target: float | None, device: str) -> None:
    """Estimate Z of a trained run; write z.json.

    Raises:
        ResampledPriorsError: as ``training_run``; a Z that cannot be estimated.
    """
    read_run(folder)  # before a folder is made of what is none
    with sole_user(folder):
        model, run = load_trained(folder / "model.safetensors", device)
        torch.manual_seed(run["settings"]["seed"] + 1)  # not the stream that training began with
        inputs = {
            "model": run["model_sha256"],
            **hashes(folder, "run.json"),
            "num_samples": num_samples,
            "target": target,
        }
        checkpoint = Checkpoint(folder, "estimate_z", inputs, device)
        if checkpoint.restore():
            return
        estimates = CheckpointedZ(checkpoint)
        estimate = estimate_model_z(model, num_samples, target, estimates)
        z: dict[str, Any] = {
            "z": estimate.mean,
            "z_se": estimate.standard_error,
            "log_z": estimate.log_mean,
            "log_z_se": estimate.log_standard_error,
            "num_z_samples": estimate.num_samples,
        }
        if len(estimates.done) > 1:  # the Zs whose product it is
            z["factors"] = [astuple(factor) for factor in estimates.done]
        z |= {
            "seconds": round(checkpoint.seconds(), 3),
            "device": describe_device(device),
            "model_sha256": run["model_sha256"],
            **hashes(folder, "run.json"),
            **code_version(),
        }
        checkpoint.finish({"z.json": json_text(z).encode()})
    print(f"Z = {estimate.mean:.6g} ± {estimate.standard_error:.2g}")


# ---- evaluation ---------------------------------------------------------------------------


def evaluate_run(folder: Path, data: Path, num_importance_samples: int, device: str) -> None:
    """Evaluate on the whole test set; write metrics.json.

    Raises:
        ResampledPriorsError: as ``training_run``; a metric that is not finite.
    """
    read_run(folder)
    with sole_user(folder):
        model, run = load_run(folder, device), read_run(folder)
        settings, z = run["settings"], read_z(folder, run)
        dataset = read_data(data, settings)
        if dataset.provenance != run["data"]:
            raise ResampledPriorsError(
                f"{data} was not made from the files that {folder} was trained on: "
                "delete that folder and run it again"
            )
        images = dataset.evaluation_images("test", EVALUATION_SEED).to(device)
        made_from = {"model_sha256": run["model_sha256"], "data_sha256": sha256(data)}
        inputs = {
            **made_from,
            **hashes(folder, "run.json", "z.json"),
            "num_samples": num_importance_samples,
        }
        checkpoint = Checkpoint(folder, "evaluate", inputs, device)
        if checkpoint.restore():
            return
        torch.manual_seed(settings["seed"] + 2)
        found: dict[str, Any] = evaluate(model, images, num_importance_samples, checkpoint)
        found |= {key: z[key] for key in ("z", "z_se", "log_z_se", "num_z_samples")}
        found |= {
            "num_importance_samples": num_importance_samples,
            "num_test_images": len(images),
            "iterations": run["iterations"],
            "train_seconds": run["train_seconds"],
            "evaluate_seconds": round(checkpoint.seconds(), 3),
            **time_of_samples(model.prior),
            "device": run["device"],
            **parameter_counts(model),
            **({"is_bound": True} if model.prior.is_bound else {}),
            "seed": settings["seed"],
            **made_from,
            **hashes(folder, "run.json", "z.json"),
            **code_version(),
        }
        checkpoint.finish({"metrics.json": json_text(found).encode()})
    print(f"NLL {found['nll']:.3f}, negative ELBO {found['elbo']:.3f}, KL {found['kl']:.3f}")


def time_of_samples(prior: Prior) -> dict[str, float]:
    """For metrics.json: the seconds of 1,000 samples, nothing of a density without a sampler."""
    try:
        return {"sample_seconds": float(f"{sampling_seconds(prior):.3g}")}
    except NotImplementedError:
        return {}


def evaluate(
    model: LatentVariableModel, images: Tensor, num_samples: int, checkpoint: Checkpoint
) -> dict[str, float]:
    """``evaluation.metrics`` of images with a bar and a checkpoint, from which it continues.

    Raises:
        ResampledPriorsError: a metric that is not finite.
    """
    saved = checkpoint.load()
    evaluated = start = None if saved is None else Evaluated(**saved)
    running = running_importance_weighted_terms(model, images, num_samples, start)
    with progress_bar(
        total=len(images), initial=start.images if start else 0, unit="image", desc="NLL"
    ) as bar:
        for evaluated in running:
            bar.update(evaluated.images - bar.n)
            if checkpoint.is_due():
                checkpoint.save(evaluated._asdict())
    return metrics(dict(zip(COLUMNS, evaluated.values.T, strict=True)))
