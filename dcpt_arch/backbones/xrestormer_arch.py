"""X-Restormer (Chen et al., ECCV 2024).

"A Comparative Study of Image Restoration Networks for General Backbone Network Design".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn

from dcpt_arch.backbones.base import RestorationBackbone, check_levels
from dcpt_arch.backbones.families import Family, StateDict, count, hidden_factor, register_family, settings_of
from dcpt_arch.backbones.restormer_arch import Restormer
from dcpt_arch.layers.restormer_block import ChannelNorm, GatedFeedForward, LayerNormKind, TransposedAttention
from dcpt_common import Blocks, Count, NotNegative, Positive

WINDOW, OVERLAP = 8, 0.5  # as published


class RelativePosition(nn.Module):
    """Products of queries with a learned vector for each distance down and each distance to the right.

    Args:
        window: Side of the windows of queries, in pixels.
        reach: Side of the windows of keys, which have the same middle.
        channels: Of a head.
    """

    distance: torch.Tensor

    def __init__(self, window: int, reach: int, channels: int) -> None:
        super().__init__()
        self.rel_height, self.rel_width = (
            nn.Parameter(torch.randn(2 * reach - 1, channels) * channels**-0.5) for _ in range(2)
        )
        distance = reach - 1 + torch.arange(reach) - torch.arange(window)[:, None]
        self.register_buffer("distance", distance, persistent=False)
        self.window = window

    def forward(self, q: torch.Tensor) -> torch.Tensor:
        """The logits of position, ... x window² x reach², for queries ... x window² x channels."""
        q = q.unflatten(-2, (self.window, self.window))
        down = torch.einsum("...yxc,yjc->...yxj", q, self.rel_height[self.distance])
        right = torch.einsum("...yxc,xjc->...yxj", q, self.rel_width[self.distance])
        return (down[..., :, None] + right[..., None, :]).flatten(-2).flatten(-3, -2)


class OverlappingCrossAttention(nn.Module):
    """Attention of the pixels of a window to those of a larger one around it; beyond the image there are zeros.

    Args:
        channels: Of input and output.
        window: Side of a window, in pixels.
        overlap_ratio: By which share of its side the window of the keys is larger.
        heads: Attention heads.
        dim_head: Channels of a head.
        bias: Whether the convolutions have a bias.
    """

    def __init__(self, channels: int, window: int, overlap_ratio: float, heads: int, dim_head: int, bias: bool) -> None:
        super().__init__()
        self.window, self.reach, self.heads = window, window + int(window * overlap_ratio), heads
        self.qkv = nn.Conv2d(channels, 3 * heads * dim_head, 1, bias=bias)
        self.project_out = nn.Conv2d(heads * dim_head, channels, 1, bias=bias)
        self.rel_pos_emb = RelativePosition(window, self.reach, dim_head)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=1)
        n, _, height, width = q.shape
        down, right = height // self.window, width // self.window
        q = q.reshape(n, self.heads, -1, down, self.window, right, self.window).permute(0, 3, 5, 1, 4, 6, 2)
        q = q.flatten(4, 5).flatten(0, 2)  # windows x heads x window² x c
        k, v = self._around(k), self._around(v)
        position = self.rel_pos_emb(q * q.shape[-1] ** -0.5).to(q.dtype)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=position)
        y = y.reshape(n, down, right, self.heads, self.window, self.window, -1).permute(0, 3, 6, 1, 4, 2, 5)
        return self.project_out(y.reshape(n, -1, height, width))

    def _around(self, x: torch.Tensor) -> torch.Tensor:
        """N x C x H x W -> windows x heads x reach² x c."""
        x = F.unfold(x, self.reach, stride=self.window, padding=(self.reach - self.window) // 2)
        return x.unflatten(1, (self.heads, -1, self.reach**2)).permute(0, 4, 1, 3, 2).flatten(0, 1)


class XRestormerBlock(nn.Module):
    """Restormer's attention between channels, then attention in overlapping windows, each with a feed-forward network.

    Each of the four stands behind a normalisation and inside a residual (Figure 5).
    """

    def __init__(
        self,
        channels: int,
        channel_heads: int,
        spatial: OverlappingCrossAttention,
        ffn_expansion_factor: float,
        bias: bool,
        layer_norm: LayerNormKind,
    ) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3, self.norm4 = (ChannelNorm(channels, layer_norm, eps=1e-5) for _ in range(4))
        self.channel_attn = TransposedAttention(channels, channel_heads, bias, relu=False)
        self.channel_ffn = GatedFeedForward(channels, ffn_expansion_factor, bias)
        self.spatial_attn = spatial
        self.spatial_ffn = GatedFeedForward(channels, ffn_expansion_factor, bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.channel_attn(self.norm1(x))
        x = x + self.channel_ffn(self.norm2(x))
        x = x + self.spatial_attn(self.norm3(x))
        return x + self.spatial_ffn(self.norm4(x))


@ARCH_REGISTRY.register()
class XRestormer(Restormer):
    """Restormer's U-shape of blocks that attend between channels and, in overlapping windows, between pixels.

    The feature levels are Restormer's, the outputs of the three decoder levels. The published networks for
    super-resolution are the same behind a bilinear enlargement of the image, which is left to the caller here.

    Args:
        in_channels: Channels of the input image.
        out_channels: Channels of the output image; the input is added to it where both are equal.
        dim: Channels at full resolution.
        num_blocks: Blocks of the four levels; the decoder has as many in its three.
        num_refinement_blocks: Blocks behind the decoder, at full resolution.
        channel_heads: Heads of the attention between channels, at the four levels.
        spatial_heads: Heads of the attention between pixels, at the four levels.
        spatial_dim_head: Channels of one of the latter.
        window_size: Side of a window, in pixels of each level; sides of images are multiples of 8 windows.
        overlap_ratio: By which share the windows of the keys are larger; an even number of pixels.
        ffn_expansion_factor: Hidden channels of a feed-forward network, as a multiple of its input's.
        bias: Whether the blocks' convolutions have a bias.
        layer_norm: "with_bias" as published, or "bias_free".
        checkpointing: Whether training computes the blocks' activations twice to save memory.

    Raises:
        ValueError: If a list has the wrong length, `dim` is odd, heads do not divide the channels or the windows'
            overlap is an odd number of pixels.
    """

    def __init__(
        self,
        in_channels: Count = 3,
        out_channels: Count = 3,
        dim: Count = 48,
        num_blocks: Sequence[Blocks] = (2, 4, 4, 4),
        num_refinement_blocks: Blocks = 4,
        channel_heads: Sequence[Count] = (1, 2, 4, 8),
        spatial_heads: Sequence[Count] = (1, 2, 4, 8),
        spatial_dim_head: Count = 16,
        window_size: Count = WINDOW,
        overlap_ratio: NotNegative = OVERLAP,
        ffn_expansion_factor: Positive = 2.66,
        bias: bool = False,
        layer_norm: LayerNormKind = "with_bias",
        checkpointing: bool = False,
    ) -> None:
        RestorationBackbone.__init__(self)
        check_levels("channel_heads", channel_heads, 4)
        check_levels("spatial_heads", spatial_heads, 4)
        overlap = int(window_size * overlap_ratio)
        if overlap % 2:
            raise ValueError(
                f"overlap_ratio {overlap_ratio:g} makes windows of {window_size} pixels overlap by {overlap}, which "
                f"must be even; give {(overlap + 1) / window_size:g}"
            )
        if window_size != WINDOW:
            self.keep_setting("window_size", window_size)
        self.size_multiple = 8 * window_size

        def block(level: int, channels: int) -> nn.Module:
            heads = spatial_heads[level - 1]
            spatial = OverlappingCrossAttention(channels, window_size, overlap_ratio, heads, spatial_dim_head, bias)
            return XRestormerBlock(channels, channel_heads[level - 1], spatial, ffn_expansion_factor, bias, layer_norm)

        self._assemble(in_channels, out_channels, dim, num_blocks, num_refinement_blocks, bias, block, checkpointing)


def _recognises(state: Mapping[str, torch.Tensor]) -> bool:
    return "latent.0.spatial_attn.rel_pos_emb.rel_height" in state


def _arguments(state: StateDict) -> dict[str, Any]:
    stages = ("encoder_level1", "encoder_level2", "encoder_level3", "latent")
    settings = settings_of(state)
    window = settings.get("window_size", WINDOW)
    rows, dim_head = state["latent.0.spatial_attn.rel_pos_emb.rel_height"].shape
    inner = [state[f"{stage}.0.spatial_attn.project_out.weight"].shape[1] for stage in stages]
    widths = (value.shape[:2] for name, value in state.items() if name.endswith("_ffn.project_out.weight"))
    return {
        "in_channels": state["patch_embed.proj.weight"].shape[1],
        "out_channels": state["output.weight"].shape[0],
        "dim": state["patch_embed.proj.weight"].shape[0],
        "num_blocks": [count(state, f"{stage}.") for stage in stages],
        "num_refinement_blocks": count(state, "refinement."),
        "channel_heads": [state[f"{stage}.0.channel_attn.temperature"].shape[0] for stage in stages],
        "spatial_heads": [channels // dim_head for channels in inner],
        "spatial_dim_head": dim_head,
        "overlap_ratio": hidden_factor([(window, (rows + 1) // 2 - window)], published=OVERLAP),
        "ffn_expansion_factor": hidden_factor(((channels, hidden) for channels, hidden in widths), published=2.66),
        "bias": "output.bias" in state,
        "layer_norm": "with_bias" if "latent.0.norm1.body.bias" in state else "bias_free",
        **settings,
    }


register_family(
    Family(
        network=XRestormer,
        recognises=_recognises,
        convert=lambda state: state,
        arguments=_arguments,
    )
)
