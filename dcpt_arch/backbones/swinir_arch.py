"""SwinIR (Liang et al., "SwinIR: Image Restoration Using Swin Transformer", ICCV Workshops 2021).

basicsr has a SwinIR as well; its attention masks are stored for one image size and its attention is not fused, so this
one is written anew. tests/arch/test_networks.py holds that both give the same image.
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn

from dcpt_arch.backbones.base import SETTING, FeatureInfo, RestorationBackbone, check_levels
from dcpt_arch.backbones.families import Family, StateDict, count, hidden_factor, register_family, settings_of
from dcpt_arch.layers.norm_and_stage import LayerNorm2d, Stage
from dcpt_arch.layers.pixel_linear import PixelLinear
from dcpt_arch.layers.window_attention import Windows, attention, reorder, shifted_window_mask, windows_of
from dcpt_common import Blocks, Count, Positive

# The mean colour of the images SwinIR was published with (DIV2K).
RGB_MEAN = (0.4488, 0.4371, 0.4040)


def relative_position_index(window: int) -> torch.Tensor:
    """Which row of the table of position biases two pixels of a window use, by their offset.

    Returns:
        window² x window² whole numbers below (2 window - 1)².
    """
    rows, columns = torch.arange(window).repeat_interleave(window), torch.arange(window).repeat(window)
    down, right = (position[:, None] - position[None, :] + window - 1 for position in (rows, columns))
    return down * (2 * window - 1) + right


class WindowAttention(nn.Module):
    """Multi-head self-attention inside the windows of an image (Section 3.2): SoftMax(Q K^T / sqrt(d) + B) V.

    Args:
        channels: Channels of input and output.
        heads: Attention heads; must divide `channels`.
        window: Side of a window.
        position_bias: Whether there is the learned bias B of the relative positions.
    """

    relative_position_index: torch.Tensor

    def __init__(self, channels: int, heads: int, window: int, position_bias: bool) -> None:
        super().__init__()
        if heads < 1 or channels % heads:
            raise ValueError(f"{heads} heads do not divide {channels} channels")
        self.heads, self.window, self.position_bias = heads, window, position_bias
        if position_bias:
            self.relative_position_bias_table = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
            nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
            self.register_buffer("relative_position_index", relative_position_index(window), persistent=False)
        self.qkv = PixelLinear(channels, 3 * channels)
        self.proj = PixelLinear(channels, channels)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Attend.

        Args:
            x: The pixels of all windows, T x C.
            mask: As of `windows.attention`.

        Returns:
            T x C.
        """
        qkv = self.qkv(x).view(-1, self.window**2, 3, self.heads, x.shape[-1] // self.heads)
        bias = None
        if self.position_bias:
            bias = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)
        return self.proj(attention(qkv, bias, mask).reshape(x.shape))


