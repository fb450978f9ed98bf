"""A prior fitted to samples, with a progress bar."""

from torch import Tensor, nn
from torch.distributions import Distribution

from ..errors import ResampledPriorsError
from ..progress import progress_bar
from ..training.fit import fit as fit_quietly


def fit(
    prior: nn.Module,
    samples: Tensor | Distribution,
    *,
    iterations: int = 2_000,
    batch_size: int = 512,
    learning_rate: float = 0.01,
) -> list[float]:
    """Fit a prior to samples by maximum likelihood (eq. 5), with Adam; shows its progress.

    Of a LARS prior, call ``estimate_z`` afterwards: evaluation uses the Z that it stores.

    Args:
        prior: a ``ResampledPrior``, another ``Prior``, or a zuko flow; left in the mode, training
            or evaluation, in which it was.
        samples: of shape (n, features), drawn from with replacement; or a distribution, whose
            known density Algorithm 1 then uses for Z too.
        learning_rate: the first; it falls to 0 along a cosine.

    Returns:
        the loss −E_q[log p(z)] of each iteration, in nats.

    Raises:
        ResampledPriorsError: samples that are not a matrix of finite numbers.

    Source: eq. 5, with log p_T of eq. 4 where there is a truncation.

    Examples:
        >>> from torch.distributions import Independent, Normal
        >>> proposal = Independent(Normal(torch.zeros(2), torch.ones(2)), 1)
        >>> prior = ResampledPrior(proposal, AcceptanceFunction(2, hidden=(10,)))
        >>> samples = torch.randn(1_000, 2).abs()  # a quarter of the plane
        >>> losses = fit(prior, samples, iterations=200)
        >>> prior.estimate_z(100_000).mean < 0.5
        True
    """
    if isinstance(samples, Tensor) and not (samples.ndim == 2 and samples.isfinite().all()):
        raise ResampledPriorsError(
            f"samples of shape {tuple(samples.shape)} cannot be fitted: give finite numbers of "
            "shape (n, features)"
        )
    was_training = prior.training
    prior.train()
    try:
        with progress_bar(total=iterations, desc="fit", unit="it") as bar:

            def on_step(loss: float) -> None:
                bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
                bar.update()

            return fit_quietly(
                prior,
                samples,
                iterations=iterations,
                batch_size=batch_size,
                learning_rate=learning_rate,
                on_step=on_step,
            )
    finally:
        prior.train(was_training)
