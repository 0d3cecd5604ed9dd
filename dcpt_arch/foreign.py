"""How the state dicts of published networks relate to ours: one entry a family of networks."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from dcpt_arch.backbone import RestorationBackbone
from dcpt_arch.nafnet_arch import NAFNet
from dcpt_arch.promptir_arch import PromptIR

StateDict = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Family:
    """One family of networks.

    Attributes:
        network: Our class.
        recognises: Whether a state dict, in any published layout, belongs to this family.
        convert: Any published layout -> our layout; ours stays as it is.
        arguments: The arguments of our constructor, from names and shapes in our layout.
    """

    network: type[RestorationBackbone]
    recognises: Callable[[Mapping[str, torch.Tensor]], bool]
    convert: Callable[[StateDict], StateDict]
    arguments: Callable[[StateDict], dict[str, Any]]


def _count(state: Mapping[str, torch.Tensor], prefix: str) -> int:
    """How many numbered children stand directly below `prefix`."""
    return len({name[len(prefix) :].split(".")[0] for name in state if name.startswith(prefix)})


def _nafnet_layout(state: StateDict) -> StateDict:
    # The authors of DCPT number the decoder's stages in their names: decoder0 ... decoder3.
    return {re.sub(r"^decoder(\d+)\.", r"decoders.\1.", name): value for name, value in state.items()}


def _nafnet_arguments(state: StateDict) -> dict[str, Any]:
    stages = _count(state, "downs.")
    return {
        "in_channels": state["intro.weight"].shape[1],
        "out_channels": state["ending.weight"].shape[0],
        "width": state["intro.weight"].shape[0],
        "enc_blk_nums": [_count(state, f"encoders.{i}.") for i in range(stages)],
        "middle_blk_num": _count(state, "middle_blks."),
        "dec_blk_nums": [_count(state, f"decoders.{i}.") for i in range(stages)],
    }


def _promptir_layout(state: StateDict) -> StateDict:
    # The original file holds six convolutions that its forward pass never uses.
    unused = re.compile(r"chnl_reduce\d\.|reduce_noise_channel_\d\.")
    return {name: value for name, value in state.items() if not unused.match(name)}


def _expansion_factor(state: StateDict) -> float:
    """The published factor if it gives the hidden channels of every block; otherwise the least that does."""
    shapes = {tuple(value.shape[:2]) for name, value in state.items() if name.endswith("ffn.project_out.weight")}
    # Hidden channels are rounded down: the block that lost least decides, and its quotient must not round below itself.
    least = max((hidden / channels for channels, hidden in shapes), default=2.66)
    candidates = (2.66, least, math.nextafter(least, math.inf))
    return next((f for f in candidates if all(int(c * f) == hidden for c, hidden in shapes)), 2.66)


def _promptir_arguments(state: StateDict) -> dict[str, Any]:
    dim = state["patch_embed.proj.weight"].shape[0]
    stages = ("encoder_level1", "encoder_level2", "encoder_level3", "latent")
    prompts = [state[f"prompt{level}.prompt_param"].shape for level in (1, 2, 3)]
    return {
        "in_channels": state["patch_embed.proj.weight"].shape[1],
        "out_channels": state["output.weight"].shape[0],
        "dim": dim,
        "num_blocks": [_count(state, f"{stage}.") for stage in stages],
        "num_refinement_blocks": _count(state, "refinement."),
        "heads": [state[f"{stage}.0.attn.temperature"].shape[0] for stage in stages],
        "ffn_expansion_factor": _expansion_factor(state),
        "bias": "output.bias" in state,
        "layer_norm": "with_bias" if "latent.0.norm1.body.bias" in state else "bias_free",
        "prompt_dims": [shape[2] for shape in prompts],
        "prompt_sizes": [shape[3] for shape in prompts],
        "prompt_len": prompts[0][1],
    }


FAMILIES = (
    Family(
        network=NAFNet,
        recognises=lambda state: "intro.weight" in state and any(".sca.1." in name for name in state),
        convert=_nafnet_layout,
        arguments=_nafnet_arguments,
    ),
    Family(
        network=PromptIR,
        recognises=lambda state: "prompt1.prompt_param" in state,
        convert=_promptir_layout,
        arguments=_promptir_arguments,
    ),
)
