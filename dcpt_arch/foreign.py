"""How the state dicts of published networks relate to ours: one entry a family of networks."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from dcpt_arch.backbone import SETTING, RestorationBackbone
from dcpt_arch.nafnet_arch import NAFNet
from dcpt_arch.promptir_arch import PromptIR
from dcpt_arch.restormer_arch import Restormer
from dcpt_arch.swinir_arch import DCPTSwinIR, relative_position_index
from dcpt_arch.windows import shifted_window_mask

StateDict = dict[str, torch.Tensor]


def _published(network: RestorationBackbone) -> StateDict:
    """The state dict as it is, of a network with no setting that the original project lacks."""
    state = dict(network.state_dict())
    settings = [name.removeprefix(SETTING) for name in state if name.startswith(SETTING)]
    if settings:
        raise ValueError(f"the original has other values of {' and '.join(settings)}")
    return state


@dataclass(frozen=True)
class Family:
    """One family of networks.

    Attributes:
        network: Our class.
        recognises: Whether a state dict, in any published layout, belongs to this family.
        convert: Any published layout -> our layout, with the settings that the layout implies; ours stays as it is.
        arguments: The arguments of our constructor, from names and shapes in our layout.
        to_published: A network of ours -> a state dict that the original project's network loads strictly. Raises
            ValueError if the original project has no such network.
    """

    network: type[RestorationBackbone]
    recognises: Callable[[Mapping[str, torch.Tensor]], bool]
    convert: Callable[[StateDict], StateDict]
    arguments: Callable[[StateDict], dict[str, Any]]
    to_published: Callable[[RestorationBackbone], StateDict] = _published


def _count(state: Mapping[str, torch.Tensor], prefix: str) -> int:
    """How many numbered children stand directly below `prefix`."""
    return len({name[len(prefix) :].split(".")[0] for name in state if name.startswith(prefix)})


def _settings(state: StateDict) -> dict[str, Any]:
    """The arguments that a network keeps beside its weights (`RestorationBackbone.keep_setting`)."""
    return {name.removeprefix(SETTING): value.tolist() for name, value in state.items() if name.startswith(SETTING)}


def _factor(pairs: Iterable[tuple[int, int]], published: float) -> float:
    """The published factor if it turns each channel number into its hidden one; otherwise the least that does."""
    shapes = set(pairs)
    # Hidden channels are rounded down: the block that lost least decides, and its quotient must not round below itself.
    least = max((hidden / channels for channels, hidden in shapes), default=published)
    candidates = (published, least, math.nextafter(least, math.inf))
    return next((f for f in candidates if all(int(c * f) == hidden for c, hidden in shapes)), published)


# NAFNet: encoders.I.J, middle_blks.J, decoders.I.J


def _is_nafnet(state: Mapping[str, torch.Tensor]) -> bool:
    return "intro.weight" in state and any(".sca.1." in name for name in state)


def _nafnet_layout(state: StateDict) -> StateDict:
    # The authors of DCPT number the decoder's stages in their names: decoder0 ... decoder3.
    return {re.sub(r"^decoder(\d+)\.", r"decoders.\1.", name): value for name, value in state.items()}


def _nafnet_arguments(state: StateDict) -> dict[str, Any]:
    stages, settings = _count(state, "downs."), _settings(state)
    folded = settings.get("fold", 1) ** 2
    return {
        "in_channels": state["intro.weight"].shape[1] // folded,
        "out_channels": state["ending.weight"].shape[0] // folded,
        "width": state["intro.weight"].shape[0],
        "enc_blk_nums": [_count(state, f"encoders.{i}.") for i in range(stages)],
        "middle_blk_num": _count(state, "middle_blks."),
        "dec_blk_nums": [_count(state, f"decoders.{i}.") for i in range(stages)],
        **settings,
    }


# Restormer, and PromptIR, which adds prompts to it: encoder_levelI.J, latent.J, decoder_levelI.J, refinement.J


def _has_prompts(state: Mapping[str, torch.Tensor]) -> bool:
    return any(re.match(r"prompt\d\.", name) for name in state)


def _is_restormer(state: Mapping[str, torch.Tensor]) -> bool:
    return any(name.startswith("encoder_level1.") for name in state) and not _has_prompts(state)


def _is_promptir(state: Mapping[str, torch.Tensor]) -> bool:
    return any(name.startswith("encoder_level1.") for name in state) and _has_prompts(state)


def _restormer_layout(state: StateDict) -> StateDict:
    # The authors of DCPT have a module around the blocks of each stage: latent.body.0 for latent.0. Neither names nor
    # shapes tell that their attention has ReLU for softmax, and their normalisation a smaller constant; outputs do.
    stage = re.compile(r"^((?:en|de)coder_level\d|latent|refinement)\.body\.")
    ours = {stage.sub(r"\1.", name): value for name, value in state.items()}
    if ours.keys() != state.keys():
        ours[f"{SETTING}norm_eps"] = torch.tensor(1e-6)
        ours[f"{SETTING}relu_attention"] = torch.tensor(True)
    return ours


def _restormer_arguments(state: StateDict) -> dict[str, Any]:
    stages = ("encoder_level1", "encoder_level2", "encoder_level3", "latent")
    widths = (value.shape[:2] for name, value in state.items() if name.endswith("ffn.project_out.weight"))
    return {
        "in_channels": state["patch_embed.proj.weight"].shape[1],
        "out_channels": state["output.weight"].shape[0],
        "dim": state["patch_embed.proj.weight"].shape[0],
        "num_blocks": [_count(state, f"{stage}.") for stage in stages],
        "num_refinement_blocks": _count(state, "refinement."),
        "heads": [state[f"{stage}.0.attn.temperature"].shape[0] for stage in stages],
        "ffn_expansion_factor": _factor(((channels, hidden) for channels, hidden in widths), published=2.66),
        "bias": "output.bias" in state,
        "layer_norm": "with_bias" if "latent.0.norm1.body.bias" in state else "bias_free",
        **_settings(state),
    }


def _promptir_layout(state: StateDict) -> StateDict:
    # The original file holds six convolutions that its forward pass never uses.
    unused = re.compile(r"chnl_reduce\d\.|reduce_noise_channel_\d\.")
    return {name: value for name, value in state.items() if not unused.match(name)}


def _promptir_arguments(state: StateDict) -> dict[str, Any]:
    prompts = [state[f"prompt{level}.prompt_param"].shape for level in (1, 2, 3)]
    return {
        **_restormer_arguments(state),
        "prompt_dims": [shape[2] for shape in prompts],
        "prompt_sizes": [shape[3] for shape in prompts],
        "prompt_len": prompts[0][1],
    }


def _promptir_published(network: RestorationBackbone) -> StateDict:
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


# SwinIR: layers.I.residual_group.blocks.J

_UPSAMPLING = ("upsample.", "conv_before_upsample.", "conv_up1.")


def _is_swinir(state: Mapping[str, torch.Tensor]) -> bool:
    return any(".residual_group.blocks." in name for name in state)


def _swinir_layout(state: StateDict) -> StateDict:
    # The authors of DCPT name the last three RSTBs decode_layers0 ... decode_layers2, and those before encode_layers.I.
    before = _count(state, "encode_layers.")

    def rename(name: str) -> str:
        name = re.sub(r"^encode_layers\.", "layers.", name)
        return re.sub(r"^decode_layers(\d+)\.", lambda match: f"layers.{before + int(match[1])}.", name)

    # The original file holds what can be computed: which positions a bias belongs to, and a mask for one image size.
    computed = re.compile(r"\.(relative_position_index|attn_mask)$")
    ours = {rename(name): value for name, value in state.items() if not computed.search(name)}
    if any(name.startswith("decode_layers") for name in state):
        heads = [6] * _count(ours, "layers.")
        ours |= {
            f"{SETTING}num_heads": torch.tensor(heads),
            f"{SETTING}window_size": torch.tensor(8),
            f"{SETTING}shift_mask": torch.tensor(False),
        }
    elif len(ours) < len(state) and _swinir_window(ours) == 7:
        # The original networks with windows of 7 pixels are those for JPEG artifacts.
        ours[f"{SETTING}img_range"] = torch.tensor(255.0)
    return ours


def _swinir_window(state: StateDict) -> int | None:
    """Side of a window, of which a table of position biases has (2 side - 1)² rows; None if there is no table."""
    tables = (value for name, value in state.items() if name.endswith(".relative_position_bias_table"))
    table = next(tables, None)
    return None if table is None else (math.isqrt(table.shape[0]) + 1) // 2


def _swinir_arguments(state: StateDict) -> dict[str, Any]:
    if any(name.startswith(_UPSAMPLING) for name in state):
        raise ValueError("it enlarges images, and only a SwinIR that keeps their size is known here")
    channels, in_channels = state["conv_first.weight"].shape[:2]
    layers = range(_count(state, "layers."))
    hidden = (value.shape[0] for name, value in state.items() if name.endswith(".mlp.fc1.weight"))
    told: dict[str, Any] = {}
    if window := _swinir_window(state):
        first = (f"layers.{i}.residual_group.blocks.0.attn.relative_position_bias_table" for i in layers)
        told = {"num_heads": [state[name].shape[1] for name in first], "window_size": window}
    return {
        "in_channels": in_channels,
        "out_channels": state["conv_last.weight"].shape[0],
        "embed_dim": channels,
        "depths": [_count(state, f"layers.{i}.residual_group.blocks.") for i in layers],
        "mlp_ratio": _factor(((channels, h) for h in hidden), published=2.0),
        "position_bias": bool(told),
        **told,
        **_settings(state),
    }


def _swinir_published(network: RestorationBackbone) -> StateDict:
    assert isinstance(network, DCPTSwinIR)
    state = dict(network.state_dict())
    if not (network.shift_mask and _swinir_window(state)):
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


FAMILIES = (
    Family(
        network=NAFNet,
        recognises=_is_nafnet,
        convert=_nafnet_layout,
        arguments=_nafnet_arguments,
    ),
    Family(
        network=Restormer,
        recognises=_is_restormer,
        convert=_restormer_layout,
        arguments=_restormer_arguments,
    ),
    Family(
        network=PromptIR,
        recognises=_is_promptir,
        convert=_promptir_layout,
        arguments=_promptir_arguments,
        to_published=_promptir_published,
    ),
    Family(
        network=DCPTSwinIR,
        recognises=_is_swinir,
        convert=_swinir_layout,
        arguments=_swinir_arguments,
        to_published=_swinir_published,
    ),
)
