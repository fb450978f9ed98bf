"""Test metrics: the importance-weighted NLL, the ELBO and its parts, with standard errors."""

import math
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from .contracts import LogAcceptance, Prior, ZEstimate
from .errors import ResampledPriorsError
from .lars import MAX_BLOCK, estimate_z
from .models import LatentVariableModel

# Latent samples decoded, and proposals drawn, at a time: what stays in a core's cache, and what
# fills a GPU. They bound the memory, whatever K and S are.
ROWS = {"cpu": 2_000, "cuda": 100_000}
Z_BATCH = {"cpu": MAX_BLOCK, "cuda": 2**20}
COLUMNS = ("log_likelihood", "recons", "kl")


class Evaluated(NamedTuple):
    """How far an evaluation has come: what continues it exactly."""

    images: int  # done
    values: Tensor  # (images in all, COLUMNS), float64


@torch.no_grad()
def running_importance_weighted_terms(
    model: LatentVariableModel, images: Tensor, num_samples: int, start: Evaluated | None = None
) -> Iterator[Evaluated]:
    """``importance_weighted_terms``, image by image: where it stands after each batch of images.

    Args:
        start: where an earlier evaluation stopped, which this one continues.
    """
    # Made before the loop: small tensors kept from each turn, between large ones that come and
    # go, would fragment the heap to gigabytes.
    values = torch.zeros(len(images), len(COLUMNS), dtype=torch.float64, device=images.device)
    most = ROWS[images.device.type]
    batch_size = max(1, most // num_samples)
    done = 0
    if start is not None:
        done = start.images
        values.copy_(start.values)
    for first in range(done, len(images), batch_size):
        x = images[first : first + batch_size]
        bound, recons, kl = values[first : first + batch_size].T
        bound.fill_(-math.inf)
        for drawn in range(0, num_samples, most):
            terms = model.terms(x, min(most, num_samples - drawn))
            log_likelihood, log_prior, log_posterior = (term.double() for term in terms)
            log_weights = log_likelihood + log_prior - log_posterior
            torch.logaddexp(bound, log_weights.logsumexp(0), out=bound)
            recons -= log_likelihood.sum(0) / num_samples
            kl += (log_posterior - log_prior).sum(0) / num_samples
        bound -= math.log(num_samples)
        yield Evaluated(first + len(x), values)


def importance_weighted_terms(
    model: LatentVariableModel, images: Tensor, num_samples: int
) -> dict[str, Tensor]:
    """Per-image estimates in nats, each of shape (images,), in float64.

    ``log_likelihood``: log 1/K Σ_k p(x|z_k) p(z_k) / q(z_k|x); ``recons``: −E_q log p(x|z);
    ``kl``: E_q[log q(z|x) − log p(z)]; all from the same K samples.

    Args:
        images: shape (images, pixels).
        num_samples: K.
    """
    for evaluated in running_importance_weighted_terms(model, images, num_samples):
        values = evaluated.values
    return dict(zip(COLUMNS, values.T, strict=True))


def metrics(terms: dict[str, Tensor]) -> dict[str, float]:
    """NLL, negative ELBO and its parts in nats, each with its standard error over the images.

    Args:
        terms: of each image, as ``importance_weighted_terms``.

    Raises:
        ResampledPriorsError: a metric that is not finite.
    """
    columns = {
        "nll": -terms["log_likelihood"],
        "elbo": terms["recons"] + terms["kl"],
        "kl": terms["kl"],
        "recons": terms["recons"],
    }
    found = {}
    for name, values in columns.items():
        found[name] = values.mean().item()
        several = len(values) > 1
        found[f"{name}_se"] = values.std().item() / math.sqrt(len(values)) if several else None
        if not math.isfinite(found[name]):
            raise ResampledPriorsError(
                f"{name} is {found[name]}: the model gives values that are not finite; "
                "look at its training.csv and train it again"
            )
    return found


def evaluate(model: LatentVariableModel, images: Tensor, num_samples: int) -> dict[str, float]:
    """``metrics`` of ``importance_weighted_terms``."""
    return metrics(importance_weighted_terms(model, images, num_samples))


@torch.no_grad()
def sampling_seconds(prior: Prior, num_samples: int = 1_000, enough: float = 1.0) -> float:
    """How long samples of the prior take on its device, in seconds.

    Args:
        num_samples: of so many. Ten are drawn, then ten times as many again and again; once that
            takes ``enough`` seconds, as with an a(z) that accepts one proposal in a million, the
            rest are taken to need as long each.
    """
    prior.sample((1,))  # what is made at the first call
    drawn = 10
    while True:
        begun = time.perf_counter()
        prior.sample((drawn,)).cpu()  # waits for a GPU
        seconds = time.perf_counter() - begun
        if drawn == num_samples or seconds > enough:
            return seconds * num_samples / drawn
        drawn = min(10 * drawn, num_samples)


def estimate_model_z(
    model: LatentVariableModel,
    num_samples: int,
    target: float | None,
    estimate: Callable[..., ZEstimate] = estimate_z,
) -> ZEstimate:
    """Z of the model, stored in it; Z = 1 without error where it has no a.

    Args:
        target: stop at this standard error of log Z (nats).
        estimate: called as ``estimate_z`` is.

    Raises:
        ResampledPriorsError: a(z) is not finite, or no proposal has any chance.
    """

    def checked(proposal: Distribution | nn.Module, log_a: LogAcceptance) -> ZEstimate:
        batch_size = Z_BATCH[next(model.parameters()).device.type]
        try:
            z = estimate(
                proposal, log_a, num_samples, batch_size, target_log_standard_error=target
            )
        except ValueError as error:  # a(z) is NaN
            raise ResampledPriorsError(
                f"Z cannot be estimated ({error}): look at the run's training.csv and train it "
                "again"
            ) from error
        if z.mean == 0:
            raise ResampledPriorsError(
                f"none of {z.num_samples} proposals has an acceptance probability above 0: "
                "Z cannot be estimated; raise z_samples or lower the truncation T"
            )
        return z

    return model.normalize(checked)
