"""The arguments of a network are read off its weights."""

import pytest
import torch
from checkpoint_checks import assert_loaded
from small_networks import SMALL, build, picture

from dcpt_arch import AdaIR, DCPTSwinIR, NAFNet, PromptIR, Restormer, XRestormer
from dcpt_arch.checkpoints.loading import (
    CheckpointError,
    compare,
    detect_family,
    load_network,
)

RESTORMER = {
    "dim": 10,
    "num_blocks": (2, 1, 3, 1),
    "num_refinement_blocks": 2,
    "heads": (1, 2, 4, 5),
}
PROMPTIR = {
    **RESTORMER,
    "prompt_dims": (4, 8, 12),
    "prompt_sizes": (5, 3, 2),
    "prompt_len": 3,
}


@pytest.mark.parametrize(
    "arguments",
    [
        {"width": 5, "enc_blk_nums": [1, 2, 1], "middle_blk_num": 3, "dec_blk_nums": [2, 1, 1]},
        {"width": 4, "enc_blk_nums": [2], "middle_blk_num": 1, "dec_blk_nums": [1]},
        {"width": 4, "enc_blk_nums": [0, 1], "middle_blk_num": 0, "dec_blk_nums": [1, 0]},
        {"in_channels": 4, "out_channels": 3, "width": 6, "enc_blk_nums": [1, 1], "dec_blk_nums": [1, 1]},
        {"in_channels": 1, "out_channels": 1, "width": 3, "enc_blk_nums": [12], "dec_blk_nums": [11]},
        {"width": 4, "enc_blk_nums": [1], "dec_blk_nums": [1], "fold": 2},
        {"width": 4, "enc_blk_nums": [1], "dec_blk_nums": [1], "refinement": 3},
    ],
)
def test_arguments_of_nafnet(arguments):
    original = NAFNet(**arguments)
    state = original.state_dict()
    inferred = detect_family(state).arguments(state)
    assert inferred == {"in_channels": 3, "out_channels": 3, "middle_blk_num": 1, **arguments}
    assert_loaded(load_network(state), original)


def assert_transformer_arguments(network, given):
    """The arguments of a PromptIR or Restormer are read off its weights, and build it again."""
    original = network(**given)
    state = original.state_dict()
    inferred = detect_family(state).arguments(state)
    assert inferred == {
        "in_channels": 3,
        "out_channels": 3,
        "bias": False,
        "layer_norm": "with_bias",
        "ffn_expansion_factor": 2.66,
        **{key: list(value) if isinstance(value, tuple) else value for key, value in given.items()},
    }
    assert_loaded(load_network(state), original)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"layer_norm": "bias_free"},
        {"bias": True, "layer_norm": "bias_free"},
        {"in_channels": 4, "out_channels": 1, "prompt_sizes": (2, 7, 1), "prompt_len": 1},
        {"num_blocks": (1, 2, 1, 11), "num_refinement_blocks": 1},
        {"dim": 6, "heads": (2, 3, 4, 2), "prompt_dims": (8, 12, 4)},
    ],
)
def test_arguments_of_promptir(arguments):
    assert_transformer_arguments(PromptIR, {**PROMPTIR, **arguments})


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"layer_norm": "bias_free", "bias": True},
        {"in_channels": 4, "out_channels": 1, "ffn_expansion_factor": 2},
        {"num_blocks": (1, 2, 1, 11), "num_refinement_blocks": 1},
        {"relu_attention": True},
        {"relu_attention": True, "norm_eps": 2**-20, "layer_norm": "bias_free"},
    ],
)
def test_arguments_of_restormer(arguments):
    assert_transformer_arguments(Restormer, {**RESTORMER, **arguments})


@pytest.mark.parametrize(
    "arguments", [{}, {"bias": True, "in_channels": 1}, {"band_unit": 3, "layer_norm": "bias_free"}]
)
def test_arguments_of_adair(arguments):
    assert_transformer_arguments(AdaIR, {**RESTORMER, **arguments})


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"window_size": 3, "overlap_ratio": 4 / 3},
        {"window_size": 7, "overlap_ratio": 0, "bias": True, "layer_norm": "bias_free"},
        {"in_channels": 4, "out_channels": 1, "ffn_expansion_factor": 2},
    ],
)
def test_arguments_of_xrestormer(arguments):
    given = {key: value for key, value in RESTORMER.items() if key != "heads"}
    heads = {"channel_heads": (1, 2, 4, 5), "spatial_heads": (2, 1, 1, 3), "spatial_dim_head": 4}
    assert_transformer_arguments(XRestormer, {"overlap_ratio": 0.5, **given, **heads, **arguments})


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"depths": (1, 2), "num_heads": (2, 4)},
        {"window_size": 3, "mlp_ratio": 1.3},
        {"window_size": 7},
        {"in_channels": 1, "out_channels": 4, "img_range": 255.0, "embed_dim": 24},
        {"position_bias": False, "num_heads": (1, 3, 2, 6), "window_size": 5},
        {"shift_mask": False},
        {"position_bias": False, "shift_mask": False, "img_range": 2.0},
    ],
)
def test_arguments_of_swinir(arguments):
    given = {**SMALL["DCPTSwinIR"], **arguments}
    original = DCPTSwinIR(**given)
    assert_loaded(load_network(original.state_dict()), original)
    loaded = load_network(original.state_dict())
    assert (loaded.img_range, loaded.shift_mask) == (original.img_range, original.shift_mask)
    assert [block.attn.heads for layer in loaded.layers for block in layer.residual_group["blocks"]] == [
        block.attn.heads for layer in original.layers for block in layer.residual_group["blocks"]
    ]


def test_promptir_without_prompts_loads_as_restormer():
    net = PromptIR(**RESTORMER, prompts=False)
    loaded = load_network(net.state_dict())
    assert type(loaded) is Restormer
    with torch.no_grad():
        assert torch.equal(loaded(picture(9, 12)), net.eval()(picture(9, 12)))


@pytest.mark.parametrize("factor", [1, 4 / 3, 1.7, 2, 2.16, 2.41, 2.55, 2.66, 2.667, 3.5])
def test_expansion_factor_fits_every_level(factor):
    original = PromptIR(**PROMPTIR, ffn_expansion_factor=factor)
    assert_loaded(load_network(original.state_dict()), original)


def test_overrides_win_over_what_was_inferred():
    state = PromptIR(**PROMPTIR).state_dict()
    with pytest.raises(CheckpointError, match="does not fit PromptIR"):
        load_network(state, num_refinement_blocks=1)


def test_a_setting_can_be_overridden():
    original = build("DCPTSwinIR", position_bias=False)
    masked = load_network(original.state_dict(), shift_mask=True, num_heads=(1, 1, 1, 1))
    unmasked = load_network(original.state_dict(), shift_mask=False)
    assert masked.state_dict()["setting_num_heads"].tolist() == [1, 1, 1, 1]
    assert not unmasked.state_dict()["setting_shift_mask"]
    assert_loaded(load_network(unmasked.state_dict()), unmasked)


def test_another_setting_is_a_difference():
    network = build("DCPTSwinIR", position_bias=False)
    state = {**network.state_dict(), "setting_window_size": torch.tensor(8)}
    difference = compare(network, state)
    assert difference.reshaped == ["setting_window_size 8 for 4"]
    assert "setting_window_size" not in difference.matching
    assert compare(build("Restormer"), build("Restormer", relu_attention=True).state_dict()).unexpected == [
        "setting_relu_attention"
    ]
