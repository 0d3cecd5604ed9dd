"""A convolution whose output channels are scaled, which ends each half of NAFNet's block."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


def scaled_conv(conv: nn.Conv2d, x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """`conv(x) * scale`, for a 1x1 convolution with a bias.

    The factors scale the weights: those are fewer than the pixels, and the convolution's output need not be kept for
    the backward pass.

    Args:
        conv: C to D channels.
        x: N x C x H x W.
        scale: 1 x D x 1 x 1.

    Returns:
        N x D x H x W.
    """
    factors = scale.flatten()
    assert conv.bias is not None
    return F.conv2d(x, conv.weight * factors[:, None, None, None], conv.bias * factors)
