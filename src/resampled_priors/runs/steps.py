"""The steps of a run on disk: train, estimate Z, evaluate. One function a command."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import torch

from ..data.dataset import Dataset, load_dataset
from ..errors import ResampledPriorsError
from ..evaluation import estimate_model_z, evaluate
from ..experiment import Config
from ..files import sha256, write_json
from ..models import LatentVariableModel, build_model, parameter_counts
from ..runs.checkpoints import Checkpoint
from ..runs.load import load_run, load_trained
from ..runs.locks import sole_user
from ..runs.provenance import code_version, environment
from ..runs.records import read_run, read_z
from ..training.loop import training
from ..training.side_by_side import in_turns

EVALUATION_SEED = 0  # of the fixed binarization of validation and test images


def describe_device(device: str) -> str:
    """'cpu', or the name of the GPU."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


def build_run_model(settings: Config, base: Path | None) -> LatentVariableModel:
    """The untrained model; post hoc, the base's encoder and decoder, frozen.

    Raises:
        ResampledPriorsError: a post-hoc prior without a base model, or the reverse.
    """
    torch.manual_seed(settings["seed"])
    model = build_model(settings)
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
        ResampledPriorsError: unreadable, or of another data set.
    """
    data = load_dataset(path)
    if data.name != settings["dataset"]:
        raise ResampledPriorsError(
            f"{path} holds {data.name}, the run wants {settings['dataset']}: give that file"
        )
    return data


def training_run(
    folder: Path, settings: Config, data: Path, base: Path | None, device: str
) -> Generator[None, None, None]:
    """Train; write model.safetensors, training.csv and run.json. Stops after every few steps.

    Raises:
        ResampledPriorsError: another process is at work on the run, a file that is missing,
            damaged or does not fit, or a training that is not finite.
    """
    provenance: dict[str, Any] = {"settings": settings, **environment()}
    model = build_run_model(settings, base)
    dataset = read_data(data, settings)
    hashes = {"data_sha256": sha256(data)}
    if base is not None:
        hashes["base_sha256"] = sha256(base)
    with sole_user(folder):
        checkpoint = Checkpoint(folder, "train", {"settings": settings, **hashes}, device)
        progress = yield from training(model, dataset, settings, folder, checkpoint, device)
        provenance |= {
            "data": dataset.provenance,
            **hashes,
            "device": describe_device(device),
            "threads": torch.get_num_threads(),
            "iterations": progress.iteration,
            "best_iteration": progress.best_iteration or None,
            "train_seconds": round(progress.seconds, 3),
            "model_sha256": sha256(folder / "model.safetensors"),
        }
        write_json(folder / "run.json", provenance)
        checkpoint.clear()  # only now: killed before, the run would have to begin anew
    print(f"trained {folder}: {progress.iteration} iterations in {progress.seconds:.0f} s")


def train_run(folder: Path, settings: Config, data: Path, base: Path | None, device: str) -> None:
    """`training_run` to its end."""
    for _ in training_run(folder, settings, data, base, device):
        pass


def train_runs_together(settings: dict[Path, Config], data: Path, device: str) -> None:
    """Train several runs of one data set side by side; each ends as if trained alone.

    Args:
        settings: run folder -> resolved settings, none of a post-hoc prior.

    Raises:
        ResampledPriorsError: as ``training_run``, once the other runs have ended.
    """
    runs = {str(f): training_run(f, s, data, None, device) for f, s in settings.items()}
    in_turns(runs, device)


def estimate_run_z(folder: Path, num_samples: int, target: float | None, device: str) -> None:
    """Estimate Z of a trained run; write z.json.

    Raises:
        ResampledPriorsError: as ``train_run``; a Z that cannot be estimated.
    """
    read_run(folder)  # before a folder is made of what is none
    with sole_user(folder):
        model, run = load_trained(folder / "model.safetensors", device)
        torch.manual_seed(run["settings"]["seed"] + 1)  # not the stream that training began with
        inputs = {"model": run["model_sha256"], "num_samples": num_samples, "target": target}
        checkpoint = Checkpoint(folder, "estimate_z", inputs, device)
        estimate = estimate_model_z(
            model, num_samples, target, progress=True, checkpoint=checkpoint
        )
        z = {
            "z": estimate.mean,
            "z_se": estimate.standard_error,
            "log_z": estimate.log_mean,
            "log_z_se": estimate.log_standard_error,
            "num_z_samples": estimate.num_samples,
            "seconds": round(checkpoint.seconds(), 3),
            "device": describe_device(device),
            "model_sha256": run["model_sha256"],
            **code_version(),
        }
        write_json(folder / "z.json", z)
        checkpoint.clear()
    print(f"Z = {estimate.mean:.6g} ± {estimate.standard_error:.2g}")


def evaluate_run(folder: Path, data: Path, num_importance_samples: int, device: str) -> None:
    """Evaluate on the whole test set; write metrics.json.

    Raises:
        ResampledPriorsError: as ``train_run``; a metric that is not finite.
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
        hashes = {"model_sha256": run["model_sha256"], "data_sha256": sha256(data)}
        inputs = {**hashes, "log_z": z["log_z"], "num_samples": num_importance_samples}
        checkpoint = Checkpoint(folder, "evaluate", inputs, device)
        torch.manual_seed(settings["seed"] + 2)
        metrics: dict[str, Any] = evaluate(
            model, images, num_importance_samples, progress=True, checkpoint=checkpoint
        )
        metrics |= {key: z[key] for key in ("z", "z_se", "log_z_se", "num_z_samples")}
        metrics |= {
            "num_importance_samples": num_importance_samples,
            "num_test_images": len(images),
            "iterations": run["iterations"],
            "train_seconds": run["train_seconds"],
            "evaluate_seconds": round(checkpoint.seconds(), 3),
            "device": run["device"],
            **parameter_counts(model),
            "seed": settings["seed"],
            **hashes,
            **code_version(),
        }
        write_json(folder / "metrics.json", metrics)
        checkpoint.clear()
    print(f"NLL {metrics['nll']:.3f}, negative ELBO {metrics['elbo']:.3f}, KL {metrics['kl']:.3f}")
