import argparse
import gzip
import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from basicsr.archs.swinir_arch import SwinIR as EngineSwinIR
from fingerprint import fill, image, summary
from safetensors.torch import save_file
from small_networks import SMALL, build, picture

from dcpt_arch import AdaIR, DCPTSwinIR, DegradationClassifier, FeatureInfo, NAFNet, PromptIR, Restormer, XRestormer
from dcpt_arch.backbones.base import SETTING
from dcpt_arch.checkpoints.initialise import initialise
from dcpt_arch.checkpoints.loading import (
    CheckpointError,
    compare,
    detect_family,
    find_weights,
    load_network,
    read_checkpoint,
    to_our_layout,
    to_published_layout,
)

FIGURES = json.loads((Path(__file__).parents[1] / "figures" / "arch.json").read_text(encoding="utf-8"))
NETWORKS = [name for name, entry in FIGURES.items() if isinstance(entry, dict) and "size" in entry]
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


@pytest.fixture(autouse=True)
def nothing_allowed():
    """What dcpt_mmengine lets torch.load read, in this process, is not read here."""
    before = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    yield
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(before)


def published(name):
    """The weights of a published network, with its own names."""
    entry = FIGURES[name]
    base = FIGURES[entry["extends"]]["shapes"] if "extends" in entry else {}
    return fill({**base, **entry["shapes"]})


def assert_same_figures(output, figures):
    ours = summary(output)
    assert ours["shape"] == figures["shape"]
    for key in ("mean", "std", "samples"):
        # Samples near zero are judged by the spread of the whole output.
        assert ours[key] == pytest.approx(figures[key], rel=1e-4, abs=1e-4 * figures["std"]), key


def small():
    return build("NAFNet")


def assert_loaded(network, original):
    """The network is the original: class, arguments (as its parameters show) and image."""
    assert type(network) is type(original)
    assert not compare(network, original.state_dict())
    (first, *_) = (module for module in original.modules() if isinstance(module, torch.nn.Conv2d))
    wanted = original.intro.in_channels // original.fold**2 if isinstance(original, NAFNet) else first.in_channels
    x = picture(9, 12, channels=wanted)
    with torch.no_grad():
        assert torch.equal(network(x), original.eval()(x))


# Published networks


def test_figures_hold_what_is_tested():
    pairs = ("nafnet_w32", "nafnet"), ("promptir", "promptir"), ("restormer", "restormer"), ("swinir", "swinir")
    expected = [name for dcpt, upstream in pairs for name in (f"dcpt_{dcpt}", f"upstream_{upstream}")]
    assert [*expected, "upstream_adair", "adair_low_bands", "upstream_xrestormer"] == NETWORKS
    assert set(FIGURES) == {"about", *NETWORKS, "dc_noimg"}


@pytest.mark.parametrize("name", NETWORKS)
def test_published_network_gives_the_published_output(name):
    network = load_network(published(name), **FIGURES[name].get("arguments", {}))
    assert not network.training
    with torch.no_grad():
        assert_same_figures(network(image(*FIGURES[name]["size"])), FIGURES[name]["output"])


@pytest.mark.parametrize("name", [name for name in NETWORKS if name.startswith("upstream_")])
def test_original_layout_round_trip(name):
    state = published(name)
    network = load_network(state)
    back = to_published_layout(network)
    assert {key: value.shape for key, value in back.items()} == {key: value.shape for key, value in state.items()}
    own = network.state_dict()
    assert all(torch.equal(back[key], own[key]) for key in own.keys() & back.keys())
    again = to_our_layout(back)
    assert again.keys() == own.keys() and all(torch.equal(again[key], own[key]) for key in own)


