"""AdaIR (Cui et al., "AdaIR: Adaptive All-in-One Image Restoration via Frequency Mining and Modulation", ICLR 2025)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn

from dcpt_arch.backbones.base import FeatureInfo, RestorationBackbone
from dcpt_arch.backbones.families import Family, StateDict, register_family, unchanged
from dcpt_arch.backbones.restormer_arch import Restormer, restormer_arguments
from dcpt_arch.layers.channel_attention import channel_attention, depthwise_groups, softmax
from dcpt_arch.layers.restormer_block import LayerNormKind
from dcpt_common import Blocks, Count, Positive

BAND_UNIT = 128  # as published


class ChannelCrossAttention(nn.Module):
    """Restormer's attention between channels, with queries of one map and keys and values of another.

    Args:
        channels: Of both maps and of the result.
        heads: Attention heads; must divide `channels`.
        bias: Whether the convolutions have a bias.
    """

    def __init__(self, channels: int, heads: int, bias: bool) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"{heads} heads do not divide {channels} channels")
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.q = nn.Conv2d(channels, channels, 1, bias=bias)
        self.q_dwconv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=bias)
        self.kv = nn.Conv2d(channels, 2 * channels, 1, bias=bias)
        self.kv_dwconv = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels, bias=bias)
        self.project_out = nn.Conv2d(channels, channels, 1, bias=bias)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Queries of `x`, keys and values of `y`, both N x C x H x W."""
        (q,) = depthwise_groups(x, self.q, self.q_dwconv, groups=1)
        k, v = depthwise_groups(y, self.kv, self.kv_dwconv, groups=2)
        return channel_attention(q, k, v, self.temperature, self.project_out, softmax)


class SpatialGate(nn.Module):
    """A weight in (0, 1) for each pixel, from the greatest and the mean of its channels."""

    def __init__(self) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.spatial(torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], 1)).sigmoid()


