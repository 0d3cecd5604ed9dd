"""Weights of published networks give the published outputs, and go back to the original layout."""

import pytest
import torch
from basicsr.archs.swinir_arch import SwinIR as EngineSwinIR
from checkpoint_checks import FIGURES, NETWORKS, assert_loaded, published
from fingerprint import image, summary
from small_networks import SMALL, build, picture

from dcpt_arch import DCPTSwinIR, DegradationClassifier, FeatureInfo
from dcpt_arch.checkpoints.loading import (
    CheckpointError,
    load_network,
    to_our_layout,
    to_published_layout,
)


def assert_same_figures(output, figures):
    ours = summary(output)
    assert ours["shape"] == figures["shape"]
    for key in ("mean", "std", "samples"):
        # Samples near zero are judged by the spread of the whole output.
        assert ours[key] == pytest.approx(figures[key], rel=1e-4, abs=1e-4 * figures["std"]), key


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