@pytest.mark.parametrize("name", ["dcpt_nafnet_w32", "dcpt_promptir"])
def test_networks_of_the_dcpt_authors_in_the_original_layout(name):
    back = to_published_layout(load_network(published(name)))
    original = published(name.replace("_w32", "").replace("dcpt", "upstream"))
    assert {key: value.shape for key, value in back.items()} == {key: value.shape for key, value in original.items()}


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (lambda: build("Restormer", relu_attention=True), "other values of relu_attention"),
        (lambda: build("Restormer", relu_attention=True, norm_eps=1e-6), "other values of norm_eps and relu_attention"),
        (lambda: build("AdaIR"), "other values of band_unit"),
        (lambda: build("XRestormer"), "other values of window_size"),
        (lambda: build("DCPTSwinIR", position_bias=False), "always has position_bias and shift_mask"),
        (lambda: build("DCPTSwinIR", shift_mask=False), "always has position_bias and shift_mask"),
        (lambda: torch.nn.Linear(1, 1), "no published layout of Linear"),
    ],
)
def test_networks_that_the_original_projects_do_not_have(network, reason):
    with pytest.raises(CheckpointError, match=reason):
        to_published_layout(network())


@pytest.mark.parametrize(("window", "side"), [(8, 128), (7, 126)])
def test_swinir_in_the_original_layout_loads_strictly_and_gives_the_same_image(window, side):
    common = {"embed_dim": 12, "depths": (2, 3), "num_heads": (2, 3), "window_size": window}
    ours = DCPTSwinIR(**common, img_range=255 if window == 7 else 1).eval()
    engine = EngineSwinIR(img_size=side, mlp_ratio=2, img_range=ours.img_range, **common).eval()
    computed = {key: v for key, v in engine.state_dict().items() if key.endswith(("_index", "attn_mask"))}
    back = to_published_layout(ours)
    assert computed and all(torch.equal(back[key], value) for key, value in computed.items())
    engine.load_state_dict(back, strict=True)
    x = picture(2 * window, 3 * window)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), engine(x), rtol=1e-4, atol=1e-5)
        # The range, which no weight tells, comes back with the network.
        assert_loaded(load_network(back), ours)


def test_published_classifier_gives_the_published_output():
    widths = (64, 128, 256, 512)
    net_dc = DegradationClassifier([FeatureInfo(width, 2**i) for i, width in enumerate(widths)], classes=5).eval()
    net_dc.load_state_dict(published("dc_noimg"), strict=True)
    features = [
        torch.randn(2, width, 64 >> i, 64 >> i, generator=torch.Generator().manual_seed(100 + i))
        for i, width in enumerate(widths)
    ]
    with torch.no_grad():
        assert_same_figures(net_dc(features), FIGURES["dc_noimg"]["output"])


def test_figures_notice_a_difference():
    # Guards the comparison itself: one changed weight of 232 must show.
    state = published("dcpt_nafnet_w32")
    state["intro.bias"] = state["intro.bias"] * 1.05
    with torch.no_grad():
        output = load_network(state)(image(64, 96))
    with pytest.raises(AssertionError):
        assert_same_figures(output, FIGURES["dcpt_nafnet_w32"]["output"])


def test_layout_of_the_dcpt_authors_becomes_ours():
    state = to_our_layout({"intro.weight": torch.ones(1), "decoder3.0.sca.1.bias": torch.ones(1)})
    assert list(state) == ["intro.weight", "decoders.3.0.sca.1.bias"]


def test_our_layout_and_unknown_ones_stay():
    for state in (*(build(name).state_dict() for name in SMALL), {"decoder0.weight": torch.ones(1)}):
        assert list(to_our_layout(dict(state))) == list(state)


# Arguments read off the weights


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


# Unwrapping


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "net_g.", "net.", "model."])
@pytest.mark.parametrize("key", ["", "params", "params_ema", "state_dict", "model"])
def test_weights_are_found(key, prefix):
    original = small()
    state = {prefix + name: value for name, value in original.state_dict().items()}
    # What Lightning and others keep beside the weights.
    content = {"epoch": 3, "optimizer_states": [{}], key: state} if key else state
    weights = find_weights(content)
    assert weights.key == key
    assert list(weights.state) == list(original.state_dict())
    assert_loaded(load_network(content), original)


def test_a_prefix_that_only_some_names_have_stays():
    state = {"net.weight": torch.ones(1), "other.weight": torch.ones(1)}
    assert list(find_weights(state).state) == list(state)


