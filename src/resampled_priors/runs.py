"""The steps of a run on disk: train, estimate Z, evaluate. One function a command."""

import time
from pathlib import Path
from typing import Any

import torch

from .data import Dataset, load_dataset
from .evaluation import (
    estimate_model_z,
    evaluate,
    load_model,
    load_run,
    read_run,
    read_z,
)
from .experiment import Config
from .files import ResampledPriorsError, sha256, write_json
from .models import LatentVariableModel, build_model, parameter_counts
from .provenance import environment
from .training import train

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
    base_model = load_model(base_settings, base)
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


def train_run(folder: Path, settings: Config, data: Path, base: Path | None, device: str) -> None:
    """Train; write model.safetensors, training.csv and run.json."""
    provenance: dict[str, Any] = {"settings": settings, **environment()}
    model = build_run_model(settings, base)
    dataset = read_data(data, settings)
    provenance["data"] = dataset.provenance
    provenance["data_sha256"] = sha256(data)
    if base is not None:
        provenance["base_sha256"] = sha256(base)
    progress = train(model, dataset, settings, folder, device)
    provenance |= {
        "device": describe_device(device),
        "threads": torch.get_num_threads(),
        "iterations": progress.iteration,
        "best_iteration": progress.best_iteration or None,
        "train_seconds": round(progress.seconds, 3),
        "model_sha256": sha256(folder / "model.safetensors"),
    }
    write_json(folder / "run.json", provenance)
    print(f"trained {folder}: {progress.iteration} iterations in {progress.seconds:.0f} s")


def estimate_run_z(folder: Path, num_samples: int, target: float | None, device: str) -> None:
    """Estimate Z of a trained run; write z.json."""
    settings = read_run(folder)["settings"]
    model = load_model(settings, folder / "model.safetensors", device)
    torch.manual_seed(settings["seed"] + 1)  # not the stream that training began with
    start = time.monotonic()
    estimate = estimate_model_z(model, num_samples, target, progress=True)
    write_json(
        folder / "z.json",
        {
            "z": estimate.mean,
            "z_se": estimate.standard_error,
            "log_z": estimate.log_mean,
            "log_z_se": estimate.log_standard_error,
            "num_z_samples": estimate.num_samples,
            "seconds": round(time.monotonic() - start, 3),
            "device": describe_device(device),
        },
    )
    print(f"Z = {estimate.mean:.6g} ± {estimate.standard_error:.2g}")


def evaluate_run(folder: Path, data: Path, num_importance_samples: int, device: str) -> None:
    """Evaluate on the whole test set; write metrics.json."""
    run = read_run(folder)
    settings, z = run["settings"], read_z(folder)
    model = load_run(folder, device)
    images = read_data(data, settings).evaluation_images("test", EVALUATION_SEED).to(device)
    torch.manual_seed(settings["seed"] + 2)
    start = time.monotonic()
    metrics: dict[str, Any] = evaluate(model, images, num_importance_samples, progress=True)
    metrics |= {key: z[key] for key in ("z", "z_se", "log_z_se", "num_z_samples")}
    metrics |= {
        "num_importance_samples": num_importance_samples,
        "num_test_images": len(images),
        "iterations": run["iterations"],
        "train_seconds": run["train_seconds"],
        "evaluate_seconds": round(time.monotonic() - start, 3),
        "device": run["device"],
        **parameter_counts(model),
        "seed": settings["seed"],
    }
    write_json(folder / "metrics.json", metrics)
    print(f"NLL {metrics['nll']:.3f}, negative ELBO {metrics['elbo']:.3f}, KL {metrics['kl']:.3f}")
