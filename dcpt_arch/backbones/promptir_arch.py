"""PromptIR (Potlapalli et al., "Prompting for All-in-One Blind Image Restoration", NeurIPS 2023)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn

from dcpt_arch.backbones.base import FeatureInfo, RestorationBackbone, check_levels
from dcpt_arch.backbones.families import Family, StateDict, register_family
from dcpt_arch.backbones.restormer_arch import Restormer, restormer_arguments
from dcpt_arch.layers.restormer_block import LayerNormKind, TransformerBlock, Upsample
from dcpt_common import Blocks, Count, Positive


class PromptGenerationModule(nn.Module):
    """A mixture of learned prompts, weighted by the input's channel means (Section 3.2.1, Eq. 2).

    Args:
        prompt_dim: Channels of the prompt.
        prompt_len: Number of prompt components.
        prompt_size: Height and width at which the components are learned.
        in_dim: Channels of the features that choose the weights.
    """

    def __init__(self, prompt_dim: int, prompt_len: int, prompt_size: int, in_dim: int) -> None:
        super().__init__()
        self.prompt_param = nn.Parameter(torch.rand(1, prompt_len, prompt_dim, prompt_size, prompt_size))
        self.linear_layer = nn.Linear(in_dim, prompt_len)
        self.conv3x3 = nn.Conv2d(prompt_dim, prompt_dim, 3, padding=1, bias=False)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> PromptGenerationModule:
        # `net.to(memory_format=torch.channels_last)` refuses the published five dimensions of `prompt_param`.
        def fold(tensor: torch.Tensor) -> torch.Tensor:
            return fn(tensor.squeeze(0)).unsqueeze(0) if tensor.dim() == 5 else fn(tensor)

        return super()._apply(fold, recurse)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = self.linear_layer(x.mean((-2, -1))).softmax(dim=1)
        # One product with the flattened components; they are not repeated over the batch.
        components = self.prompt_param[0]
        prompt = (weights @ components.flatten(1)).unflatten(1, components.shape[1:])
        prompt = F.interpolate(prompt, x.shape[-2:], mode="bilinear", align_corners=False)
        return self.conv3x3(prompt)


@ARCH_REGISTRY.register()
class PromptIR(Restormer):
    """Restormer with a prompt joined in before each level of the decoder (Figure 2).

    The feature levels are the outputs of the three prompt interactions (`reduce_noise_level*`), so the classification
    pass leaves out the decoder's full resolution, the refinement and the output convolution. Without prompts it is
    Restormer in all but its class, with Restormer's parameter names and feature levels.

    Args:
        in_channels: Channels of the input image.
        out_channels: Channels of the output image; the input is added to it where both are equal.
        dim: Channels at full resolution.
        num_blocks: Transformer blocks of the four levels; the decoder has as many in its three.
        num_refinement_blocks: Blocks behind the decoder, at full resolution.
        heads: Attention heads of the four levels; the prompt interactions have the third level's.
        ffn_expansion_factor: Hidden channels of a feed-forward network, as a multiple of its input's.
        bias: Whether the blocks' convolutions have a bias.
        layer_norm: "with_bias" as published, or "bias_free".
        prompts: Whether there are prompts; without, the next three arguments mean nothing.
        prompt_dims: Channels of the prompts at the three decoder levels, highest resolution first.
        prompt_sizes: Height and width of the learned prompts, highest resolution first.
        prompt_len: Components of each prompt.
        checkpointing: Whether training computes the blocks' activations twice to save memory.

    Raises:
        ValueError: If a list has the wrong length, `dim` is odd or heads do not divide the channels.
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
        prompts: bool = True,
        prompt_dims: Sequence[Count] = (64, 128, 320),
        prompt_sizes: Sequence[Count] = (64, 32, 16),
        prompt_len: Count = 5,
        checkpointing: bool = False,
    ) -> None:
        common = (ffn_expansion_factor, bias, layer_norm)
        super().__init__(
            in_channels,
            out_channels,
            dim,
            num_blocks,
            num_refinement_blocks,
            heads,
            *common,
            checkpointing=checkpointing,
        )
        self.prompts = prompts
        if not prompts:
            return
        check_levels("prompt_dims", prompt_dims, 3)
        check_levels("prompt_sizes", prompt_sizes, 3)
        d2, d3, d4 = 2 * dim, 4 * dim, 8 * dim
        # Each prompt interaction reduces its level to the channels that the next up-sampling expects; the widths are
        # the published ones, though not symmetric: the lowest level has half of Restormer's.
        self.up4_3 = Upsample(d3)
        self.reduce_chan_level3 = nn.Conv2d(d3 // 2 + d3, d3, 1, bias=bias)
        self.feature_info.clear()
        for level, channels, reduced in ((3, d4, d3), (2, d3, d3), (1, d2, d2)):
            prompt_dim = prompt_dims[level - 1]
            prompt = PromptGenerationModule(prompt_dim, prompt_len, prompt_sizes[level - 1], channels)
            self.add_module(f"prompt{level}", prompt)
            block = TransformerBlock(channels + prompt_dim, heads[2], *common)
            self.add_module(f"noise_level{level}", block)
            reduce = nn.Conv2d(channels + prompt_dim, reduced, 1, bias=bias)
            self.add_module(f"reduce_noise_level{level}", reduce)
            self.feature_info.insert(0, FeatureInfo(channels=reduced, stride=2**level))

    def _interact(self, level: int, x: torch.Tensor) -> torch.Tensor:
        """Prompt generation, then prompt interaction (Section 3.2.2), at one decoder level."""
        prompt = self.get_submodule(f"prompt{level}")(x)
        x = self.get_submodule(f"noise_level{level}")(torch.cat([x, prompt], dim=1))
        return self.get_submodule(f"reduce_noise_level{level}")(x)

    def encode(self, x: torch.Tensor) -> tuple[list[torch.Tensor], Any]:
        if not self.prompts:
            return super().encode(x)
        x, skips = self._descend(x)
        feature3 = self._interact(3, x)
        feature2 = self._interact(2, self._ascend(3, feature3, skips[2]))
        feature1 = self._interact(1, self._ascend(2, feature2, skips[1]))
        return [feature1, feature2, feature3], skips[0]

    def decode(self, x: torch.Tensor, features: list[torch.Tensor], carried: Any) -> torch.Tensor:
        level1 = self._ascend(1, features[0], carried) if self.prompts else features[0]
        return super().decode(x, [level1], None)


def _has_prompts(state: Mapping[str, torch.Tensor]) -> bool:
    return any(re.match(r"prompt\d\.", name) for name in state)


def _recognises(state: Mapping[str, torch.Tensor]) -> bool:
    return any(name.startswith("encoder_level1.") for name in state) and _has_prompts(state)


def _layout(state: StateDict) -> StateDict:
    # The original file holds six convolutions that its forward pass never uses.
    unused = re.compile(r"chnl_reduce\d\.|reduce_noise_channel_\d\.")
    return {name: value for name, value in state.items() if not unused.match(name)}


def _arguments(state: StateDict) -> dict[str, Any]:
    prompts = [state[f"prompt{level}.prompt_param"].shape for level in (1, 2, 3)]
    return {
        **restormer_arguments(state),
        "prompt_dims": [shape[2] for shape in prompts],
        "prompt_sizes": [shape[3] for shape in prompts],
        "prompt_len": prompts[0][1],
    }


def _published(network: RestorationBackbone) -> StateDict:
    state = dict(network.state_dict())
    if not _has_prompts(state):
        return state  # a Restormer
    dim = state["patch_embed.proj.weight"].shape[0]
    unused = {
        "chnl_reduce1": (64, 64),
        "chnl_reduce2": (128, 128),
        "chnl_reduce3": (256, 320),
        "reduce_noise_channel_1": (dim, dim + 64),
        "reduce_noise_channel_2": (2 * dim, 2 * dim + 128),
        "reduce_noise_channel_3": (4 * dim, 4 * dim + 256),
    }
    zeros = {f"{name}.weight": torch.zeros(*shape, 1, 1) for name, shape in unused.items()}
    return {**state, **zeros}


register_family(
    Family(
        network=PromptIR,
        recognises=_recognises,
        convert=_layout,
        arguments=_arguments,
        to_published=_published,
    )
)
