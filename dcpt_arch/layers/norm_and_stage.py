"""Layer normalisation over channels, and stages of blocks with activation checkpointing; used by all networks."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint


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


class Stage(nn.Sequential):
    """Blocks in a row, whose inner activations can be computed a second time instead of being kept.

    With `checkpointing`, training keeps the input of each block alone and runs the block again in the backward pass
    (Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016): the same gradients, about a third more
    computation, a fraction of the memory.

    Args:
        blocks: Modules that keep the shape of their first argument.
        checkpointing: Whether to do so; it changes nothing in eval mode.
    """

    def __init__(self, *blocks: nn.Module, checkpointing: bool = False) -> None:
        super().__init__(*blocks)
        self.checkpointing = checkpointing

    def forward(self, x: torch.Tensor, *shared: Any) -> torch.Tensor:
        """Apply the blocks one after the other; each is given what is `shared`, too."""
        for block in self:
            if self.checkpointing and self.training:
                x = checkpoint(block, x, *shared, use_reentrant=False)
            else:
                x = block(x, *shared)
        return x
