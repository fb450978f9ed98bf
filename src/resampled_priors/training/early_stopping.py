"""Early stopping on the validation NLL, as static MNIST has it (C.3)."""

import math
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ..evaluation import estimate_model_z, importance_weighted_terms
from ..models import LatentVariableModel

Z_SAMPLES, Z_TARGET = 1_000_000, 0.01  # of the Z that a validation needs
STATE = ("best_nll", "best_iteration", "best_weights")


@dataclass
class EarlyStopping:
    """The best model so far, and whether there is hope of a better one.

    Attributes:
        training: the run's training settings.
        best_weights: the model's state at ``best_iteration``.
    """

    training: dict[str, Any]
    best_nll: float = math.inf
    best_iteration: int = 0
    best_weights: dict[str, Tensor] | None = field(default=None, repr=False)

    def next_validation(self, iteration: int) -> int:
        interval = self.training["validation_interval"]
        return min((iteration // interval + 1) * interval, self.training["iterations"])

    def is_due(self, iteration: int) -> bool:
        return self.next_validation(iteration - 1) == iteration

    def validate(self, model: LatentVariableModel, images: Tensor, iteration: int) -> float:
        """NLL of the validation images, in nats; keeps the weights if it is the best so far."""
        model.eval()
        estimate_model_z(model, Z_SAMPLES, Z_TARGET)
        num_samples = self.training["validation_importance_samples"]
        terms = importance_weighted_terms(model, images, num_samples)
        model.train()
        nll = -terms["log_likelihood"].mean().item()
        if nll < self.best_nll:
            self.best_nll, self.best_iteration = nll, iteration
            self.best_weights = {k: v.clone() for k, v in model.state_dict().items()}
        return nll

    def has_stopped(self, iteration: int) -> bool:
        """Whether ``patience`` validations brought nothing better.

        No model is judged before the KL term has its full weight.
        """
        since = iteration - max(self.best_iteration, self.training["warm_up"])
        return since >= self.training["patience"] * self.training["validation_interval"]

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in STATE}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in STATE:
            setattr(self, name, state[name])
