"""Attention between channels, and depth-wise convolutions in groups, for Restormer: forms that are fast on a CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable

from dcpt_arch.layers.pixel_linear import eager_on_cpu

# The least norm that queries and keys are divided by, as published.
EPS = 1e-12
# A processor computes this many channels at once; the few left over cost it as much time.
ALIGNMENT = 16
# Pixels from which it pays to fill up the weights with zeros.
MANY_PIXELS = 4096


def softmax(logits: torch.Tensor) -> torch.Tensor:
    """Over the keys."""
    return logits.softmax(dim=-1)


def channel_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    temperature: torch.Tensor,
    project_out: nn.Conv2d,
    activation: Callable[[torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """Restormer's Eq. 1 with the convolution behind it: project_out(activation(q k^T * temperature) v), by heads.

    q and k are normalised over all pixels. It is computed in another order, which passes over the pixels fewer times:
    queries and keys are multiplied as they are, and their norms divide the few products; the attention is multiplied
    with the weights of `project_out`, which makes one matrix for each image of what were two products of all pixels.

    Args:
        q: N x C x H x W; so are k and v.
        k: The keys.
        v: The values.
        temperature: heads x 1 x 1.
        project_out: The 1x1 convolution after the attention, C to C.
        activation: Of the logits, N x heads x c x c for c = C / heads.

    Returns:
        N x C x H x W.
    """
    heads = len(temperature)
    # float32 from here on: there is one number for each pair of channels alone.
    products, *squares = similarities(q, k, heads)
    q_scale, k_scale = (square.clamp_min(EPS**2).rsqrt() for square in squares)
    attention = activation(products * q_scale.unsqueeze(-1) * k_scale.unsqueeze(-2) * temperature)
    # heads x C x c, by N x heads x c x c
    weight = project_out.weight.view(q.shape[1], heads, -1).transpose(0, 1) @ attention
    return product_by_image(v, weight.transpose(1, 2).flatten(2), project_out.bias)


def conv_of_filled(conv: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    """A 1x1 convolution of an input that may have channels of zeros behind its own; see `depthwise_groups`."""
    zeros = x.shape[1] - conv.in_channels
    weight = F.pad(conv.weight, (0, 0, 0, 0, 0, zeros)) if zeros else conv.weight
    return F.conv2d(x, weight, conv.bias)


def depthwise_groups(
    x: torch.Tensor, enter: nn.Conv2d, depthwise: nn.Conv2d, groups: int, fill: bool = False
) -> Sequence[torch.Tensor]:
    """A 1x1 and a depth-wise 3x3 convolution, whose output channels are wanted in groups of equal size.

    On a processor each group is computed by itself, so that it is contiguous for what follows, and its gradient need
    not be copied together with the others'.

    Args:
        x: N x C x H x W.
        enter: The 1x1 convolution.
        depthwise: The depth-wise convolution.
        groups: Their number.
        fill: Whether channels of zeros may follow in each group, where that is faster.

    Returns:
        A tensor for each group.
    """
    if not eager_on_cpu(x):
        return depthwise(enter(x)).chunk(groups, dim=1)
    fill = fill and x.numel() >= MANY_PIXELS * x.shape[1]
    zeros = -(enter.out_channels // groups) % ALIGNMENT if fill else 0

    def parts(tensor: torch.Tensor | None) -> Sequence[torch.Tensor | None]:
        if tensor is None:
            return [None] * groups
        end = [0, 0] * (tensor.dim() - 1) + [0, zeros]
        return [F.pad(part, end) if zeros else part for part in tensor.chunk(groups)]

    weights = zip(*map(parts, (enter.weight, enter.bias, depthwise.weight, depthwise.bias)), strict=True)
    return [F.conv2d(F.conv2d(x, a, a0), b, b0, padding=1, groups=len(b)) for a, a0, b, b0 in weights]


def similarities(q: torch.Tensor, k: torch.Tensor, heads: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Products of the channels of queries and keys over all pixels, and of each with itself.

    Args:
        q: N x C x H x W.
        k: N x C x H x W.
        heads: Channels are multiplied with those of the same head.

    Returns:
        N x heads x c x c for c = C / heads; the squares of `q` and of `k`, N x heads x c. float32, or float64.
    """
    n, _, h, w = q.shape
    if q.dtype == torch.float16:
        # Sums over all pixels would leave its range; the squares are scaled alike.
        q, k = q * (h * w) ** -0.5, k * (h * w) ** -0.5
    q, k = (tensor.permute(0, 2, 3, 1).reshape(n, h * w, -1) for tensor in (q, k))
    dtype = torch.promote_types(q.dtype, torch.float32)
    if eager_on_cpu(q):
        products, *squares = _Similarities.apply(q, k, heads)
    else:
        products = _by_head(q, heads).mT @ _by_head(k, heads)
        squares = [tensor.square().sum(1, dtype=dtype) for tensor in (q, k)]
    return products.to(dtype), *(square.unflatten(-1, (heads, -1)) for square in squares)


def _by_head(pixels: torch.Tensor, heads: int) -> torch.Tensor:
    """... x pixels x C -> ... x heads x pixels x c, without a copy."""
    return pixels.unflatten(-1, (heads, -1)).transpose(-2, -3)


class _Similarities(torch.autograd.Function):
    """The gradients are written in the layout that the convolution wants, and nothing is copied before a product."""

    @staticmethod
    def forward(
        ctx: Any, q: torch.Tensor, k: torch.Tensor, heads: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        ctx.save_for_backward(q, k)
        ctx.heads = heads
        c = q.shape[-1] // heads
        products = q.new_empty(len(q), heads, c, c)
        for result, a, b in zip(products, q, k, strict=True):
            torch.bmm(_by_head(a, heads).mT, _by_head(b, heads), out=result)
        q_squares, k_squares = (tensor.square().sum(1, dtype=torch.float32) for tensor in (q, k))
        return products, q_squares, k_squares

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, products: torch.Tensor, q_squares: torch.Tensor, k_squares: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, None]:
        q, k = ctx.saved_tensors
        results = [t * (2 * s).to(t.dtype).unsqueeze(1) for t, s in ((q, q_squares), (k, k_squares))]
        for result, other, matrices in zip(results, (k, q), (products.mT, products), strict=True):
            for image, pixels, matrix in zip(result, other, matrices, strict=True):
                for target, a, b in zip(*(_by_head(t, ctx.heads) for t in (image, pixels)), matrix, strict=True):
                    target.addmm_(a, b)
        return *results, None


def product_by_image(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """A 1x1 convolution with other weights for each image.

    Args:
        x: N x C x H x W.
        weight: N x D x C.
        bias: D.

    Returns:
        N x D x H x W.
    """
    n, _, h, w = x.shape
    pixels = x.permute(0, 2, 3, 1).reshape(n, h * w, -1)
    y = pixels @ weight.to(pixels.dtype).transpose(1, 2)
    if bias is not None:
        y = y + bias
    return y.unflatten(1, (h, w)).permute(0, 3, 1, 2)
