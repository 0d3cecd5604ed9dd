"""The degradation classifier with Vision Mamba (Zhu et al., ICML 2024): "ViM" in Table 10 of DCPT."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn

from dcpt_arch.backbones.base import FeatureInfo
from dcpt_arch.classifiers.base import Levels, check_positive
from dcpt_arch.classifiers.tokens import TokenClassifier
from dcpt_arch.layers.selective_scan import selective_scan
from dcpt_common import Count, Depth


class StateSpace(nn.Module):
    """One direction of a Vision Mamba block (Algorithm 1): causal convolution, SiLU, selective scan.

    Initialised as Mamba (Gu & Dao, 2023): the decays of a channel are 1, ..., S; step sizes lie between
    0.001 and 0.1, evenly in their logarithm.

    Args:
        channels: E.
        state_size: S, the states of each channel.
        rank: Channels from which the step sizes are computed.
    """

    def __init__(self, channels: int, state_size: int, rank: int) -> None:
        super().__init__()
        self.sizes = (rank, state_size, state_size)
        self.conv = nn.Conv1d(channels, channels, 4, padding=3, groups=channels)
        self.selection = nn.Linear(channels, sum(self.sizes), bias=False)
        self.step = nn.Linear(rank, channels)
        self.log_decay = nn.Parameter(torch.arange(1.0, state_size + 1).log().repeat(channels, 1))
        self.skip = nn.Parameter(torch.ones(channels))
        nn.init.uniform_(self.step.weight, -(rank**-0.5), rank**-0.5)
        with torch.no_grad():
            steps = torch.empty(channels).uniform_(math.log(1e-3), math.log(1e-1)).exp()
            # The inverse of softplus.
            self.step.bias.copy_(steps + torch.log(-torch.expm1(-steps)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Mix a sequence, N x L x E, each token seeing those before it; returns N x L x E in float32."""
        # What the padding adds behind the end is cut, so the convolution never looks ahead.
        x = F.silu(self.conv(x.transpose(1, 2))[..., : x.shape[1]]).transpose(1, 2)
        step, b, c = self.selection(x).split(self.sizes, dim=-1)
        delta = F.softplus(self.step(step).float())
        return selective_scan(x, delta, -self.log_decay.exp(), b, c, self.skip)


class BidirectionalBlock(nn.Module):
    """The Vision Mamba block (Figure 2, Algorithm 1): one scan each way, both gated, inside a pre-norm residual.

    Args:
        channels: Channels of a token.
        state_size: States of each inner channel.
        expand: Inner channels as a multiple of the token's.
    """

    def __init__(self, channels: int, state_size: int, expand: int) -> None:
        super().__init__()
        inner, rank = expand * channels, math.ceil(channels / 16)
        self.norm = nn.LayerNorm(channels)
        self.enter = nn.Linear(channels, 2 * inner, bias=False)
        self.ahead = StateSpace(inner, state_size, rank)
        self.back = StateSpace(inner, state_size, rank)
        self.leave = nn.Linear(inner, channels, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Mix tokens, N x L x C, each seeing all others."""
        x, gate = self.enter(self.norm(tokens)).chunk(2, dim=-1)
        mixed = self.ahead(x) + self.back(x.flip(1)).flip(1)
        return tokens + self.leave(mixed * F.silu(gate))


@ARCH_REGISTRY.register()
class VimDegradationClassifier(TokenClassifier):
    """Classifies the degradation of an image from a backbone's features with a small Vision Mamba.

    `LevelTokens` says how features become tokens, `selective_scan` where the fused kernel is used. The mean of the
    tokens is classified. Table 10 gives no sizes for this decoder; `state_size` and `expand` are Vision Mamba's.

    Args:
        feature_info: The levels that the backbone declares (`net.feature_info`), highest resolution first.
        classes: Number of degradations.
        levels: "all" feature levels, or the "deepest" alone (the ablation of Table 11).
        width: Upper bound of a token's channels, which otherwise are those of the deepest level.
        grid: Each level is pooled to at most this many cells along each axis.
        depth: Number of blocks.
        state_size: States of each inner channel of a block.
        expand: Inner channels of a block, as a multiple of the token's.

    Raises:
        ValueError: If there are no levels, fewer than two classes, or a number is not above 0.
    """

    def __init__(
        self,
        feature_info: Sequence[FeatureInfo],
        classes: int,
        levels: Levels = "all",
        width: Count | None = None,
        grid: Count = 8,
        depth: Depth = 4,
        state_size: Count = 16,
        expand: Count = 2,
    ) -> None:
        super().__init__(feature_info, classes, levels, width, grid)
        check_positive({"depth": depth, "state_size": state_size, "expand": expand})
        self.blocks = nn.Sequential(*(BidirectionalBlock(self.width, state_size, expand) for _ in range(depth)))
