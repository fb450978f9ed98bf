"""Test metrics: the importance-weighted NLL, the ELBO and its parts, with standard errors."""

import math

import torch
from torch import Tensor

from .errors import ResampledPriorsError
from .lars import MAX_BLOCK
from .lars.normalizer import ZEstimate, estimate_z
from .models import LatentVariableModel
from .progress import progress_bar
from .runs.checkpoints import Checkpoint

# Latent samples decoded, and proposals drawn, at a time: what stays in a core's cache, and what
# fills a GPU. They bound the memory, whatever K and S are.
ROWS = {"cpu": 2_000, "cuda": 100_000}
Z_BATCH = {"cpu": MAX_BLOCK, "cuda": 2**20}


@torch.no_grad()
def importance_weighted_terms(
    model: LatentVariableModel,
    images: Tensor,
    num_samples: int,
    progress: bool = False,
    checkpoint: Checkpoint | None = None,
) -> dict[str, Tensor]:
    """Per-image estimates in nats, each of shape (images,), in float64.

    ``log_likelihood``: log 1/K Σ_k p(x|z_k) p(z_k) / q(z_k|x); ``recons``: −E_q log p(x|z);
    ``kl``: E_q[log q(z|x) − log p(z)]; all from the same K samples.

    Args:
        images: binary images as floats, shape (images, 784).
        num_samples: K.
        checkpoint: saved to now and then, and continued from where there is one.
    """
    # Made before the loop: small tensors kept from each turn, between large ones that come and
    # go, would fragment the heap to gigabytes.
    names = ("log_likelihood", "recons", "kl")
    values = torch.zeros(len(images), len(names), dtype=torch.float64, device=images.device)
    most = ROWS[images.device.type]
    batch_size = max(1, most // num_samples)
    done = 0  # images
    if checkpoint is not None and (saved := checkpoint.load()) is not None:
        done = saved["images"]
        values.copy_(saved["values"])
    with progress_bar(
        total=len(images), initial=done, unit="image", desc="NLL", disable=not progress
    ) as bar:
        for first in range(done, len(images), batch_size):
            x = images[first : first + batch_size]
            bound, recons, kl = values[first : first + batch_size].T
            bound.fill_(-math.inf)
            for start in range(0, num_samples, most):
                terms = model.log_weight_terms(x, min(most, num_samples - start))
                log_likelihood, log_prior, log_posterior = (term.double() for term in terms)
                log_weights = log_likelihood + log_prior - log_posterior
                torch.logaddexp(bound, log_weights.logsumexp(0), out=bound)
                recons -= log_likelihood.sum(0) / num_samples
                kl += (log_posterior - log_prior).sum(0) / num_samples
            bound -= math.log(num_samples)
            bar.update(len(x))
            if checkpoint is not None and checkpoint.is_due():
                checkpoint.save({"images": first + len(x), "values": values})
    return dict(zip(names, values.T, strict=True))


def evaluate(
    model: LatentVariableModel,
    images: Tensor,
    num_samples: int,
    progress: bool = False,
    checkpoint: Checkpoint | None = None,
) -> dict[str, float]:
    """NLL, negative ELBO and its parts in nats, each with its standard error over the images.

    Raises:
        ResampledPriorsError: a metric that is not finite.
    """
    terms = importance_weighted_terms(model, images, num_samples, progress, checkpoint)
    columns = {
        "nll": -terms["log_likelihood"],
        "elbo": terms["recons"] + terms["kl"],
        "kl": terms["kl"],
        "recons": terms["recons"],
    }
    metrics = {}
    for name, values in columns.items():
        metrics[name] = values.mean().item()
        several = len(values) > 1
        metrics[f"{name}_se"] = values.std().item() / math.sqrt(len(values)) if several else None
        if not math.isfinite(metrics[name]):
            raise ResampledPriorsError(
                f"{name} is {metrics[name]}: the model gives values that are not finite; "
                "look at its training.csv and train it again"
            )
    return metrics


def estimate_model_z(
    model: LatentVariableModel,
    num_samples: int,
    target: float | None,
    progress: bool = False,
    checkpoint: Checkpoint | None = None,
) -> ZEstimate:
    """Z of the model's resampled part, stored in it; Z = 1 without error where there is none."""
    part = model.resampled_part()
    if part is None:
        return ZEstimate(mean=1.0, standard_error=0.0, num_samples=0)
    try:
        estimate = estimate_z(
            part.proposal,
            part.log_a,
            num_samples,
            Z_BATCH[part.z_average.device.type],
            target_log_standard_error=target,
            progress=progress,
            checkpoint=checkpoint,
        )
    except ValueError as error:  # a(z) is NaN
        raise ResampledPriorsError(
            f"Z cannot be estimated ({error}): look at the run's training.csv and train it again"
        ) from error
    if estimate.mean == 0:
        raise ResampledPriorsError(
            f"none of {estimate.num_samples} proposals has an acceptance probability above 0: "
            "Z cannot be estimated; raise z_samples or lower the truncation T"
        )
    part.log_z.fill_(estimate.log_mean)
    return estimate
