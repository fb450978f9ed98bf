"""What a user's functions return, looked at where it comes in.

Shapes that broadcast, and a log a(z) above 0, would give numbers that look like numbers.
"""

import torch
from torch import Size, Tensor

from ..errors import WrongInput

ROUNDING = 1e-3  # nats by which log a may exceed 0

REMEDIES = {
    "log_a": "end it with .squeeze(-1), or wrap the proposal in torch.distributions.Independent",
    "the proposal's log_prob": "wrap the proposal in torch.distributions.Independent",
    "log_posterior": "sum log q over the features, as torch.distributions.Independent does",
}


class Checks:
    """Of shapes at each call, which costs microseconds; of values once, since a GPU waits for it.

    What is compiled or transformed (vmap) is not looked at.
    """

    def __init__(self) -> None:
        self.has_seen_values = False

    def __call__(
        self,
        z: Tensor,
        event_shape: Size,
        log_acceptance: Tensor,
        log_proposal: Tensor | None = None,
        log_posterior: Tensor | None = None,
        log_z: Tensor | None = None,
    ) -> None:
        """Args as they were given or returned: z (..., *event_shape), log_z (), the others (...).

        Raises:
            WrongInput: another shape, or no floating point tensor; a log a(z) or log Z above 0.
        """
        if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
            return
        batch = len(z.shape) - len(event_shape)
        if z.shape[max(batch, 0) :] != event_shape:
            raise WrongInput(
                f"z has shape {tuple(z.shape)}, expected one that ends in {tuple(event_shape)}, "
                "the proposal's event shape"
            )
        expected = z.shape[:batch]
        given = zip(REMEDIES, (log_acceptance, log_proposal, log_posterior), strict=True)
        for name, value in given:
            if value is None:
                continue
            if not isinstance(value, Tensor) or not value.is_floating_point():
                got = value.dtype if isinstance(value, Tensor) else type(value).__name__
                raise WrongInput(f"{name} is {got}, expected a tensor of floating point numbers")
            if value.shape != expected:
                raise WrongInput(
                    f"{name} has shape {tuple(value.shape)} for z of shape {tuple(z.shape)} with "
                    f"events of shape {tuple(event_shape)}, expected {tuple(expected)}: "
                    f"{REMEDIES[name]}"
                )
        if log_z is not None and log_z.shape:
            raise WrongInput(f"log_z has shape {tuple(log_z.shape)}, expected (), one number")
        if not self.has_seen_values:
            refuse_positive(log_acceptance)
            if log_z is not None and not bool(log_z <= ROUNDING):
                raise WrongInput(
                    f"log_z is {float(log_z):.3g}, expected at most 0, the logarithm of Z: give "
                    "estimate_z(proposal, log_a).log_mean"
                )
            self.has_seen_values = True


def refuse_positive(log_acceptance: Tensor) -> None:
    """Raises WrongInput where log a(z) is above 0 by more than rounding."""
    above = log_acceptance[log_acceptance > ROUNDING]
    if above.isinf().any():
        raise WrongInput("the acceptance function gave a value that is not finite")
    if above.numel():
        raise WrongInput(
            f"log_a goes up to {float(above.max()):.3g}, expected at most 0: it returns "
            "log a(z), in nats, of a probability a(z); end the network with "
            "torch.nn.functional.logsigmoid, for example"
        )


def refuse_nan(log_acceptance: Tensor) -> None:
    """Raises WrongInput where log a(z) is NaN."""
    if log_acceptance.isnan().any():
        raise WrongInput("log_a gave NaN: nothing can be accepted, rejected or ranked by it")