@pytest.mark.parametrize("first", ["params", "params_ema"])
def test_averaged_weights_are_preferred_and_others_can_be_asked_for(first):
    plain, averaged = build("NAFNet", seed=1), build("NAFNet", seed=2)
    content = {"params": plain.state_dict(), "params_ema": averaged.state_dict()}
    content = {key: content[key] for key in sorted(content, key=lambda key: key != first)}
    assert_loaded(load_network(content), averaged)
    asked_for = find_weights(content, "params")
    assert asked_for.key == "params"
    assert_loaded(load_network(asked_for.state), plain)


@pytest.mark.parametrize(
    ("content", "key", "message"),
    [
        ({"params": {"a": torch.ones(1)}}, "params_ema", "no weights under 'params_ema'; the file holds: params"),
        ({"a": torch.ones(1)}, "a", "no weights under 'a'"),
        ({"params": {}}, None, "no tensors in the checkpoint; it holds: nothing"),
        ({"params": {"lr": 1.0}}, "params", "no tensors in the checkpoint; it holds: lr"),
        ({0: torch.ones(1)}, None, "no tensors in the checkpoint; it holds: 0"),
    ],
)
def test_weights_that_are_not_there(content, key, message):
    with pytest.raises(CheckpointError, match=message):
        find_weights(content, key)


# Files


@pytest.mark.parametrize("as_path", [Path, str])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_file_round_trip(tmp_path, as_path, zipped):
    original, file = small(), tmp_path / "net_g_8.pth"
    content = {"params": original.state_dict(), "iter": 8}
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    read = read_checkpoint(as_path(file))
    assert set(read) == {"params", "iter"} and read["iter"] == 8
    assert_loaded(load_network(as_path(file)), original)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("as_path", [Path, str])
def test_safetensors_round_trip(tmp_path, name, as_path):
    original, file = build(name), tmp_path / "net_g.safetensors"
    save_file(original.state_dict(), file, metadata={"format": "pt"})
    assert read_checkpoint(as_path(file)).keys() == original.state_dict().keys()
    assert_loaded(load_network(as_path(file)), original)


