"""The importance-weighted bound as the objective (Burda et al., 2016)."""

import math

from torch import Tensor

from resampled_priors.contracts import Terms


class IWAE:
    def __init__(self, num_samples: int) -> None:
        self.num_samples = num_samples

    def __call__(self, terms: Terms, beta: Tensor | float) -> Tensor:
        log_weights = terms.log_likelihood + beta * (terms.log_prior - terms.log_posterior)
        return math.log(self.num_samples) - log_weights.logsumexp(0).mean()
