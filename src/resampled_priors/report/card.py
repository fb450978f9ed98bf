"""The card of a trained run: what its weights are, as card.md beside them."""

from pathlib import Path
from typing import Any

import yaml

from ..errors import ResampledPriorsError
from ..experiment import Run
from ..files import atomic_write, sha256
from ..runs.pretrained import run_name
from ..runs.records import read_metrics, read_run, read_z

CARD = """# {name}

The trained model of the run `{run}`: {family}, prior {prior}, {iterations:,} iterations
({hours:.1f} hours on {device}), by *Resampled Priors for Variational Autoencoders* (Bauer & Mnih,
2018) as this repository reruns it. Written by `resampled-priors card`.

```python
model = resampled_priors.load_run("results/{folder}")
model.decode(model.prior.sample((64,)))  # pixel means in [0, 1]
```

| | |
| --- | --- |
{rows}

## Settings

```yaml
{settings}
```
"""


def card(folder: Path) -> str:
    """The card of a run folder, from its records alone.

    Raises:
        ResampledPriorsError: weights or a record that is missing, damaged or of another model.
    """
    run = read_run(folder)
    z = read_z(folder, run)
    address = Run.from_folder(folder)
    settings = run["settings"]
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise ResampledPriorsError(f"{weights} is missing: a card is of weights; train the run")
    if sha256(weights) != run["model_sha256"]:
        raise ResampledPriorsError(
            f"{folder / 'run.json'} is not of {weights.name} beside it: train the run again"
        )
    try:
        rows = [*_measured(folder, run, z), *_provenance(run, weights)]
    except KeyError as error:
        raise ResampledPriorsError(
            f"{folder}: run.json or metrics.json lacks {error}: train and evaluate the run again"
        ) from error
    return CARD.format(
        name=run_name(folder),
        run=address.name,
        folder=address.folder,
        family=settings["model"]["family"],
        prior=settings["prior"]["family"],
        iterations=run["iterations"],
        hours=run["train_seconds"] / 3600,
        device=run["device"],
        rows="\n".join(f"| {key} | {value} |" for key, value in rows),
        settings=yaml.safe_dump(settings, sort_keys=False, allow_unicode=True).strip(),
    )


def _measured(folder: Path, run: dict[str, Any], z: dict[str, Any]) -> list[tuple[str, str]]:
    """NLL and negative ELBO, where the run is evaluated, and Z, each with its standard error."""
    rows = []
    if (folder / "metrics.json").exists():
        metrics = read_metrics(folder, run)
        images = f"{metrics['num_test_images']:,} test images"
        samples = f"K = {metrics['num_importance_samples']:,}"
        bound = "≤ " if metrics.get("is_bound") else ""
        nll, elbo = (
            f"{bound}{metrics[key]:.2f} ± {metrics[f'{key}_se']:.2f} nats"
            for key in ("nll", "elbo")
        )
        rows = [("test NLL", f"{nll} ({samples}, {images})"), ("negative ELBO", elbo)]
    estimate = f"{z['z']:.4g} ± {z['z_se']:.1g}, from {z['num_z_samples']:,} proposals"
    return [*rows, ("Z", estimate if z["num_z_samples"] else "1")]


def _provenance(run: dict[str, Any], weights: Path) -> list[tuple[str, str]]:
    verified = all(file["verified"] for file in run["data"])
    changed = ", changed since" if run.get("git_dirty") else ""
    return [
        (
            "data",
            f"{run['settings']['dataset']}, sha256 of the prepared file: `{run['data_sha256']}`",
        ),
        ("raw files", "the published ones" if verified else "not the published ones"),
        ("weights", f"{weights.stat().st_size:,} bytes, sha256 `{run['model_sha256']}`"),
        ("code", f"commit `{run.get('git_commit') or 'unknown'}`{changed}"),
    ]


def write_card(folder: Path) -> Path:
    """Write card.md into a run folder.

    Raises:
        ResampledPriorsError: as ``card``; the card cannot be written.
    """
    text, path = card(folder), folder / "card.md"
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path
