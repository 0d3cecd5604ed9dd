"""The GELU gate of Restormer with less memory kept for the backward pass."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from dcpt_arch.layers.pixel_linear import eager_on_cpu


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
