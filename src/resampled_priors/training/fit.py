"""The supervised objective: a prior fitted to samples by maximum likelihood.

    max E_q(z)[log p(z)],   log p(z) = log π(z) + log a(z) − log Z  for p_∞                (eq. 5)

and, with a truncation, log p_T(z) of eq. 4 in its place. Z in training is Algorithm 1's estimate,
just as in a VAE.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..contracts import Prior


def fit(
    prior: nn.Module,
    samples: Tensor | Distribution,
    *,
    iterations: int,
    batch_size: int,
    learning_rate: float,
    on_step: Callable[[float], None] = lambda loss: None,
) -> list[float]:
    """Maximise E_q[log p(z)] with Adam, the learning rate falling to 0 along a cosine.

    Args:
        prior: a ``Prior``, or any lazy module, such as a zuko flow.
        samples: of q, (n, features), from which batches are drawn with replacement; or q itself,
            whose known density Algorithm 1 then uses for Z too.
        on_step: called with the loss after each step.

    Returns:
        the loss −E_q[log p(z)] of each iteration, in nats, and the prior's own loss with it.
    """
    optimizer = torch.optim.Adam(prior.parameters(), learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, iterations)
    losses = []
    for _ in range(iterations):
        log_posterior = None
        if isinstance(samples, Distribution):
            z = samples.sample((batch_size,))
            log_posterior = samples.log_prob(z)
        else:
            z = samples[torch.randint(len(samples), (batch_size,), device=samples.device)]
        if isinstance(prior, Prior):
            log_prob = prior.training_log_prob(z, log_posterior)
            own_loss = prior.training_loss(z)
        else:
            log_prob, own_loss = prior().log_prob(z), 0.0
        loss = own_loss - log_prob.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
        on_step(losses[-1])
    return losses