class FeedForward(nn.Module):
    """The two-layer perceptron applied to each pixel (Section 3.2)."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = PixelLinear(channels, hidden)
        self.fc2 = PixelLinear(hidden, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class SwinTransformerLayer(nn.Module):
    """Window attention and perceptron, each behind a normalisation and inside a residual (STL, Figure 2b).

    Args:
        channels: Channels of input and output.
        heads: Attention heads.
        window: Side of a window.
        shift: Pixels by which the image is shifted before it is cut into windows.
        mlp_ratio: Hidden channels of the perceptron, as a multiple of `channels`.
        position_bias: Whether attention has a bias of relative positions.
    """

    def __init__(
        self, channels: int, heads: int, window: int, shift: int, mlp_ratio: float, position_bias: bool
    ) -> None:
        super().__init__()
        self.shift = shift
        self.norm1 = nn.LayerNorm(channels)
        self.attn = WindowAttention(channels, heads, window, position_bias)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = FeedForward(channels, int(channels * mlp_ratio))

    def forward(self, x: torch.Tensor, windows: Windows) -> torch.Tensor:
        """The pixels of all windows, T x C, to the same."""
        if self.shift:
            x = reorder(x, windows.shift)
        x = x + self.attn(self.norm1(x), windows.mask if self.shift else None)
        x = x + self.mlp(self.norm2(x))
        return reorder(x, windows.shift.inverse()) if self.shift else x


class ResidualSwinTransformerBlock(nn.Module):
    """Layers with plain and shifted windows in turn, then a convolution, inside one residual (RSTB, Figure 2a)."""

    def __init__(
        self,
        channels: int,
        depth: int,
        heads: int,
        window: int,
        mlp_ratio: float,
        position_bias: bool,
        checkpointing: bool,
    ) -> None:
        super().__init__()
        shifts = [window // 2 if i % 2 else 0 for i in range(depth)]
        layers = (SwinTransformerLayer(channels, heads, window, s, mlp_ratio, position_bias) for s in shifts)
        self.residual_group = nn.ModuleDict({"blocks": Stage(*layers, checkpointing=checkpointing)})
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: torch.Tensor, windows: Windows) -> torch.Tensor:
        """N x C x H x W to the same."""
        n, c, h, w = x.shape
        pixels = reorder(x.permute(0, 2, 3, 1).reshape(-1, c), windows.enter)
        pixels = reorder(self.residual_group["blocks"](pixels, windows), windows.enter.inverse())
        return x + self.conv(pixels.view(n, h, w, c).permute(0, 3, 1, 2))


@ARCH_REGISTRY.register()
class DCPTSwinIR(RestorationBackbone):
    """SwinIR for restoration without change of size: all at full resolution, with one long residual (Figure 2).

    The feature levels are the outputs of the last three RSTBs. All have the image's resolution, so they are ordered as
    in the U-shaped backbones, the one nearest to the output first; the classifier pools them to strides 1, 2 and 4.

    Args:
        in_channels: Channels of the input image.
        out_channels: Channels of the output image; the input is added to it where both are equal.
        embed_dim: Channels of the features.
        depths: Transformer layers of each RSTB.
        num_heads: Attention heads of each RSTB.
        window_size: Side of an attention window.
        mlp_ratio: Hidden channels of a perceptron, as a multiple of `embed_dim`.
        img_range: What the image is multiplied by inside; 1, or 255 in the networks published for JPEG artifacts.
        position_bias: Whether attention has the published bias of relative positions; the DCPT authors leave it out.
        shift_mask: Whether attention is split, as published, between pixels that only the cyclic shift of the windows
            has made neighbours; the DCPT authors leave that out.
        checkpointing: Whether training computes the layers' activations twice to save memory.

    Raises:
        ValueError: If the lists do not fit each other, heads do not divide the channels or the window is below 1.
    """

    head = ("conv_last",)
    mean: torch.Tensor

    def __init__(
        self,
        in_channels: Count = 3,
        out_channels: Count = 3,
        embed_dim: Count = 180,
        depths: Sequence[Blocks] = (6, 6, 6, 6, 6, 6),
        num_heads: Sequence[Count] = (6, 6, 6, 6, 6, 6),
        window_size: Count = 8,
        mlp_ratio: Positive = 2.0,
        img_range: Positive = 1.0,
        position_bias: bool = True,
        shift_mask: bool = True,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        check_levels("depths", depths)
        check_levels("num_heads", num_heads, len(depths))
        if window_size < 1:
            raise ValueError(f"window_size must be 1 or more; got {window_size}")
        self.size_multiple = self.window_size = window_size
        self.img_range, self.shift_mask = img_range, shift_mask
        self.add_input = in_channels == out_channels
        if not position_bias:
            self.keep_setting("num_heads", list(num_heads))
            self.keep_setting("window_size", window_size)
        if not shift_mask:
            self.keep_setting("shift_mask", False)
        if img_range != 1:
            self.keep_setting("img_range", float(img_range))
        mean = torch.tensor(RGB_MEAN if in_channels == 3 else [0.0] * in_channels)
        self.register_buffer("mean", mean.view(1, -1, 1, 1), persistent=False)

        self.conv_first = nn.Conv2d(in_channels, embed_dim, 3, padding=1)
        self.patch_embed = nn.Sequential(OrderedDict(norm=LayerNorm2d(embed_dim, eps=1e-5)))
        self.layers = nn.ModuleList()
        for i, (depth, heads) in enumerate(zip(depths, num_heads, strict=True)):
            self.layers.append(
                ResidualSwinTransformerBlock(
                    embed_dim, depth, heads, window_size, mlp_ratio, position_bias, checkpointing
                )
            )
            if i >= len(depths) - 3:
                self.feature_info.insert(0, FeatureInfo(channels=embed_dim, stride=1))
        self.norm = LayerNorm2d(embed_dim, eps=1e-5)
        self.conv_after_body = nn.Conv2d(embed_dim, embed_dim, 3, padding=1)
        self.conv_last = nn.Conv2d(embed_dim, out_channels, 3, padding=1)
        self.apply(_initialise)

    def encode(self, x: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        shallow = self.conv_first((x - self.mean) * self.img_range)  # Section 3.1, shallow feature extraction
        n, _, h, w = x.shape
        windows = windows_of((n, h, w), self.window_size, self.shift_mask, x.device)
        y = self.patch_embed(shallow)
        features: list[torch.Tensor] = []
        for layer in self.layers:
            y = layer(y, windows)
            features.insert(0, y)
        return features[: len(self.feature_info)], shallow

    def decode(self, x: torch.Tensor, features: list[torch.Tensor], carried: torch.Tensor) -> torch.Tensor:
        deep = self.conv_after_body(self.norm(features[0]))
        # The published residual runs through (x - mean) * range and back; here the image itself is added.
        image = self.conv_last(carried + deep) / self.img_range
        return image + x if self.add_input else image


def _initialise(module: nn.Module) -> None:
    """Weights of the linear layers as published."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)


