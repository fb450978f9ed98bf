"""Linear layers on a CPU by oneDNN, with the tanh behind them in the same pass.

PyTorch gives float32 matrix products to MKL, which uses half of what processors with AVX-512 can
do where they are not Intel's, and does not know tanh. oneDNN makes its code for the processor that
it finds. What is not for it (Intel's processors, on which MKL is the faster one; other number
types, a GPU, one output alone, what torch.compile or torch.func transform) goes PyTorch's own way.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

AVAILABLE = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def is_intel(processor: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor is known to be Intel's."""
    return processor.exists() and "GenuineIntel" in processor.read_text()


FASTER = AVAILABLE and not (torch.backends.mkl.is_available() and is_intel())


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None, end: str = "none") -> Tensor:
    """end(x Wᵀ + b): (rows, inputs), (outputs, inputs) -> (rows, outputs), without a gradient."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, end, [], "")


class _Linear(torch.autograd.Function):
    """``product``, its end tanh or none, with a gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, tanh: bool) -> Tensor:
        y = product(x, weight, bias, "tanh" if tanh else "none")
        ctx.tanh = tanh
        ctx.save_for_backward(x, weight, y)
        ctx.save_for_forward(x, weight, y)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, y = ctx.saved_tensors
        if ctx.tanh:
            gradient = torch.ops.aten.tanh_backward(gradient, y)
        # With create_graph the gradient has to have one, too.
        multiply = F.linear if torch.is_grad_enabled() else product
        of_x, of_weight, of_bias, _ = ctx.needs_input_grad
        return (
            multiply(gradient, weight.t()) if of_x else None,
            multiply(gradient.t(), x.t()) if of_weight else None,
            gradient.sum(0) if of_bias else None,
            None,
        )

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        x, weight, y = ctx.saved_tensors
        of_x, of_weight, of_bias, _ = tangents
        tangent = torch.zeros_like(y) if of_bias is None else of_bias.expand_as(y)
        tangent = tangent if of_x is None else tangent + F.linear(of_x, weight)
        tangent = tangent if of_weight is None else tangent + F.linear(x, of_weight)
        return tangent * (1 - y.square()) if ctx.tanh else tangent


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, tanh: bool = False) -> Tensor:
    """x Wᵀ + b, or its tanh: (..., inputs), (outputs, inputs), (outputs,) -> (..., outputs)."""
    rows = x.reshape(-1, x.shape[-1])  # tanh in place on a view would copy it in the gradient
    if (
        FASTER
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and len(weight) > 1  # a product of a matrix and a vector has nothing to gain
        and x.numel() > 0
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
    ):
        # Of the bias oneDNN reads the memory, whatever its strides are.
        bias = None if bias is None else bias.contiguous()
        y = _Linear.apply(rows, weight, bias, tanh)
    else:
        y = F.linear(rows, weight, bias)
        y = y.tanh_() if tanh else y
    return y.view(*x.shape[:-1], len(weight))
