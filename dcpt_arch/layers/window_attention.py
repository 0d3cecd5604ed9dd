"""Windows of an image as an order of its pixels, and attention within them (Swin Transformer, Liu et al., ICCV 2021).

Everything between two attentions treats each pixel by itself, so pixels can stay in the order of the windows: they are
moved once to enter a layer of shifted windows and once to leave it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from dcpt_arch.layers.pixel_linear import eager_on_cpu

# What is added to the similarity of pixels that are no neighbours, as published.
APART = -100.0


class Order(NamedTuple):
    """A permutation of rows and its inverse: row i of the result is row `there[i]` of what is ordered."""

    there: torch.Tensor
    back: torch.Tensor

    @classmethod
    def of(cls, there: torch.Tensor) -> Order:
        """Find the inverse."""
        return cls(there, torch.zeros_like(there).scatter(0, there, torch.arange(there.shape[0], device=there.device)))

    def inverse(self) -> Order:
        """The order that undoes this one."""
        return Order(self.back, self.there)


class Windows(NamedTuple):
    """Orders of the pixels of a batch, and which of the shifted windows hold pixels that are no neighbours.

    Attributes:
        enter: From the pixels of the images, row by row, to those of the windows.
        shift: From the windows to the shifted windows, of which those at the lower and right border come last.
        mask: For those last windows, window² x window²: 0, or `APART` for pixels that only the cyclic shift has put
            into one window. None for no such mask.
    """

    enter: Order
    shift: Order
    mask: torch.Tensor | None


def windows_of(shape: tuple[int, int, int], window: int, masked: bool, device: torch.device | None = None) -> Windows:
    """Cut images into windows, and into those of the images shifted by half a window.

    Args:
        shape: Number, height and width of the images; multiples of `window`.
        window: Side of a window.
        masked: Whether there is a mask.
        device: Where all of it is wanted.
    """
    n, height, width = shape
    position = torch.arange(height * width, device=device).view(height, width)
    cut = _cut(position, window)
    interior, border = cut[:-1, :-1].flatten(0, 1), torch.cat((cut[-1], cut[:-1, -1]))
    rolled = torch.roll(position, (-(window // 2), -(window // 2)), (0, 1)).flatten()

    def of_batch(pixels: torch.Tensor) -> torch.Tensor:
        images = torch.arange(n, device=device) * (height * width)
        return (images[:, None] + pixels.flatten()).flatten()

    enter = Order.of(of_batch(cut))
    shifted = torch.cat((of_batch(rolled[interior]), of_batch(rolled[border])))
    mask = None
    if masked:
        mask = _mask(_parts(height, width, window, device).flatten()[border]).repeat(n, 1, 1)
    return Windows(enter, Order.of(enter.back[shifted]), mask)


def shifted_window_mask(height: int, width: int, window: int) -> torch.Tensor:
    """The mask of all windows of the shifted image, row by row, as published networks store it.

    Args:
        height: Height of the image, a multiple of `window`.
        width: Width of the image, a multiple of `window`.
        window: Side of a window; the shift is half of it.

    Returns:
        Windows x window² x window²: 0 for pairs of neighbours in the image, `APART` for others.
    """
    return _mask(_cut(_parts(height, width, window), window).flatten(0, 1))


def _cut(pixels: torch.Tensor, window: int) -> torch.Tensor:
    """H x W -> windows down x windows right x window²."""
    height, width = pixels.shape
    pixels = pixels.view(height // window, window, width // window, window)
    return pixels.transpose(1, 2).reshape(height // window, width // window, window**2)


def _parts(height: int, width: int, window: int, device: torch.device | None = None) -> torch.Tensor:
    """Which pixels of a shifted image, H x W, came from beyond its lower (2) and its right border (1), or both (3)."""
    low, right = (torch.arange(side, device=device) >= side - window // 2 for side in (height, width))
    return 2 * low[:, None] + right.long()


def _mask(parts: torch.Tensor) -> torch.Tensor:
    """Windows x window² -> windows x window² x window²."""
    return (parts[:, :, None] != parts[:, None, :]) * APART


def reorder(x: torch.Tensor, order: Order) -> torch.Tensor:
    """Permute rows, T x C."""
    return _Reorder.apply(x, order.there, order.back)


class _Reorder(torch.autograd.Function):
    """Autograd's own gradient adds row by row, since it does not know that each row is taken once."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, there: torch.Tensor, back: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(back)
        return x.index_select(0, there)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (back,) = ctx.saved_tensors
        return gradient.index_select(0, back), None, None


def attention(qkv: torch.Tensor, bias: torch.Tensor | None, mask: torch.Tensor | None) -> torch.Tensor:
    """Multi-head self-attention within windows: SoftMax(Q K^T / sqrt(d) + B) V.

    Args:
        qkv: Windows x pixels x 3 x heads x d.
        bias: Heads x pixels x pixels, added for all windows.
        mask: Last windows x pixels x pixels, added for the last of them.

    Returns:
        Windows x pixels x heads x d.
    """
    if bias is not None:
        bias = bias.to(qkv.dtype)
    if mask is not None:
        mask = mask.to(qkv.dtype)
    if eager_on_cpu(qkv) and torch.is_grad_enabled() and qkv.requires_grad:
        return _Attention.apply(qkv, bias, mask)
    if mask is None:
        return _fused(qkv, None if bias is None else bias[None])
    first = qkv.shape[0] - mask.shape[0]  # len() would make a graph of one size
    mask = mask[:, None] if bias is None else mask[:, None] + bias
    interior = _fused(qkv[:first], None if bias is None else bias[None])
    return torch.cat((interior, _fused(qkv[first:], mask)))


def _fused(qkv: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2)
    # Exported graphs may compute attention by other operators, whose result lies otherwise in memory.
    return y.clone(memory_format=torch.contiguous_format) if torch.compiler.is_compiling() else y


class _Attention(torch.autograd.Function):
    """For training on a processor, where PyTorch's fused attention takes no bias that learns.

    One head after the other is read where it stands and its gradients are written where they are wanted.
    """

    @staticmethod
    def forward(ctx: Any, qkv: torch.Tensor, bias: torch.Tensor | None, mask: torch.Tensor | None) -> torch.Tensor:
        windows, pixels, _, heads, d = qkv.shape
        result = qkv.new_empty(windows, pixels, heads, d)
        weights = []
        for head, (q, k, v) in enumerate(_heads(qkv)):
            logits = (q @ k.mT).mul_(d**-0.5)
            if bias is not None:
                logits += bias[head]
            if mask is not None:
                logits[windows - len(mask) :] += mask
            weights.append(logits.softmax(-1))
            result[:, :, head] = weights[-1] @ v
        ctx.save_for_backward(qkv, *weights)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None, None]:
        qkv, *weights = ctx.saved_tensors
        scale = qkv.shape[-1] ** -0.5
        result, biases = torch.empty_like(qkv), []
        for head, (q, k, v) in enumerate(_heads(qkv)):
            g, p = gradient[:, :, head], weights[head]
            logits = torch._softmax_backward_data(g @ v.mT, p, -1, p.dtype)
            for i, value in enumerate(((logits @ k).mul_(scale), (logits.mT @ q).mul_(scale), p.mT @ g)):
                result[:, :, i, head] = value
            if ctx.needs_input_grad[1]:
                biases.append(logits.sum(0))
        return result, torch.stack(biases) if biases else None, None


def _heads(qkv: torch.Tensor) -> Any:
    return (part.unbind(2) for part in qkv.unbind(3))