# SwinIR: layers.I.residual_group.blocks.J

_UPSAMPLING = ("upsample.", "conv_before_upsample.", "conv_up1.")


def _recognises(state: Mapping[str, torch.Tensor]) -> bool:
    return any(".residual_group.blocks." in name for name in state)


def _layout(state: StateDict) -> StateDict:
    # The authors of DCPT name the last three RSTBs decode_layers0 ... decode_layers2, and those before encode_layers.I.
    before = count(state, "encode_layers.")

    def rename(name: str) -> str:
        name = re.sub(r"^encode_layers\.", "layers.", name)
        return re.sub(r"^decode_layers(\d+)\.", lambda match: f"layers.{before + int(match[1])}.", name)

    # The original file holds what can be computed: which positions a bias belongs to, and a mask for one image size.
    computed = re.compile(r"\.(relative_position_index|attn_mask)$")
    ours = {rename(name): value for name, value in state.items() if not computed.search(name)}
    if any(name.startswith("decode_layers") for name in state):
        heads = [6] * count(ours, "layers.")
        ours |= {
            f"{SETTING}num_heads": torch.tensor(heads),
            f"{SETTING}window_size": torch.tensor(8),
            f"{SETTING}shift_mask": torch.tensor(False),
        }
    elif len(ours) < len(state) and _window(ours) == 7:
        # The original networks with windows of 7 pixels are those for JPEG artifacts.
        ours[f"{SETTING}img_range"] = torch.tensor(255.0)
    return ours


def _window(state: StateDict) -> int | None:
    """Side of a window, of which a table of position biases has (2 side - 1)² rows; None if there is no table."""
    tables = (value for name, value in state.items() if name.endswith(".relative_position_bias_table"))
    table = next(tables, None)
    return None if table is None else (math.isqrt(table.shape[0]) + 1) // 2


def _arguments(state: StateDict) -> dict[str, Any]:
    if any(name.startswith(_UPSAMPLING) for name in state):
        raise ValueError("it enlarges images, and only a SwinIR that keeps their size is known here")
    channels, in_channels = state["conv_first.weight"].shape[:2]
    layers = range(count(state, "layers."))
    hidden = (value.shape[0] for name, value in state.items() if name.endswith(".mlp.fc1.weight"))
    told: dict[str, Any] = {}
    if window := _window(state):
        first = (f"layers.{i}.residual_group.blocks.0.attn.relative_position_bias_table" for i in layers)
        told = {"num_heads": [state[name].shape[1] for name in first], "window_size": window}
    return {
        "in_channels": in_channels,
        "out_channels": state["conv_last.weight"].shape[0],
        "embed_dim": channels,
        "depths": [count(state, f"layers.{i}.residual_group.blocks.") for i in layers],
        "mlp_ratio": hidden_factor(((channels, h) for h in hidden), published=2.0),
        "position_bias": bool(told),
        **told,
        **settings_of(state),
    }


def _published(network: RestorationBackbone) -> StateDict:
    assert isinstance(network, DCPTSwinIR)
    state = dict(network.state_dict())
    if not (network.shift_mask and _window(state)):
        raise ValueError("the original always has position_bias and shift_mask")
    state = {name: value for name, value in state.items() if not name.startswith(SETTING)}
    window = network.window_size
    # The mask is that of the original's training patches: 128 pixels, or 126 with windows of 7.
    side = 128 // window * window
    for name in list(state):
        if name.endswith(".relative_position_bias_table"):
            attention = name.rpartition(".")[0]
            state[f"{attention}.relative_position_index"] = relative_position_index(window)
            block = attention.removesuffix(".attn")
            if int(block.rpartition(".")[2]) % 2:
                state[f"{block}.attn_mask"] = shifted_window_mask(side, side, window)
    return state


register_family(
    Family(
        network=DCPTSwinIR,
        recognises=_recognises,
        convert=_layout,
        arguments=_arguments,
        to_published=_published,
    )
)
