"""Gates: products of two halves of the channels, whose gradients are written where they are wanted."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from dcpt_arch.products import eager_on_cpu


def simple_gate(x: torch.Tensor) -> torch.Tensor:
    """Multiply the two halves of the channels, N x 2C x H x W (NAFNet, Eq. 6): a gate without activation function."""
    if eager_on_cpu(x):
        return _SimpleGate.apply(x)
    a, b = x.chunk(2, dim=1)
    return a * b


class _SimpleGate(torch.autograd.Function):
    """Autograd's own gradient makes one of each half and then copies them together."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        a, b = x.chunk(2, dim=1)
        return a * b

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        result = torch.empty_like(x)
        for half, other in zip(result.chunk(2, dim=1), reversed(x.chunk(2, dim=1)), strict=True):
            torch.mul(gradient, other, out=half)
        return result


def gelu_gate(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Multiply `b` with the GELU of `a`, two tensors of one shape."""
    return _GeluGate.apply(a, b) if eager_on_cpu(a) else F.gelu(a) * b


class _GeluGate(torch.autograd.Function):
    """Keeps the two inputs alone for the backward pass, which computes the GELU again."""

    @staticmethod
    def forward(ctx: Any, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(a, b)
        return F.gelu(a).mul_(b)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        a, b = ctx.saved_tensors
        return torch.ops.aten.gelu_backward(gradient * b, a), F.gelu(a).mul_(gradient)
