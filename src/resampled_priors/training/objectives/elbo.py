"""The negative ELBO, the paper's objective (C.3)."""

from torch import Tensor

from ...contracts import Terms


class ELBO:
    """−log p(x|z) + β (log q(z|x) − log p(z)), one sample an image (C.3): the negative ELBO."""

    num_samples = 1

    def __call__(self, terms: Terms, beta: Tensor | float) -> Tensor:
        recons = -terms.log_likelihood.mean()
        return recons + beta * (terms.log_posterior - terms.log_prior).mean()