def test_damaged_safetensors_file(tmp_path):
    file = tmp_path / "net.safetensors"
    save_file(small().state_dict(), file)
    whole = file.read_bytes()
    for length in (1, 7, 8, 200, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        assert_refused(file, "truncated or no safetensors file", "copy or save it again")
    file.write_bytes(b"")
    assert_refused(file, "is empty; copy or save it again")
    torch.save(small().state_dict(), file)
    assert_refused(file, "is a file of torch.save; rename it to net.pth")
    save_file({}, file)
    assert_refused(file, "an empty dict")
    assert_refused(tmp_path / "no.safetensors", "no such checkpoint file")


def assert_refused(file, *parts):
    """One line that names the file and says each of `parts`."""
    with pytest.raises(CheckpointError) as caught:
        load_network(file)
    message = str(caught.value)
    assert "\n" not in message and str(file) in message
    for part in parts:
        assert part in message


def saved(tmp_path, content):
    file = tmp_path / "net.pth"
    torch.save(content, file)
    return file


def test_missing_file(tmp_path):
    assert_refused(tmp_path / "no.pth", "no such checkpoint file")
    assert_refused(tmp_path, "no file of weights in it")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_truncated_file(tmp_path, zipped):
    file = tmp_path / "net.pth"
    torch.save(small().state_dict(), file, _use_new_zipfile_serialization=zipped)
    whole = file.read_bytes()
    # Where the file was cut decides which of torch's many exceptions comes.
    for length in (0, 1, 7, 200, *range(1000, len(whole), len(whole) // 40), len(whole) - 1):
        file.write_bytes(whole[:length])
        assert_refused(file)


def zip_of(name, content):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, content)
    return file.getvalue()


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 104857600\n"


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    ("content", "what", "then"),
    [
        (b"", "is empty", "copy or save it again"),
        (LFS, "is a pointer of Git LFS", "run `git lfs pull`"),
        (b"\n<!DOCTYPE html><html>404</html>", "is a web page", "download button"),
        (b"<html>\xc3\xa9</html>", "is a web page", "download button"),
        (b"Quota exceeded\n", "is a text file, beginning with 'Quota exceeded", "name the file of the weights"),
        (gzip.compress(b"weights", mtime=0), "is an archive (gzip)", "unpack it"),
    ],
)
def test_a_file_of_another_kind_says_what_it_is_and_what_to_do(tmp_path, content, what, then, suffix):
    file = tmp_path / f"net{suffix}"
    file.write_bytes(content)
    assert_refused(file, what, then)


def test_archives_and_programs_named_pth_say_what_they_are(tmp_path):
    file = tmp_path / "net.pth"
    file.write_bytes(zip_of("best/net_g.pth", b"weights"))
    assert_refused(file, "is a zip archive; unpack it")
    torch.jit.script(torch.nn.Linear(1, 1)).save(file)
    assert_refused(file, "is a TorchScript program", "network.state_dict()")
    save_file(small().state_dict(), file)
    assert_refused(file, "is a file of safetensors; rename it to net.safetensors")
    file.write_bytes(b"PK\x03\x04")
    assert_refused(file)


@pytest.mark.parametrize(
    ("beside", "what"),
    [
        (np.float64(31.2), "beside weights it holds numbers of numpy"),
        (argparse.Namespace(lr=1e-3), "beside weights it holds settings of the program that wrote it"),
        (torch.nn.Linear(1, 1), "it holds a whole network"),
    ],
    ids=["numpy", "namespace", "module"],
)
def test_what_a_program_has_saved_beside_weights_is_named_with_the_way_out(tmp_path, beside, what):
    file = saved(tmp_path, {"params": small().state_dict(), "beside": beside})
    assert_refused(file, what, "not opened", "torch.save({'params': network.state_dict()}, 'weights.pth')")


def test_a_training_state_given_as_weights_says_where_the_weights_are(tmp_path):
    state = {"epoch": 1, "iter": 8, "optimizers": [{}], "schedulers": [{}]}
    file = saved(tmp_path, state)
    wanted = (str(file), "a training state has no weights", "models/net_*_8.pth", "path:resume_state")
    assert_refused(file, *wanted)
    with pytest.raises(CheckpointError) as error:
        initialise(small(), file)
    assert all(part in str(error.value) for part in wanted)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_no_numbers_are_refused_with_the_file(tmp_path, value):
    network = small()
    with torch.no_grad():
        network.intro.weight[0, 0, 0, 0] = value
    file = saved(tmp_path, {"params": network.state_dict()})
    assert_refused(file, "'intro.weight' are NaN or infinite", "take an earlier checkpoint")
    with pytest.raises(CheckpointError, match=r"net.pth: 1 of .* are NaN or infinite"):
        initialise(small(), file)


def test_a_mask_may_be_minus_infinity():
    assert list(find_weights({"attn_mask": torch.tensor([0.0, -float("inf")])}).state) == ["attn_mask"]


# What is beside the weights


@pytest.mark.parametrize("key", ["params_ema", "params-ema", "ema_state_dict", "state_dict_ema", "model_ema", "ema"])
@pytest.mark.parametrize("plain_key", ["params", "state_dict", "model"])
def test_averaged_weights_are_preferred_by_every_name(key, plain_key):
    plain, averaged = build("NAFNet", seed=1), build("NAFNet", seed=2)
    content = {"epoch": 1, plain_key: plain.state_dict(), key: averaged.state_dict()}
    assert find_weights(content).key == key
    assert_loaded(load_network(content), averaged)
    assert_loaded(load_network(find_weights(content, plain_key).state), plain)


def test_averaged_weights_within_a_section_or_a_state_dict_are_preferred_too():
    plain, averaged = build("NAFNet", seed=1), build("NAFNet", seed=2)
    assert_loaded(load_network({"model": plain.state_dict(), "ema": {"state_dict": averaged.state_dict()}}), averaged)
    for one, other in (("generator.", "generator_ema."), ("online_model.", "ema_model.")):
        state = {one + name: value for name, value in plain.state_dict().items()}
        state.update({other + name: value for name, value in averaged.state_dict().items()})
        state["step_counter"] = torch.tensor(5)
        assert_loaded(load_network({"state_dict": state}), averaged)


def test_a_section_of_averages_without_weights_is_passed_over():
    network = small()
    assert_loaded(load_network({"ema": {"decay": 0.999}, "params": network.state_dict()}), network)


@pytest.mark.parametrize(
    "stray",
    [
        {"total_ops": torch.zeros(1, dtype=torch.float64), "intro.total_params": torch.zeros(1, dtype=torch.float64)},
        {"n_averaged": torch.tensor(7)},
        {"steps": torch.tensor(7)},
        {"counter_of_mine": torch.tensor(7)},
    ],
    ids=lambda stray: next(iter(stray)),
)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_numbers_that_tools_leave_are_left_out_and_said(stray, prefix, tmp_path, caplog):
    network = small()
    state = {prefix + name: value for name, value in network.state_dict().items()}
    file = saved(tmp_path, {"params_ema": {**state, **stray}})
    with caplog.at_level("INFO", logger="basicsr"):
        assert_loaded(load_network(file), network)
        initialise(other := build("NAFNet", seed=5), file)
    assert not compare(other, network.state_dict()) and torch.equal(other.intro.weight, network.intro.weight)
    assert f"net.pth: left out {len(stray)} numbers that are no weights: {next(iter(stray))}" in caplog.text


def test_a_number_that_may_be_a_weight_is_not_left_out(tmp_path):
    file = saved(tmp_path, {**small().state_dict(), "gain": torch.tensor(0.5)})
    assert_refused(file, "1 unexpected (gain)", "All weights of NAFNet are there and fit", "remove them from the file")


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return open, (self.marker, "w")


@pytest.mark.parametrize("plain_pickle", [False, True])
def test_code_in_a_file_does_not_run(tmp_path, plain_pickle):
    file, marker = tmp_path / "net.pth", tmp_path / "it_ran"
    content = {"params": small().state_dict(), "extra": Malicious(marker)}
    if plain_pickle:
        file.write_bytes(pickle.dumps({"extra": Malicious(marker)}, protocol=2))
    else:
        torch.save(content, file)
    assert_refused(file, "not a file of plain weights, so it was not opened")
    assert not marker.exists()
    # The file is as bad as it should be: whoever opens it without care does run its code.
    if plain_pickle:
        pickle.loads(file.read_bytes())
    else:
        torch.load(file, weights_only=False)
    assert marker.exists()


def test_the_message_names_the_code_and_does_not_advise_to_run_it(tmp_path):
    file = saved(tmp_path, {"extra": Malicious(tmp_path / "it_ran")})
    assert_refused(file, "GLOBAL", "io.open")
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(file)
    assert "Weights only load failed" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ({}, "an empty dict"),
        ([torch.ones(1)], "list"),
        (torch.ones(2), "Tensor"),
        ({"iter": 5}, "no tensors in the checkpoint; it holds: iter"),
        ({"params": {}}, "no tensors in the checkpoint; it holds: nothing"),
        (
            {"fc.weight": torch.ones(1)},
            "unknown network (first key 'fc.weight'); known: ",
        ),
    ],
)
def test_file_without_weights_of_a_known_network(tmp_path, content, part):
    assert_refused(saved(tmp_path, content), part)


