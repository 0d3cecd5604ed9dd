"""The transformer block of Restormer (Zamir et al., CVPR 2022), which PromptIR uses as well."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from dcpt_arch.layers.channel_attention import channel_attention, conv_of_filled, depthwise_groups, softmax
from dcpt_arch.layers.gates import gelu_gate
from dcpt_arch.layers.norm_and_stage import LayerNorm2d

LayerNormKind = Literal["with_bias", "bias_free"]


class ChannelNorm(nn.Module):
    """Layer normalisation under the published parameter names `body.weight` and `body.bias`."""

    def __init__(self, channels: int, kind: LayerNormKind, eps: float) -> None:
        super().__init__()
        if kind not in ("with_bias", "bias_free"):
            raise ValueError(f"layer_norm must be 'with_bias' or 'bias_free', not {kind!r}")
        self.body = LayerNorm2d(channels, eps=eps, bias_free=kind == "bias_free")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


class TransposedAttention(nn.Module):
    """Multi-Dconv head transposed attention (Section 3.1, Eq. 1): attention between channels, not between pixels.

    Args:
        channels: Channels of input and output.
        heads: Attention heads; must divide `channels`.
        bias: Whether the convolutions have a bias.
        relu: Whether negative similarities become zero, in place of the published softmax.
    """

    def __init__(self, channels: int, heads: int, bias: bool, relu: bool) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"{heads} heads do not divide {channels} channels")
        self.heads, self.relu = heads, relu
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=bias)
        self.qkv_dwconv = nn.Conv2d(3 * channels, 3 * channels, 3, padding=1, groups=3 * channels, bias=bias)
        self.project_out = nn.Conv2d(channels, channels, 1, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = depthwise_groups(x, self.qkv, self.qkv_dwconv, groups=3)
        return channel_attention(q, k, v, self.temperature, self.project_out, F.relu if self.relu else softmax)


class GatedFeedForward(nn.Module):
    """Gated-Dconv feed-forward network (Section 3.2, Eq. 2)."""

    def __init__(self, channels: int, expansion: float, bias: bool) -> None:
        super().__init__()
        hidden = int(channels * expansion)
        self.project_in = nn.Conv2d(channels, 2 * hidden, 1, bias=bias)
        self.dwconv = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden, bias=bias)
        self.project_out = nn.Conv2d(hidden, channels, 1, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = depthwise_groups(x, self.project_in, self.dwconv, groups=2, fill=True)
        return conv_of_filled(self.project_out, gelu_gate(a, b))


class TransformerBlock(nn.Module):
    """Transposed attention and gated feed-forward, each behind a normalisation and inside a residual (Figure 2)."""

    def __init__(
        self,
        channels: int,
        heads: int,
        ffn_expansion_factor: float = 2.66,
        bias: bool = False,
        layer_norm: LayerNormKind = "with_bias",
        norm_eps: float = 1e-5,
        relu_attention: bool = False,
    ) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(channels, layer_norm, norm_eps)
        self.attn = TransposedAttention(channels, heads, bias, relu_attention)
        self.norm2 = ChannelNorm(channels, layer_norm, norm_eps)
        self.ffn = GatedFeedForward(channels, ffn_expansion_factor, bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.ffn(self.norm2(x))


class PatchEmbed(nn.Module):
    """The 3x3 convolution at the entrance, under its published name `proj`; as published it never has a bias."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.proj(x)


class Downsample(nn.Module):
    """Halve height and width, double the channels: a 3x3 convolution and pixel-unshuffle."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(channels, channels // 2, 3, padding=1, bias=False), nn.PixelUnshuffle(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


class Upsample(nn.Module):
    """Double height and width, halve the channels: a 3x3 convolution and pixel-shuffle."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(channels, 2 * channels, 3, padding=1, bias=False), nn.PixelShuffle(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)
