"""Restormer (Zamir et al., "Restormer: Efficient Transformer for High-Resolution Image Restoration", CVPR 2022)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn

from dcpt_arch.backbones.base import SETTING, FeatureInfo, RestorationBackbone, check_levels
from dcpt_arch.backbones.families import Family, StateDict, count, hidden_factor, register_family, settings_of
from dcpt_arch.layers.norm_and_stage import Stage
from dcpt_arch.layers.restormer_block import Downsample, LayerNormKind, PatchEmbed, TransformerBlock, Upsample
from dcpt_common import Blocks, Count, Positive


@ARCH_REGISTRY.register()
class Restormer(RestorationBackbone):
    """A U-shape of four levels of transformer blocks, refined at full resolution, with one long residual (Figure 2).

    The feature levels are the outputs of the three decoder levels, so the classification pass leaves out the refinement
    and the output convolution.

    Args:
        in_channels: Channels of the input image.
        out_channels: Channels of the output image; the input is added to it where both are equal.
        dim: Channels at full resolution.
        num_blocks: Transformer blocks of the four levels; the decoder has as many in its three.
        num_refinement_blocks: Blocks behind the decoder, at full resolution.
        heads: Attention heads of the four levels.
        ffn_expansion_factor: Hidden channels of a feed-forward network, as a multiple of its input's.
        bias: Whether the blocks' convolutions have a bias.
        layer_norm: "with_bias", or "bias_free" as published for denoising.
        norm_eps: What the normalisation adds to a variance; 1e-6 in the checkpoints of the DCPT authors.
        relu_attention: Whether attention has ReLU in place of softmax, as in the checkpoints of the DCPT authors.
        checkpointing: Whether training computes the blocks' activations twice to save memory.

    Raises:
        ValueError: If a list has the wrong length, `dim` is odd or heads do not divide the channels.
    """

    head = ("output",)
    size_multiple = 8

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
        norm_eps: Positive = 1e-5,
        relu_attention: bool = False,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        check_levels("heads", heads, 4)
        if norm_eps != 1e-5:
            self.keep_setting("norm_eps", norm_eps)
        if relu_attention:
            self.keep_setting("relu_attention", True)
        common = (ffn_expansion_factor, bias, layer_norm, norm_eps, relu_attention)

        def block(level: int, channels: int) -> nn.Module:
            return TransformerBlock(channels, heads[level - 1], *common)

        self._assemble(in_channels, out_channels, dim, num_blocks, num_refinement_blocks, bias, block, checkpointing)

    def _assemble(
        self,
        in_channels: int,
        out_channels: int,
        dim: int,
        num_blocks: Sequence[int],
        num_refinement_blocks: int,
        bias: bool,
        block: Callable[[int, int], nn.Module],
        checkpointing: bool,
    ) -> None:
        """Build the U-shape; `block` makes a block of a level, 1 to 4, from the number of its channels."""
        check_levels("num_blocks", num_blocks, 4)
        if dim % 2:
            raise ValueError(f"dim must be even, so that down-sampling can halve it; got {dim}")
        self.add_input = in_channels == out_channels

        def stage(level: int, channels: int, blocks: int) -> Stage:
            return Stage(*(block(level, channels) for _ in range(blocks)), checkpointing=checkpointing)

        self.patch_embed = PatchEmbed(in_channels, dim)
        channels = dim
        for level in (1, 2, 3):
            self.add_module(f"encoder_level{level}", stage(level, channels, num_blocks[level - 1]))
            self.add_module(f"down{level}_{level + 1}", Downsample(channels))
            channels *= 2
        self.latent = stage(4, channels, num_blocks[3])

        for level in (3, 2, 1):
            self.add_module(f"up{level + 1}_{level}", Upsample(channels))
            # The skip connection doubles the channels; at the last level they stay doubled.
            if level > 1:
                self.add_module(f"reduce_chan_level{level}", nn.Conv2d(channels, channels // 2, 1, bias=bias))
                channels //= 2
            self.add_module(f"decoder_level{level}", stage(level, channels, num_blocks[level - 1]))
            self.feature_info.insert(0, FeatureInfo(channels=channels, stride=2 ** (level - 1)))
        self.refinement = stage(1, channels, num_refinement_blocks)
        self.output = nn.Conv2d(channels, out_channels, 3, padding=1, bias=bias)

    def _descend(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The encoder: the latent features, N x 8 dim x H/8 x W/8, and the skips of the levels 1, 2 and 3."""
        x = self.patch_embed(x)
        skips: list[torch.Tensor] = []
        for level in (1, 2, 3):
            skips.append(self.get_submodule(f"encoder_level{level}")(x))
            x = self.get_submodule(f"down{level}_{level + 1}")(skips[-1])
        return self.latent(x), skips

    def _ascend(self, level: int, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """One level of the decoder, from the features of the level below and the encoder's of the same."""
        x = torch.cat([self.get_submodule(f"up{level + 1}_{level}")(x), skip], dim=1)
        if level > 1:
            x = self.get_submodule(f"reduce_chan_level{level}")(x)
        return self.get_submodule(f"decoder_level{level}")(x)

    def encode(self, x: torch.Tensor) -> tuple[list[torch.Tensor], Any]:
        x, skips = self._descend(x)
        features: list[torch.Tensor] = []
        for level in (3, 2, 1):
            x = self._ascend(level, x, skips.pop())
            features.insert(0, x)
        return features, None

    def decode(self, x: torch.Tensor, features: list[torch.Tensor], carried: Any) -> torch.Tensor:
        image = self.output(self.refinement(features[0]))
        return image + x if self.add_input else image


# encoder_levelI.J, latent.J, decoder_levelI.J, refinement.J


def _recognises(state: Mapping[str, torch.Tensor]) -> bool:
    others = re.compile(r"prompt|fre\d\.|.*\.spatial_attn\.")  # of PromptIR, AdaIR, XRestormer
    return any(name.startswith("encoder_level1.") for name in state) and not any(map(others.match, state))


def _layout(state: StateDict) -> StateDict:
    # The authors of DCPT have a module around the blocks of each stage: latent.body.0 for latent.0. Neither names nor
    # shapes tell that their attention has ReLU for softmax, and their normalisation a smaller constant; outputs do.
    stage = re.compile(r"^((?:en|de)coder_level\d|latent|refinement)\.body\.")
    ours = {stage.sub(r"\1.", name): value for name, value in state.items()}
    if ours.keys() != state.keys():
        ours[f"{SETTING}norm_eps"] = torch.tensor(1e-6)
        ours[f"{SETTING}relu_attention"] = torch.tensor(True)
    return ours


def restormer_arguments(state: StateDict) -> dict[str, Any]:
    stages = ("encoder_level1", "encoder_level2", "encoder_level3", "latent")
    widths = (value.shape[:2] for name, value in state.items() if name.endswith("ffn.project_out.weight"))
    return {
        "in_channels": state["patch_embed.proj.weight"].shape[1],
        "out_channels": state["output.weight"].shape[0],
        "dim": state["patch_embed.proj.weight"].shape[0],
        "num_blocks": [count(state, f"{stage}.") for stage in stages],
        "num_refinement_blocks": count(state, "refinement."),
        "heads": [state[f"{stage}.0.attn.temperature"].shape[0] for stage in stages],
        "ffn_expansion_factor": hidden_factor(((channels, hidden) for channels, hidden in widths), published=2.66),
        "bias": "output.bias" in state,
        "layer_norm": "with_bias" if "latent.0.norm1.body.bias" in state else "bias_free",
        **settings_of(state),
    }


register_family(
    Family(
        network=Restormer,
        recognises=_recognises,
        convert=_layout,
        arguments=restormer_arguments,
    )
)
