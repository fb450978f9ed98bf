"""The training loop: steps, the rows of the log, validations."""

import math
from collections.abc import Callable

from .schedule import kl_weight, learning_rate
from .trainer import Trainer, check_loss, means_since

LOG_ROWS = 500
MUCH_SATURATION = 0.25


def train(trainer: Trainer, after_turn: Callable[[], None] = lambda: None) -> None:
    """Train until the last iteration, or until early stopping ends it.

    Args:
        trainer: started, or restored from a checkpoint.
        after_turn: called after each turn, for instance to save a checkpoint.

    Raises:
        ResampledPriorsError: loss or weights are not finite.
    """
    while not is_finished(trainer):
        turn(trainer)
        after_turn()


def turn(trainer: Trainer) -> None:
    """A step, or several at once on a GPU, and what is due after it: a row, a validation."""
    with trainer.clock():
        trainer.advance(until=_next_stop(trainer))
        iteration = trainer.progress.iteration
        if row_is_due(trainer):
            log(trainer)
        stopping = trainer.early_stopping
        if stopping is not None and stopping.is_due(iteration):
            trainer.check_finite()
            trainer.model.finish(trainer.means)
            images = trainer.data.evaluation_images("validation", seed=0).to(trainer.device)
            nll = stopping.validate(trainer.model, images, iteration)
            if trainer.progress.rows:
                trainer.progress.rows[-1]["validation_nll"] = nll


def is_finished(trainer: Trainer) -> bool:
    iteration, stopping = trainer.progress.iteration, trainer.early_stopping
    if iteration >= trainer.training["iterations"]:
        return True
    return stopping is not None and stopping.has_stopped(iteration)


def row_is_due(trainer: Trainer) -> bool:
    return _next_row(trainer, trainer.progress.iteration - 1) == trainer.progress.iteration


def _next_row(trainer: Trainer, iteration: int) -> int:
    iterations = trainer.training["iterations"]
    every = math.ceil(iterations / LOG_ROWS)
    return min((iteration // every + 1) * every, iterations)


def _next_stop(trainer: Trainer) -> int:
    """The next iteration after which something else than a step is to be done."""
    iteration, stopping = trainer.progress.iteration, trainer.early_stopping
    row = _next_row(trainer, iteration)
    return row if stopping is None else min(row, stopping.next_validation(iteration))


def log(trainer: Trainer) -> None:
    """Add a row of means since the last one.

    Raises:
        ResampledPriorsError: the loss is not finite.
    """
    iteration, rows = trainer.progress.iteration, trainer.progress.rows
    since = rows[-1]["iteration"] if rows else 0
    loss, recons, kl = means_since(trainer.sums, iteration - since)
    check_loss(loss, recons, kl, iteration)
    posterior_mean, saturation = trainer.model.signs_of_a_bad_start(trainer.watched)
    if saturation > MUCH_SATURATION and not any(
        row["saturation"] > MUCH_SATURATION for row in rows
    ):
        print(
            f"warning: {saturation:.0%} of the decoder's first units are saturated at iteration "
            f"{iteration}, and may stay so: set training.output_bias to mean_image, or lower "
            "training.learning_rate",
            flush=True,
        )
    row = {
        "iteration": iteration,
        "loss": loss,
        "recons": recons,
        "kl": kl,
        "kl_weight": kl_weight(iteration - 1, trainer.training["warm_up"]),
        "z": trainer.model.resampling.z_in_training(),
        "posterior_mean": posterior_mean,
        "saturation": saturation,
        "learning_rate": learning_rate(iteration - 1, trainer.training),
        "seconds": trainer.seconds(),
        "validation_nll": math.nan,
    }
    rows.append(row)
