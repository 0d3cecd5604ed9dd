"""Layers that more than one network uses."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class LayerNorm2d(nn.Module):
    """Layer normalisation over the channels of each pixel (Ba et al., 2016), for N x C x H x W.

    With `bias_free`, the input is divided by its standard deviation without its mean being taken away, and no bias is
    added: the variant of Restormer (Zamir et al., CVPR 2022) for removing noise.

    Args:
        channels: C.
        eps: Added to the variance.
        bias_free: Scale only.
    """

    def __init__(self, channels: int, eps: float = 1e-6, bias_free: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = None if bias_free else nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # With channels last in memory these permutations move nothing, and PyTorch's fused kernel does the work.
        x = x.permute(0, 2, 3, 1)
        if self.bias is None:
            variance = x.var(-1, keepdim=True, unbiased=False)
            y = x * torch.rsqrt(variance + self.eps) * self.weight
        else:
            y = F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)
        return y.permute(0, 3, 1, 2)