def unnamed_when_missing(original):
    """The tensors whose absence is an error that does not name them."""
    state, unnamed = original.state_dict(), set()
    for name in state:
        with pytest.raises(CheckpointError) as caught:
            load_network({key: value for key, value in state.items() if key != name})
        assert "\n" not in str(caught.value)
        if name not in str(caught.value):
            unnamed.add(name)
    return unnamed


def test_a_missing_tensor_of_nafnet_is_named():
    # By this one the family is recognised.
    assert unnamed_when_missing(small()) == {"intro.weight"}


def test_a_missing_tensor_of_promptir_is_named():
    # Without it the network counts as one without those biases.
    assert unnamed_when_missing(build("PromptIR")) == {"latent.0.norm1.body.bias"}


def test_a_missing_tensor_of_restormer_is_named():
    assert unnamed_when_missing(build("Restormer")) == {"latent.0.norm1.body.bias"}


def test_a_missing_tensor_of_swinir_is_named():
    assert unnamed_when_missing(build("DCPTSwinIR")) == set()


def test_swinir_that_enlarges_images(tmp_path):
    engine = EngineSwinIR(upsampler="pixelshuffledirect", upscale=2, embed_dim=12, depths=(1,), num_heads=(1,))
    assert_refused(saved(tmp_path, engine.state_dict()), "DCPTSwinIR", "it enlarges images")


