"""The Rényi bound as the objective (Li & Turner, 2016): the ELBO as α → 1, IWAE's at α = 0."""

import math

from torch import Tensor

from resampled_priors.contracts import Terms


class RenyiBound:
    def __init__(self, num_samples: int, alpha: float) -> None:
        self.num_samples, self.alpha = num_samples, alpha

    def __call__(self, terms: Terms, beta: Tensor | float) -> Tensor:
        log_weights = terms.log_likelihood + beta * (terms.log_prior - terms.log_posterior)
        powers = (1 - self.alpha) * log_weights
        return ((math.log(self.num_samples) - powers.logsumexp(0)) / (1 - self.alpha)).mean()
