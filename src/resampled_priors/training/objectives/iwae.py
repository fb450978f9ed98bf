"""The importance-weighted bound (Burda, Grosse & Salakhutdinov, 2016, arXiv:1509.00519)."""

import math

from torch import Tensor

from ...contracts import Terms
from ...settings import Positive


class IWAE:
    """−log 1/k Σ_i p(x|z_i) (p(z_i) / q(z_i|x))^β, z_i ~ q(z|x), in nats.

    At β = 1 minus their L_k: the negative ELBO at k = 1, −log p(x) as k grows. β is the warm-up's.
    """

    def __init__(self, num_samples: Positive) -> None:
        self.num_samples = num_samples

    def __call__(self, terms: Terms, beta: Tensor | float) -> Tensor:
        log_weights = terms.log_likelihood + beta * (terms.log_prior - terms.log_posterior)
        return math.log(self.num_samples) - log_weights.logsumexp(0).mean()