@pytest.mark.parametrize(
    ("name", "shape", "part"),
    [
        ("ending.bias", (4,), "1 of another shape (ending.bias (4,) for (3,))"),
        ("middle_blks.0.beta", (6, 1, 1), "1 of another shape (middle_blks.0.beta (6, 1, 1) for (1, 24, 1, 1))"),
        ("intro.weight", (6,), "NAFNet"),
        ("ending.weight", (4, 6, 3, 3), "1 of another shape (ending.bias (3,) for (4,))"),
    ],
)
def test_reshaped_tensor(tmp_path, name, shape, part):
    file = saved(tmp_path, {**small().state_dict(), name: torch.ones(shape)})
    assert_refused(file, part)


def test_weights_that_contradict_themselves(tmp_path):
    state = build("PromptIR").state_dict()
    assert_refused(
        saved(tmp_path, {**state, "latent.0.attn.temperature": torch.ones(7, 1, 1)}), "7 heads do not divide"
    )
    stages = {name: value for name, value in small().state_dict().items() if not name.startswith("downs.")}
    assert_refused(saved(tmp_path, stages), "enc_blk_nums must hold at least one number")


def test_unexpected_tensor_is_named(tmp_path):
    state = {**small().state_dict(), "attention.weight": torch.ones(1)}
    assert_refused(saved(tmp_path, state), "1 unexpected (attention.weight)")


# Comparing


def test_compare_lists_every_kind_of_difference():
    network = small()
    state = network.state_dict()
    assert not compare(network, state)
    assert str(compare(network, state)) == f"{len(state)} tensors fit; nothing differs"
    del state["intro.bias"]
    difference = compare(network, {**state, "ending.bias": torch.ones(5), "new": torch.ones(1)})
    assert difference
    assert difference.missing == ["intro.bias"] and difference.unexpected == ["new"]
    assert difference.reshaped == ["ending.bias (5,) for (3,)"]
    assert len(difference.matching) == len(network.state_dict()) - 2
    assert "1 missing (intro.bias); 1 unexpected (new); 1 of another shape" in str(difference)


def test_long_lists_are_cut():
    text = str(compare(small(), {}))
    assert text.startswith("0 tensors fit; ") and text.count(",") == 3 and text.endswith(", ...)")


ODD = {
    "torch.sparse_coo": lambda value: value.to_sparse(),
    "quantised": lambda value: torch.quantize_per_tensor(value, 0.1, 0, torch.qint8),
    "device meta": lambda value: value.to("meta"),
    "27,000,000,000 numbers that repeat a few": lambda value: torch.zeros(1).expand(10**9, 3, 3, 3),
}


@pytest.mark.parametrize("kind", ODD)
def test_tensors_that_are_no_plain_weights_are_refused(kind, tmp_path):
    state = dict(build("NAFNet").state_dict())
    state["intro.weight"] = ODD[kind](state["intro.weight"])
    torch.save({"params": state}, tmp_path / "a.pth")
    with pytest.raises(
        CheckpointError, match=rf"a.pth: 'intro.weight' is a tensor of another kind \({kind.removeprefix('torch.')}"
    ):
        load_network(tmp_path / "a.pth")


