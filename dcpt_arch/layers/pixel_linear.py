"""Products of every pixel's channels with a matrix, by the fastest library.

PyTorch computes a linear layer and its gradients by a library that is not the fastest in each direction and for each
size. Here each product goes to the fastest; results are the same but for rounding. (1x1 convolutions gain nothing:
docs/PERFORMANCE.md.) Under torch.compile, in exported graphs, on a GPU and in other precisions than float32 and
bfloat16 it is PyTorch's own operator that is used.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable

# Rows from which a convolution is faster than PyTorch's matrix library in float32: it has to rearrange the weights.
MANY_ROWS = 1024
# PyTorch sends 1x1 convolutions of fewer images to another library where it has a single thread.
IMAGES = 16
# Into how many products a long sum over rows is split.
PARTS = 4


def eager_on_cpu(x: torch.Tensor) -> bool:
    """Whether an operator runs at once, on a processor, in a precision for which this package has faster forms."""
    return x.device.type == "cpu" and x.dtype in (torch.float32, torch.bfloat16) and not torch.compiler.is_compiling()


def autocast(*tensors: torch.Tensor | None) -> tuple[Any, ...]:
    """Cast to the lower precision of autocast where that is on, as PyTorch does for its own products."""
    device = next(tensor for tensor in tensors if tensor is not None).device.type
    if not torch.is_autocast_enabled(device):
        return tensors
    dtype = torch.get_autocast_dtype(device)
    return tuple(None if tensor is None else tensor.to(dtype) for tensor in tensors)


def product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """`F.linear`: the same product for each row.

    Args:
        x: ... x K.
        weight: N x K.
        bias: N.

    Returns:
        ... x N.
    """
    if not eager_on_cpu(x):
        return F.linear(x, weight, bias)
    x, weight, bias = autocast(x, weight, bias)
    y = _Product.apply(x.reshape(-1, x.shape[-1]), weight, bias)
    return y.view(*x.shape[:-1], weight.shape[0])


class _Product(torch.autograd.Function):
    """The product of M x K with the transposed of N x K, each direction by the library that is fastest at it."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        return _rows(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        given, weights, biases = ctx.needs_input_grad
        return (
            _rows(gradient, weight.t(), None) if given else None,
            _columns(gradient, x) if weights else None,
            gradient.sum(0) if biases else None,
        )


def _rows(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    rows = len(x)
    if rows % IMAGES or (rows < MANY_ROWS if x.dtype == torch.float32 else bias is None):
        return F.linear(x, weight, bias)
    images = x.reshape(IMAGES, rows // IMAGES, 1, -1).permute(0, 3, 1, 2)
    return F.conv2d(images, weight[:, :, None, None], bias).permute(0, 2, 3, 1).reshape(rows, -1)


def _columns(gradient: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """M x N transposed, times M x K."""
    rows = len(x)
    if x.dtype != torch.float32 or rows < 8 * MANY_ROWS or rows % PARTS:
        return gradient.t() @ x
    # Several short products are spread over threads better than a long one that yields few numbers.
    a, b = (tensor.reshape(PARTS, rows // PARTS, -1) for tensor in (gradient, x))
    return torch.bmm(a.mT, b).sum(0)


class PixelLinear(nn.Linear):
    """A linear layer over the last dimension."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return product(x, self.weight, self.bias)
