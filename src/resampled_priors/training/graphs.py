"""Training steps as one CUDA graph: a small network's step is mostly launches, a replay is one."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


class Graph:
    """A function of tensors that is recorded once and then replayed on a GPU.

    It changes tensors in place, and nothing in it may depend on a value on the host. Its random
    numbers are the default generator's, which goes on at each replay as at a call.

    Args:
        function: what to record; it is called once before, since libraries set themselves up at
            their first call.
        inputs: tensors of the shapes that all later calls have.
        state: the tensors that the function changes, which the recording leaves as they were.
    """

    def __init__(
        self, function: Callable[..., None], inputs: Sequence[Tensor], state: Sequence[Tensor]
    ) -> None:
        self.inputs = [value.clone() for value in inputs]
        device = self.inputs[0].device
        before = [tensor.clone() for tensor in state]
        generator = torch.cuda.get_rng_state(device)
        stream = torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            function(*self.inputs)
        torch.cuda.current_stream(device).wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            function(*self.inputs)
        torch.cuda.set_rng_state(generator, device)
        with torch.no_grad():
            for tensor, value in zip(state, before, strict=True):
                tensor.copy_(value)

    def __call__(self, *inputs: Tensor) -> None:
        for place, value in zip(self.inputs, inputs, strict=True):
            place.copy_(value, non_blocking=True)
        self.graph.replay()