class ChannelGate(nn.Module):
    """A weight in (0, 1) for each channel, from its mean and its greatest value."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels // 16
        self.mlp = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False), nn.ReLU(), nn.Conv2d(hidden, channels, 1, bias=False)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.mlp(x.mean((-2, -1), keepdim=True)) + self.mlp(x.amax((-2, -1), keepdim=True))).sigmoid()


class FrequencyModulation(nn.Module):
    """The frequency modulation module: each band is weighted by what the other says (H-L and L-H unit)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.SpatialGate = SpatialGate()
        self.ChannelGate = ChannelGate(channels)
        self.proj = nn.Conv2d(channels, channels, 1)

    def forward(self, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
        return self.proj(low * self.SpatialGate(high) + high * self.ChannelGate(low))


class AdaptiveFrequencyBlock(nn.Module):
    """The adaptive frequency learning block: features attend to the low and high frequencies of the degraded image.

    The image, made as small as the features, is parted in the Fourier domain. Of a map of height H the low band are the
    vertical frequencies from -a to below a, where a is `H // band_unit` times a share in (0, 1) that depends on the
    image, rounded down; likewise horizontally. With the published unit of 128 the low band of a map whose smaller side
    is below 256 pixels is therefore empty. Rounding lets no gradient pass: the weights that give the share keep the
    values that they are created or loaded with, so they are buffers here.

    Args:
        in_channels: Of the image.
        channels: Of the features.
        heads: Attention heads.
        bias: Whether the convolutions of attention have a bias.
        band_unit: See above.
    """

    def __init__(self, in_channels: int, channels: int, heads: int, bias: bool, band_unit: int) -> None:
        super().__init__()
        self.band_unit = band_unit
        self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.para1 = nn.Parameter(torch.zeros(channels, 1, 1))
        self.para2 = nn.Parameter(torch.ones(channels, 1, 1))
        # The published names: what attends by the high frequencies is called `_l`.
        self.channel_cross_l = ChannelCrossAttention(channels, heads, bias)
        self.channel_cross_h = ChannelCrossAttention(channels, heads, bias)
        self.channel_cross_agg = ChannelCrossAttention(channels, heads, bias)
        self.frequency_refine = FrequencyModulation(channels)
        hidden = channels // 8
        self.rate_conv = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False), nn.GELU(), nn.Conv2d(hidden, 2, 1, bias=False)
        )
        for conv in self.rate_conv:
            if isinstance(conv, nn.Conv2d):
                weight = conv.weight.detach()
                del conv.weight
                conv.register_buffer("weight", weight)

    def forward(self, image: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Refine the features `x`, N x C x H x W, by the image of any size."""
        low, high = self.bands(self.conv1(F.interpolate(image, x.shape[-2:], mode="bilinear", align_corners=False)))
        high, low = self.channel_cross_l(high, x), self.channel_cross_h(low, x)
        return self.channel_cross_agg(x, self.frequency_refine(low, high)) * self.para1 + x * self.para2

    def bands(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The magnitudes of the low and of the high frequencies of N x C x H x W, each of that shape."""
        with torch.autocast(x.device.type, enabled=False):
            values = x.to(torch.promote_types(x.dtype, torch.float32))  # other precisions have no Fourier transform
            mask = self._low_band(values.detach())
            spectrum = torch.fft.fft2(values, norm="forward")
            # The low band is not symmetric, so what comes back is complex.
            low, high = (torch.fft.ifft2(spectrum * part, norm="forward").abs() for part in (mask, 1 - mask))
        return low.to(x.dtype), high.to(x.dtype)

    def _low_band(self, x: torch.Tensor) -> torch.Tensor:
        """1 for the low frequencies, 0 for the others: N x 1 x H x W, in the order of the Fourier transform."""
        share = self.rate_conv(x.mean((-2, -1), keepdim=True).to(self.para1.dtype)).sigmoid()
        height, width = x.shape[-2:]
        rows = self._inside(height, share[:, :1], x.device)[:, :, :, None]
        return (rows & self._inside(width, share[:, 1:], x.device)[:, :, None]).to(x.dtype)

    def _inside(self, side: int, share: torch.Tensor, device: torch.device) -> torch.Tensor:
        """Whether a frequency is low: N x 1 x side, from the share N x 1 x 1 x 1."""
        frequency = (torch.arange(side, device=device) + side // 2) % side - side // 2
        limit = (side // self.band_unit * share[..., 0]).floor()
        return (frequency >= -limit) & (frequency < limit)


@ARCH_REGISTRY.register()
class AdaIR(Restormer):
    """Restormer with an adaptive frequency learning block behind the latent level and two of the decoder (Figure 2).

    The feature levels are the outputs of these three blocks, so the classification pass leaves out the decoder's full
    resolution, the refinement and the output convolution.

    Args:
        in_channels: Channels of the input image.
        out_channels: Channels of the output image; the input is added to it where both are equal.
        dim: Channels at full resolution, at least 8.
        num_blocks: Transformer blocks of the four levels; the decoder has as many in its three.
        num_refinement_blocks: Blocks behind the decoder, at full resolution.
        heads: Attention heads of the four levels; the frequency blocks have the third level's.
        ffn_expansion_factor: Hidden channels of a feed-forward network, as a multiple of its input's.
        bias: Whether the blocks' convolutions have a bias.
        layer_norm: "with_bias" as published, or "bias_free".
        band_unit: Side of a feature map, in pixels, for each frequency that its low band may reach to. With the
            published 128, no crop below 512 pixels has a low band at any level; see `AdaptiveFrequencyBlock`.
        checkpointing: Whether training computes the blocks' activations twice to save memory.

    Raises:
        ValueError: If a list has the wrong length, `dim` is odd or below 8, or heads do not divide the channels.
    """

    def __init__(
        self,
        in_channels: Count = 3,
        out_channels: Count = 3,
        dim: Count = 48,
        num_blocks: Sequence[Blocks] = (4, 6, 6, 8),
        num_refinement_blocks: Blocks = 4,
        heads: Sequence[Count] = (1, 2, 4, 8),
        ffn_expansion_factor: Positive = 2.66,
        bias: bool = False,
        layer_norm: LayerNormKind = "with_bias",
        band_unit: Count = BAND_UNIT,
        checkpointing: bool = False,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            dim,
            num_blocks,
            num_refinement_blocks,
            heads,
            ffn_expansion_factor,
            bias,
            layer_norm,
            checkpointing=checkpointing,
        )
        if dim < 8:
            raise ValueError(f"dim must be 8 or more, for a sixteenth of twice as many channels is used; got {dim}")
        if band_unit != BAND_UNIT:
            self.keep_setting("band_unit", band_unit)
        self.feature_info.clear()
        for number, stride in ((1, 8), (2, 4), (3, 2)):
            channels = dim * stride
            self.add_module(f"fre{number}", AdaptiveFrequencyBlock(in_channels, channels, heads[2], bias, band_unit))
            self.feature_info.insert(0, FeatureInfo(channels=channels, stride=stride))

    def encode(self, x: torch.Tensor) -> tuple[list[torch.Tensor], Any]:
        latent, skips = self._descend(x)
        fre1, fre2, fre3 = (self.get_submodule(f"fre{number}") for number in (1, 2, 3))
        feature3 = fre1(x, latent)
        feature2 = fre2(x, self._ascend(3, feature3, skips[2]))
        feature1 = fre3(x, self._ascend(2, feature2, skips[1]))
        return [feature1, feature2, feature3], skips[0]

    def decode(self, x: torch.Tensor, features: list[torch.Tensor], carried: Any) -> torch.Tensor:
        return super().decode(x, [self._ascend(1, features[0], carried)], None)


def _recognises(state: Mapping[str, torch.Tensor]) -> bool:
    return any(name.startswith("fre1.channel_cross_agg.") for name in state)


def _layout(state: StateDict) -> StateDict:
    # The original file holds two convolutions in each frequency block that its forward pass never uses.
    unused = re.compile(r"fre\d\.(conv|score_gen)\.")
    return {name: value for name, value in state.items() if not unused.match(name)}


def _published(network: RestorationBackbone) -> StateDict:
    state = unchanged(network)
    for number in (1, 2, 3):
        name = f"fre{number}"
        state[f"{name}.conv.weight"] = torch.zeros_like(state[f"{name}.conv1.weight"])
        state[f"{name}.score_gen.weight"] = torch.zeros(2, 2, 7, 7)
        state[f"{name}.score_gen.bias"] = torch.zeros(2)
    return state


register_family(
    Family(
        network=AdaIR,
        recognises=_recognises,
        convert=_layout,
        arguments=restormer_arguments,
        to_published=_published,
    )
)
