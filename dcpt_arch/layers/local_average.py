"""Averages over all pixels, and of windows in their place (TLC), for NAFNet's channel attention."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from dcpt_arch.layers.pixel_linear import eager_on_cpu


def sliding_mean(x: torch.Tensor, length: int, dim: int) -> torch.Tensor:
    """Average `x` along `dim` over the `length` pixels around each; at the borders over the outermost `length` pixels.

    Returns:
        A tensor of the shape of `x`, or of size 1 along `dim` if `length` covers it all.
    """
    if length >= x.shape[dim]:
        return x.mean(dim, keepdim=True)
    # Differences of running sums cost the same for every length; half precision could not hold the sums.
    sums = x.cumsum(dim, dtype=torch.promote_types(x.dtype, torch.float32))
    after = sums.narrow(dim, length - 1, x.shape[dim] - length + 1)
    before = F.pad(sums.narrow(dim, 0, x.shape[dim] - length).movedim(dim, -1), (1, 0)).movedim(-1, dim)
    inside = (after - before) / length
    position = torch.arange(x.shape[dim], device=x.device) - (length - 1) // 2
    return inside.index_select(dim, position.clamp(0, inside.shape[dim] - 1)).to(x.dtype)


class GlobalAveragePool(nn.Module):
    """The average over all pixels, N x C x H x W to N x C x 1 x 1, as `nn.AdaptiveAvgPool2d(1)` gives it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not eager_on_cpu(x):
            return F.adaptive_avg_pool2d(x, 1)
        # The gradient of a sum is not written out for every pixel, as that of a mean is.
        return x.sum((-2, -1), keepdim=True) * (1 / (x.shape[-2] * x.shape[-1]))


class LocalAveragePool(nn.Module):
    """The global average while training, and the average of a window around each pixel in eval mode.

    Chu et al., "Improving Image Restoration by Revisiting Global Information Aggregation" (TLC), ECCV 2022: a network
    trained on patches expects averages over areas of about a patch's size, not over a whole test image.

    Args:
        window: Height and width of the window in pixels of the features; shifted inwards at the borders.
    """

    def __init__(self, window: int) -> None:
        super().__init__()
        self.window = window

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Average N x C x H x W; the result broadcasts against the input."""
        if self.training:
            return x.mean((-2, -1), keepdim=True)
        return sliding_mean(sliding_mean(x, self.window, -2), self.window, -1)
