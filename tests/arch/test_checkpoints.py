"""Which tensors of a checkpoint are the weights, and what does not fit a network."""

import pickle

import pytest
import torch
from basicsr.archs.swinir_arch import SwinIR as EngineSwinIR
from checkpoint_checks import assert_loaded, assert_refused, saved
from small_networks import build, picture

from dcpt_arch.backbones.base import SETTING
from dcpt_arch.checkpoints.initialise import initialise
from dcpt_arch.checkpoints.loading import (
    CheckpointError,
    compare,
    find_weights,
    load_network,
    read_checkpoint,
)


def small():
    return build("NAFNet")


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


# What stands beside the weights


@pytest.mark.parametrize("name", ["NAFNet", "GuidedNAFNet"])
def test_the_local_converter_is_that_of_the_network_that_was_saved(name, tmp_path):
    """It changes images, and is seen in no weight; a network without it, or with another, takes the same weights."""
    original = build(name, tlc_size=10).eval()
    file = saved(tmp_path, {"params": original.state_dict(), **original.notes()})
    original.save_pretrained(tmp_path / "folder")
    x = picture(40, 50)
    with torch.no_grad():
        expected = original(x)
        assert torch.equal(load_network(file)(x), expected)
        assert torch.equal(load_network(tmp_path / "folder")(x), expected)
        plain = load_network(file, tlc_size=None)
        assert not torch.equal(plain(x), expected)
    assert not plain.notes()
    initialise(plain, file, None, True)
    assert plain.tlc_size is None


@pytest.mark.parametrize("note", [{"tlc_size": "wide"}, {"tlc_size": 0}, {"tlc_size": [3]}])
def test_a_note_that_no_network_can_be_built_by_is_refused(note, tmp_path):
    assert_refused(saved(tmp_path, {"params": small().state_dict(), "arguments": note}), "no weights of a NAFNet")


def test_what_else_is_noted_is_not_passed_on(tmp_path):
    for note in ({"width": 99}, {"x": 1}, ["tlc_size"], "tlc_size"):
        file = saved(tmp_path, {"params": small().state_dict(), "arguments": note})
        assert_loaded(load_network(file), small())