@pytest.mark.parametrize("kind", [torch.complex64, torch.bool], ids=str)
def test_numbers_of_another_kind_are_no_weights(kind):
    state = dict(build("NAFNet").state_dict())
    state["intro.weight"] = state["intro.weight"].to(kind)
    with pytest.raises(CheckpointError, match=rf"intro\.weight .* of {kind} for .* of torch.float32"):
        load_network(state)


def test_whole_numbers_and_others_of_less_depth_stand_for_weights():
    state = {key: value.half() for key, value in build("NAFNet").state_dict().items()}
    state["intro.bias"] = torch.arange(6)
    network = load_network(state)
    assert network.state_dict()["intro.bias"].tolist() == [0, 1, 2, 3, 4, 5]
    assert torch.equal(network.state_dict()["intro.weight"], state["intro.weight"].float())


def test_a_section_that_holds_itself_is_refused(tmp_path):
    content = {}
    content["params"] = content
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"a\.pth: no tensors in the checkpoint"):
        load_network(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("name", "value"),
    [(f"{SETTING}fold", torch.tensor(2)), ("intro.weight", torch.zeros(()))],
    ids=["setting", "size"],
)
def test_what_no_network_can_be_built_of_is_refused(name, value):
    kind = "PromptIR" if name.startswith(SETTING) else "NAFNet"
    with pytest.raises(CheckpointError, match=f"no weights of a {kind} that can be built"):
        load_network({**build(kind).state_dict(), name: value})


def spoilt(file, name):
    """Change a byte of what a file of torch.save holds under a name."""
    with zipfile.ZipFile(file) as archive:
        (part,) = [info for info in archive.infolist() if info.filename.endswith(name)]
        content = archive.read(part)
    data = bytearray(file.read_bytes())
    data[data.index(content) + len(content) // 2] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("part", ["data/3", "data.pkl"])
def test_a_damaged_byte_of_a_weight_is_noticed(part, tmp_path):
    torch.save(build("NAFNet").state_dict(), tmp_path / "a.pth")
    load_network(tmp_path / "a.pth")
    spoilt(tmp_path / "a.pth", part)
    with pytest.raises(CheckpointError, match=f"a.pth: damaged .*{part}"):
        load_network(tmp_path / "a.pth")


def test_a_file_that_was_saved_without_checksums_is_read(tmp_path):
    state = build("NAFNet").state_dict()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(state, tmp_path / "a.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    assert torch.equal(load_network(tmp_path / "a.pth").state_dict()["intro.weight"], state["intro.weight"])


def test_a_weight_of_64_bits_that_a_network_cannot_hold_is_refused():
    state = dict(build("NAFNet").double().state_dict())
    state["intro.weight"][0, 0, 0, 0] = 1e300
    with pytest.raises(CheckpointError, match=r"1 of 162 values of 'intro\.weight' are NaN or infinite"):
        load_network(state)


def test_a_damaged_name_in_a_file_is_refused(tmp_path):
    torch.save(build("NAFNet").state_dict(), tmp_path / "a.pth")
    data = bytearray((tmp_path / "a.pth").read_bytes())
    data[data.rindex(b"data.pkl")] = 0xE9  # in the directory at the end
    (tmp_path / "a.pth").write_bytes(data)
    with pytest.raises(CheckpointError, match=r"a\.pth: damaged"):
        load_network(tmp_path / "a.pth")


def test_a_header_whose_length_begins_like_a_pickle_is_one_of_safetensors(tmp_path):
    state = {key: value.contiguous() for key, value in build("NAFNet").state_dict().items()}
    for length in range(257):  # of what pads the header until its length ends with 0x80
        save_file(state, tmp_path / "a.safetensors", metadata={"note": "x" * length})
        if (tmp_path / "a.safetensors").read_bytes()[0] == 0x80:
            break
    assert (tmp_path / "a.safetensors").read_bytes()[0] == 0x80
    assert torch.equal(load_network(tmp_path / "a.safetensors").state_dict()["intro.weight"], state["intro.weight"])
