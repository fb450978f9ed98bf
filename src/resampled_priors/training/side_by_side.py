"""Several runs in one process, in turns. On a GPU their steps overlap: each run has its stream."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

import torch

from ..errors import ResampledPriorsError


class Turns(Protocol):
    """A run at work."""

    def is_finished(self) -> bool: ...

    def turn(self) -> None: ...

    def finish(self) -> None: ...


class Place:
    """Random generators, and on a GPU a stream, that belong to one run of several."""

    def __init__(self, device: str) -> None:
        self.random = torch.get_rng_state()
        self.on_gpu = device.startswith("cuda")
        if self.on_gpu:
            self.device = torch.device(device)
            self.random_cuda = torch.Generator(device).graphsafe_get_state()
            self.stream = torch.cuda.Stream(device)

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Torch's default generators are this run's, and all GPU work goes to its stream."""
        torch.set_rng_state(self.random)
        if self.on_gpu:
            index = self.device.index or torch.cuda.current_device()
            torch.cuda.default_generators[index].graphsafe_set_state(self.random_cuda)
        with torch.cuda.stream(self.stream) if self.on_gpu else nullcontext():
            yield
        self.random = torch.get_rng_state()


def in_turns(runs: dict[str, AbstractContextManager[Turns]], device: str) -> None:
    """Advance each run a little, again and again, until all have ended.

    Each draws from generators of its own and so ends as if it had run alone. One that fails does
    not stop the others.

    Args:
        runs: name -> a context in which the run is at work, such as ``steps.training_run``.

    Raises:
        ResampledPriorsError: once all have ended, what became of those that failed.
    """
    places = {name: Place(device) for name in runs}
    waiting: dict[str, Iterator[None]] = {name: _turns(run) for name, run in runs.items()}
    failures = []
    while waiting:
        for name, run in list(waiting.items()):
            try:
                with places[name].taken():
                    next(run)
            except StopIteration:
                del waiting[name]
            except ResampledPriorsError as error:
                print(f"{name}: {error}", flush=True)
                failures.append(f"{name} ({error})")
                del waiting[name]
    if failures:
        raise ResampledPriorsError(f"{len(failures)} of {len(runs)} failed: {'; '.join(failures)}")


def _turns(context: AbstractContextManager[Turns]) -> Iterator[None]:
    with context as run:
        while not run.is_finished():
            run.turn()
            yield
        run.finish()
