"""What every backbone promises, over all that are registered."""

import io
import logging

import dcpt_arch  # noqa: F401 - registers the networks, and fixes basicsr before the next lines import it

# isort: split
import pytest
import torch
from basicsr.archs.swinir_arch import SwinIR as EngineSwinIR
from basicsr.utils.registry import ARCH_REGISTRY
from small_networks import BACKBONES, SIDES, SIZES, SMALL, build, every_backbone, every_size, picture

from dcpt_arch import (
    AdaIR,
    DCPTSwinIR,
    FeatureInfo,
    NAFNet,
    PromptIR,
    RestorationBackbone,
    Restormer,
    XRestormer,
)
from dcpt_arch.backbones.nafnet_arch import NAFBlock, RefinementBlock
from dcpt_arch.layers.local_average import LocalAveragePool
from dcpt_arch.layers.norm_and_stage import Stage


def total(features):
    """A scalar in which no two feature elements cancel each other."""
    return sum((feature * torch.linspace(0.5, 1.5, feature.numel()).view_as(feature)).sum() for feature in features)


def test_every_registered_backbone_is_tested():
    assert sorted(SMALL) == BACKBONES, "add the small arguments of a new backbone to SMALL"


def test_every_backbone_is_registered():
    def below(kind):
        return [kind, *(found for sub in kind.__subclasses__() for found in below(sub))]

    ours = [kind for kind in below(RestorationBackbone)[1:] if kind.__module__.startswith("dcpt_arch")]
    assert sorted(kind.__name__ for kind in ours) == sorted([*BACKBONES, "AnyBackbone"])


@every_backbone
@every_size
def test_image_keeps_its_size(name, size):
    x = picture(*size)
    with torch.no_grad():
        y = build(name)(x)
    assert y.shape == x.shape and y.isfinite().all()
    assert not torch.equal(y, x)


@every_backbone
@every_size
def test_features_are_as_declared(name, size):
    net = build(name)
    assert net.feature_info
    strides = [info.stride for info in net.feature_info]
    assert strides == sorted(strides), "the highest resolution comes first"
    height, width = (-(-side // net.size_multiple) * net.size_multiple for side in size)
    with torch.no_grad():
        features = net(picture(*size), features="only")
    assert [tuple(feature.shape) for feature in features] == [
        (2, info.channels, height // info.stride, width // info.stride) for info in net.feature_info
    ]


@every_backbone
@every_size
def test_also_and_only_are_the_plain_forward_exactly(name, size):
    net, x = build(name), picture(*size)
    with torch.no_grad():
        image, also = net(x, features="also")
        assert torch.equal(image, net(x)) and torch.equal(image, net(x, features="none"))
        only = net(x, features="only")
    assert len(also) == len(only)
    assert all(torch.equal(a, b) for a, b in zip(also, only, strict=True))


@every_backbone
def test_samples_of_a_batch_do_not_mix(name):
    net, x = build(name).double(), picture(9, 14).double()
    x[0] *= 3
    with torch.no_grad():
        torch.testing.assert_close(net(x)[1:], net(x[1:]), rtol=1e-10, atol=1e-10)


@every_backbone
@pytest.mark.parametrize("value", ["all", "", None, True])
def test_unknown_features_value_is_an_error(name, value):
    with pytest.raises(ValueError, match="features must be 'none', 'only' or 'also'"):
        build(name)(picture(8, 8), features=value)


@every_backbone
def test_only_gives_gradients_to_what_the_features_depend_on(name):
    side = SIDES.get(name, 16)
    net, x = build(name).double(), picture(side, side).double()
    features = net(x, features="only")
    total(features).backward()
    reached = {key for key, parameter in net.named_parameters() if parameter.grad is not None and parameter.grad.any()}
    touched = {key for key, parameter in net.named_parameters() if parameter.grad is not None}

    # What the features depend on is found without autograd: by changing one parameter after the other.
    needed = set()
    with torch.no_grad():
        features = net(x, features="only")  # fused attention rounds otherwise where gradients are wanted
        for key, parameter in net.named_parameters():
            kept = parameter.clone()
            parameter.add_(0.1 * torch.randn_like(parameter))
            changed = net(x, features="only")
            parameter.copy_(kept)
            if not all(torch.equal(a, b) for a, b in zip(features, changed, strict=True)):
                needed.add(key)

    assert reached == needed
    assert touched == needed, "nothing behind the features is computed"
    head = {key for key, _ in net.named_parameters() if net.is_head(key)}
    assert head and needed and not head & touched


@every_backbone
def test_a_full_backward_reaches_every_parameter(name):
    net, side = build(name), SIDES.get(name, 16)
    total([net(picture(side, side))]).backward()
    assert [key for key, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


@every_backbone
def test_head_is_what_it_names(name):
    net = build(name)
    heads = {key for key in net.state_dict() if net.is_head(key)}
    expected = {f"{part}.{key}" for part in net.head for key in net.get_submodule(part).state_dict()}
    assert heads == expected and heads
    assert heads != set(net.state_dict())
    # A name that only begins like the head is not the head.
    assert not net.is_head(f"{net.head[0]}2.weight")
    assert not net.is_head(f"body.{net.head[0]}.weight")


@every_backbone
@pytest.mark.parametrize(("given", "wanted"), [(1, 1), (4, 4), (4, 3), (1, 3)])
def test_other_numbers_of_channels(name, given, wanted):
    net = build(name, in_channels=given, out_channels=wanted)
    with torch.no_grad():
        y = net(picture(10, 7, channels=given))
    assert y.shape == (2, wanted, 10, 7)


@every_backbone
def test_the_input_is_added_where_channels_agree(name):
    net, x = build(name), picture(16, 16)
    with torch.no_grad():
        for part in net.head:
            for parameter in net.get_submodule(part).parameters():
                parameter.zero_()
        assert torch.equal(net(x), x)


@every_backbone
def test_state_dict_round_trip(name):
    net, other, x = build(name), build(name, seed=1), picture(13, 16)
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    file.seek(0)
    with torch.no_grad():
        assert not torch.equal(other(x), net(x))
        other.load_state_dict(torch.load(file, weights_only=True), strict=True)
        assert torch.equal(other(x), net(x))


@every_backbone
def test_bfloat16_autocast_stays_finite(name):
    net, x = build(name), picture(17, 24)
    with torch.autocast("cpu", torch.bfloat16):
        image, features = net(x, features="also")
        loss = image.float().abs().mean() + sum(feature.float().abs().mean() for feature in features)
    loss.backward()
    assert all(tensor.isfinite().all() for tensor in (image, *features))
    assert all(parameter.grad.isfinite().all() for parameter in net.parameters())
    with torch.no_grad():
        # bfloat16 has 8 bits of precision; more than 10 % off would be more than rounding.
        assert (image.float() - net(x)).norm() < 0.1 * net(x).norm()


@every_backbone
def test_channels_last_gives_the_same_image(name):
    net, x = build(name), picture(24, 17)
    with torch.no_grad():
        expected = net(x)
        last = net.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(last, expected, rtol=1e-5, atol=1e-5)


@every_backbone
def test_compiling_breaks_no_graph(name):
    net, x = build(name), picture(24, 17)
    torch.compiler.reset()  # networks of other tests, which share code, count towards the limit of recompilations
    # Capture alone is tested: generating code would need a compiler, which not every machine has.
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), net(x), rtol=1e-4, atol=1e-5)
    compiled(x).square().mean().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU, which this machine has not")
@every_backbone
def test_the_gpu_gives_the_image_of_the_cpu(name):
    net, x = build(name), picture(33, 47)
    with torch.no_grad():
        torch.testing.assert_close(net.cuda()(x.cuda()).cpu(), net.cpu()(x), rtol=1e-3, atol=1e-3)


# Gradient checkpointing


@every_backbone
def test_checkpointing_gives_the_same_gradients(name):
    def gradients(net, features):
        net.train().zero_grad()
        output = net(picture(16, 16), features=features)
        total(output if features == "only" else [output]).backward()
        return {key: parameter.grad for key, parameter in net.named_parameters() if parameter.grad is not None}

    plain, frugal = build(name), build(name, checkpointing=True)
    for features in ("none", "only"):
        expected, found = gradients(plain, features), gradients(frugal, features)
        assert expected.keys() == found.keys()
        assert all(torch.equal(found[key], expected[key]) for key in expected)


@every_backbone
@pytest.mark.parametrize("training", [True, False])
def test_checkpointing_computes_every_block_again_while_training(name, training):
    net, calls = build(name, checkpointing=True).train(training), {}
    blocks = {f"{key}.{i}": b for key, m in net.named_modules() if isinstance(m, Stage) for i, b in enumerate(m)}

    def count(block, _):
        calls[block] = calls.get(block, 0) + 1

    for block in blocks.values():
        block.register_forward_pre_hook(count)
    total([net(picture(16, 16))]).backward()
    assert {key: calls[block] for key, block in blocks.items()} == dict.fromkeys(blocks, 2 if training else 1)


# NAFNet


def test_a_new_nafnet_block_is_the_identity():
    net, features = NAFNet(**SMALL["NAFNet"]), picture(8, 8, channels=6)
    assert torch.equal(net.encoders[0](features), features)
    scaled = NAFNet(**SMALL["NAFNet"], initial_scale=0.3)
    factors = [p for name, p in scaled.named_parameters() if name.endswith(("beta", "gamma"))]
    assert len(factors) == 2 * len([m for m in scaled.modules() if type(m).__name__ == "NAFBlock"])
    assert all(torch.equal(p, torch.full_like(p, 0.3)) for p in factors)


def local_means(x, window):
    """The average over the window around each pixel, shifted inwards at the borders, pixel by pixel."""
    result = torch.empty_like(x)
    height, width = x.shape[-2:]
    high, wide = min(window, height), min(window, width)
    for i in range(height):
        for j in range(width):
            top = min(max(i - (high - 1) // 2, 0), height - high)
            left = min(max(j - (wide - 1) // 2, 0), width - wide)
            result[..., i, j] = x[..., top : top + high, left : left + wide].mean((-2, -1))
    return result


@pytest.mark.parametrize("window", [1, 2, 5, 6, 9, 40])
@pytest.mark.parametrize("size", [(1, 1), (5, 9), (6, 5), (13, 2)], ids=str)
def test_local_average_against_the_definition(window, size):
    x = picture(*size).double()
    found = LocalAveragePool(window).eval()(x).expand_as(x)
    torch.testing.assert_close(found, local_means(x, window), rtol=1e-12, atol=1e-12)


def test_local_average_is_exact_far_from_zero_and_in_half_precision():
    x = 100 + picture(300, 400, batch=1)
    exact = LocalAveragePool(64).eval()(x.double())
    torch.testing.assert_close(LocalAveragePool(64).eval()(x).double(), exact, rtol=2e-6, atol=0)
    # bfloat16 keeps 8 bits: only the input and the result are rounded.
    found = LocalAveragePool(64).eval()(x.bfloat16())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.double(), exact, rtol=2**-8, atol=0)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_tlc_with_a_window_of_the_whole_image_changes_nothing(size):
    plain, local = build("NAFNet"), build("NAFNet", tlc_size=64)
    with torch.no_grad():
        torch.testing.assert_close(local(picture(*size)), plain(picture(*size)), rtol=1e-6, atol=1e-6)


def test_tlc_with_a_small_window_works_in_eval_mode_alone():
    plain, local, x = build("NAFNet"), build("NAFNet", tlc_size=8), picture(33, 47)
    assert list(local.state_dict()) == list(plain.state_dict())
    with torch.no_grad():
        assert not torch.allclose(local(x), plain(x), atol=1e-4)
        torch.testing.assert_close(local.train()(x), plain.train()(x), rtol=1e-6, atol=1e-6)


def test_tlc_makes_a_distant_pixel_irrelevant():
    # What TLC is for: with local averages a pixel's result does not depend on how large the image is.
    local, x = build("NAFNet", tlc_size=8), picture(16, 256, batch=1)
    with torch.no_grad():
        changed = x.clone()
        changed[..., 240:] = 0
        assert torch.equal(local(changed)[..., :64], local(x)[..., :64])
        plain = build("NAFNet")
        assert not torch.equal(plain(changed)[..., :64], plain(x)[..., :64])


def test_refinement_works_on_what_the_decoder_gives():
    """A new block is the identity, the features that are classified are not its output, and it learns."""
    level = picture(17, 22)[:, [0, 1, 2, 0]]
    assert torch.equal(RefinementBlock(4)(level), level)
    refined, x = build("NAFNet", refinement=2), picture(17, 22)
    levels = refined(x, features="only")
    with torch.no_grad():
        refined.refinement[1].conv2.bias += 1
    assert torch.equal(refined(x, features="only")[0], levels[0])
    assert refined.is_head("refinement.0.conv1.weight")
    refined(x).square().mean().backward()
    assert all(block.conv2.weight.grad.any() for block in refined.refinement)


def test_folding_moves_the_blocks_to_a_lower_resolution():
    folded, x = build("NAFNet", fold=2), picture(17, 22)
    levels = folded(x, features="only")
    assert folded.size_multiple == 8
    assert [(info.channels, info.stride) for info in folded.feature_info] == [(6, 2), (12, 4)]
    assert [tuple(level.shape[1:]) for level in levels] == [(6, 12, 12), (12, 6, 6)]
    assert folded(x).shape == x.shape
    with torch.no_grad():
        folded.ending.weight.zero_()
        folded.ending.bias.copy_(torch.arange(12) / 16)
    # Each of the channels that are unfolded is one pixel of a square.
    assert torch.allclose((folded(x) - x)[0, 1, :2, :2], torch.tensor([[4, 5], [6, 7]]) / 16, atol=1e-6)
    with pytest.raises(ValueError, match="fold must be 1 or more; got 0"):
        build("NAFNet", fold=0)


def test_tlc_windows_follow_the_strides():
    net = NAFNet(**SMALL["NAFNet"], tlc_size=10)
    windows = [[block.sca[0].window for block in stage] for stage in (*net.encoders, net.middle_blks, *net.decoders)]
    assert windows == [[10], [5, 5], [2], [5], [10]]
    assert NAFNet(**SMALL["NAFNet"], tlc_size=1).middle_blks[0].sca[0].window == 1


def test_tlc_is_logged_once_and_off_by_default(caplog):
    logger = logging.getLogger("basicsr")
    caplog.set_level(logging.INFO, logger="basicsr")
    logger.addHandler(caplog.handler)  # the engine's logger does not pass records on
    try:
        net = build("NAFNet")
        assert not any(isinstance(module, LocalAveragePool) for module in net.modules())
        assert "TLC" not in caplog.text
        caplog.clear()
        net = build("NAFNet", tlc_size=384)
        assert len([m for m in net.modules() if isinstance(m, NAFBlock)]) > 1
        assert len({record.getMessage() for record in caplog.records}) == 1
        assert "averages over 384 x 384 pixels (TLC)" in caplog.text
    finally:
        logger.removeHandler(caplog.handler)


# Restormer and PromptIR


def test_promptir_without_prompts_is_restormer():
    restormer, net = build("Restormer"), PromptIR(**SMALL["Restormer"], prompts=False).eval()
    net.load_state_dict(restormer.state_dict(), strict=True)
    assert net.feature_info == restormer.feature_info
    with torch.no_grad():
        for ours, theirs in zip(net(picture(9, 20), "also"), restormer(picture(9, 20), "also"), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_feature_levels_of_the_published_sizes():
    # RECIPE: the channels and strides that the released classifiers were built for.
    with torch.device("meta"):
        restormer, promptir = Restormer().feature_info, PromptIR().feature_info
    assert [(info.channels, info.stride) for info in restormer] == [(96, 1), (96, 2), (192, 4)]
    assert [(info.channels, info.stride) for info in promptir] == [(96, 2), (192, 4), (192, 8)]


@pytest.mark.parametrize("arguments", [{"relu_attention": True}, {"norm_eps": 0.1}])
def test_restormer_options_change_the_image_and_stand_in_the_state_dict(arguments):
    plain, other = build("Restormer"), build("Restormer", **arguments)
    (setting,) = other.state_dict().keys() - plain.state_dict().keys()
    assert setting == f"setting_{next(iter(arguments))}"
    other.load_state_dict(plain.state_dict(), strict=False)
    with torch.no_grad():
        assert not torch.allclose(plain(picture(16, 16)), other(picture(16, 16)), atol=1e-4)


@pytest.mark.parametrize("name", ["PromptIR", "Restormer"])
@pytest.mark.parametrize("layer_norm", ["with_bias", "bias_free"])
@pytest.mark.parametrize("bias", [False, True])
def test_the_network_has_the_biases_that_were_asked_for(name, layer_norm, bias):
    net = build(name, layer_norm=layer_norm, bias=bias)
    names = set(net.state_dict())
    assert ("latent.0.norm1.body.bias" in names) == (layer_norm == "with_bias")
    assert ("latent.0.attn.qkv.bias" in names) == ("output.bias" in names) == bias
    with torch.no_grad():
        assert net(picture(9, 11)).shape == (2, 3, 9, 11)


# AdaIR and X-Restormer


def test_adair_and_xrestormer_have_the_published_sizes():
    # The original code has 28.785 and 26.041 million, of which 0.043 of AdaIR are used by nothing or have no gradient.
    with torch.device("meta"):
        adair, xrestormer = AdaIR(), XRestormer()
    assert [(info.channels, info.stride) for info in adair.feature_info] == [(96, 2), (192, 4), (384, 8)]
    assert [(info.channels, info.stride) for info in xrestormer.feature_info] == [(96, 1), (96, 2), (192, 4)]
    millions = [sum(p.numel() for p in net.parameters()) / 1e6 for net in (adair, xrestormer)]
    assert millions == pytest.approx([28.742, 26.041], abs=0.001)


@pytest.mark.parametrize("size", [(24, 24), (23, 31)])
def test_adair_parts_an_image_into_its_frequencies(size):
    block = AdaIR(**SMALL["AdaIR"]).fre3.double()
    x = picture(*size, channels=16).double()
    low, high = block.bands(x)
    assert (low.square() + high.square()).sum((-2, -1)).allclose(x.square().sum((-2, -1)))  # Parseval
    assert not low.allclose(high) and low.std() > 0 and high.std() > 0
    # A constant is the lowest frequency of all; one that changes sign from pixel to pixel is the highest.
    constant = torch.full_like(x, 0.3)
    low, high = block.bands(constant)
    assert torch.allclose(low, constant) and high.abs().max() < 1e-12
    if size == (24, 24):
        stripes = (-1.0) ** torch.arange(24).double().expand_as(x)
        low, high = block.bands(stripes)
        assert torch.allclose(high, torch.ones_like(high)) and low.abs().max() < 1e-12


def test_adair_of_the_published_unit_has_no_low_band_in_a_training_crop():
    block = AdaIR(**{**SMALL["AdaIR"], "band_unit": 128}).fre3
    low, _ = block.bands(picture(64, 64, channels=16))  # a crop of 128
    assert not low.any()
    names = {name for name, _ in block.named_parameters()}
    assert not any(name.startswith("rate_conv") for name in names)
    assert {name for name in block.state_dict() if name.startswith("rate_conv")} == {
        "rate_conv.0.weight",
        "rate_conv.2.weight",
    }


def test_xrestormer_attends_within_its_windows():
    layer = XRestormer(**{**SMALL["XRestormer"], "window_size": 4, "overlap_ratio": 0.5}).encoder_level1[0].spatial_attn
    torch.nn.init.normal_(layer.rel_pos_emb.rel_width)
    x = picture(16, 20, channels=8)
    with torch.no_grad():
        y = layer(x)
        # Pixel by pixel, by the definition: one head has 4 channels.
        q, k, v = layer.qkv(x)[0].unflatten(0, (3, 1, 4))[:, 0]
        for i, j in ((0, 0), (5, 9), (15, 19), (8, 7)):
            top, left = i // 4 * 4 - 1, j // 4 * 4 - 1
            keys, values, bias = [], [], []
            for a in range(top, top + 6):
                for b in range(left, left + 6):
                    inside = 0 <= a < 16 and 0 <= b < 20
                    keys.append(k[:, a, b] if inside else torch.zeros(4))
                    values.append(v[:, a, b] if inside else torch.zeros(4))
                    position = layer.rel_pos_emb
                    down, right = a - top - i % 4 + 5, b - left - j % 4 + 5
                    bias.append(position.rel_height[down] + position.rel_width[right])
            logits = (torch.stack(keys) + torch.stack(bias)) @ q[:, i, j] / 2
            expected = logits.softmax(0) @ torch.stack(values)
            found = layer.project_out(expected[None, :, None, None])[0, :, 0, 0]
            torch.testing.assert_close(y[0, :, i, j], found, rtol=1e-4, atol=1e-5)


# SwinIR


def pair_of_swinirs(window=4, img_range=1.0, channels=3):
    """Ours, and the engine's with the same weights."""
    common = {"embed_dim": 12, "depths": (3, 2), "num_heads": (2, 3), "window_size": window, "img_range": img_range}
    torch.manual_seed(0)
    engine = EngineSwinIR(img_size=8 * window, in_chans=channels, mlp_ratio=2, drop_path_rate=0.0, **common).eval()
    for parameter in engine.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    ours = DCPTSwinIR(in_channels=channels, out_channels=channels, **common).eval()
    published = {key: v for key, v in engine.state_dict().items() if key.split(".")[-1] not in COMPUTED}
    ours.load_state_dict(published, strict=False)
    weights = {key for key in ours.state_dict() if not key.startswith("setting_")}
    assert weights == set(published)
    return ours, engine


COMPUTED = ("relative_position_index", "attn_mask")


@pytest.mark.parametrize("arguments", [{}, {"window": 7, "img_range": 255.0}, {"window": 5}, {"channels": 1}], ids=str)
def test_swinir_is_the_engines(arguments):
    ours, engine = pair_of_swinirs(**arguments)
    side = ours.window_size
    # Also sizes other than the one for which the engine's masks are stored, and a single window.
    for rows, columns in ((8, 8), (3, 5), (1, 1), (1, 4)):
        x = picture(rows * side, columns * side, arguments.get("channels", 3))
        with torch.no_grad():
            expected = engine(x)
            torch.testing.assert_close(ours(x), expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())


def test_swinir_starts_as_the_engines():
    torch.manual_seed(0)
    sizes = {"embed_dim": 60, "depths": (2,), "num_heads": (6,), "window_size": 8}
    engine = EngineSwinIR(mlp_ratio=2, **sizes).state_dict()
    for key, value in DCPTSwinIR(**sizes).state_dict().items():
        if value.numel() < 10:
            continue  # too few to compare
        assert value.std().item() == pytest.approx(engine[key].std().item(), rel=0.15, abs=0.005), key
        tolerance = 0.6 * value.std().item() + 1e-3
        assert value.mean().item() == pytest.approx(engine[key].mean().item(), abs=tolerance), key


@pytest.mark.parametrize("option", ["position_bias", "shift_mask"])
def test_swinir_options_change_the_image(option):
    plain, other = build("DCPTSwinIR"), build("DCPTSwinIR", **{option: False})
    other.load_state_dict(plain.state_dict(), strict=False)
    for layer in plain.layers:
        for block in layer.residual_group["blocks"]:
            torch.nn.init.normal_(block.attn.relative_position_bias_table)
    with torch.no_grad():
        assert not torch.allclose(plain(picture(16, 16)), other(picture(16, 16)), atol=1e-4)


def test_swinir_without_position_bias_is_one_with_a_bias_of_zero():
    plain, other = build("DCPTSwinIR"), build("DCPTSwinIR", position_bias=False)
    other.load_state_dict(plain.state_dict(), strict=False)
    for key, parameter in plain.named_parameters():
        if key.endswith("bias_table"):
            torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        torch.testing.assert_close(plain(picture(17, 9)), other(picture(17, 9)), rtol=1e-5, atol=1e-5)


def test_swinir_features_are_the_last_three_blocks_nearest_to_the_output_first():
    net, seen = build("DCPTSwinIR"), []
    for layer in net.layers:
        layer.register_forward_hook(lambda *call: seen.append(call[-1]))
    with torch.no_grad():
        features = net(picture(8, 8), features="only")
    assert len(seen) == 4 and len(features) == 3
    assert all(torch.equal(a, b) for a, b in zip(features, seen[:0:-1], strict=True))
    assert len(DCPTSwinIR(embed_dim=4, depths=(1, 1), num_heads=(1, 1)).feature_info) == 2


@pytest.mark.parametrize(
    ("network", "arguments", "message"),
    [
        (NAFNet, {"enc_blk_nums": (), "dec_blk_nums": ()}, "enc_blk_nums must hold at least one number"),
        (NAFNet, {"enc_blk_nums": (1, 1), "dec_blk_nums": (1,)}, r"dec_blk_nums must hold 2 numbers.*got \[1\]"),
        (NAFNet, {"enc_blk_nums": (1, -1), "dec_blk_nums": (1, 1)}, "enc_blk_nums must hold .* none below 0"),
        (PromptIR, {"num_blocks": (1, 1, 1)}, "num_blocks must hold 4 numbers"),
        (PromptIR, {"heads": (1, 2, 2)}, "heads must hold 4 numbers"),
        (PromptIR, {"prompt_dims": (4, 4)}, "prompt_dims must hold 3 numbers"),
        (PromptIR, {"prompt_sizes": ()}, "prompt_sizes must hold 3 numbers"),
        (PromptIR, {"heads": (3, 2, 2, 4)}, "3 heads do not divide 8 channels"),
        (PromptIR, {"prompt_dims": (4, 6, 7)}, "2 heads do not divide 71 channels"),
        (PromptIR, {"layer_norm": "BiasFree"}, "layer_norm must be 'with_bias' or 'bias_free', not 'BiasFree'"),
        (PromptIR, {"dim": 7, "heads": (1, 1, 1, 1)}, "dim must be even"),
        (Restormer, {"num_blocks": (1, 1, 1)}, "num_blocks must hold 4 numbers"),
        (Restormer, {"heads": (3, 2, 2, 4)}, "3 heads do not divide 8 channels"),
        (AdaIR, {"dim": 6, "heads": (1, 1, 1, 1)}, "dim must be 8 or more"),
        (AdaIR, {"heads": (1, 2, 3, 4)}, "3 heads do not divide 32 channels"),
        (XRestormer, {"spatial_heads": (1, 1, 1)}, "spatial_heads must hold 4 numbers"),
        (XRestormer, {"channel_heads": (3, 1, 1, 1)}, "3 heads do not divide 8 channels"),
        (XRestormer, {"window_size": 4, "overlap_ratio": 0.25}, "overlap by 1, which must be even; give 0.5"),
        (DCPTSwinIR, {"depths": ()}, "depths must hold at least one number"),
        (DCPTSwinIR, {"num_heads": (2, 2)}, "num_heads must hold 4 numbers"),
        (DCPTSwinIR, {"num_heads": (2, 2, 5, 2)}, "5 heads do not divide 12 channels"),
        (DCPTSwinIR, {"num_heads": (2, 2, 0, 2)}, "0 heads do not divide 12 channels"),
        (DCPTSwinIR, {"window_size": 0}, "window_size must be 1 or more; got 0"),
        (NAFNet, {"tlc_size": 0}, "tlc_size must be 1 or more"),
    ],
)
def test_bad_arguments(network, arguments, message):
    with pytest.raises(ValueError, match=message):
        network(**{**SMALL[network.__name__], **arguments})


@every_backbone
def test_unknown_argument_is_an_error(name):
    with pytest.raises(TypeError, match="widht"):
        ARCH_REGISTRY.get(name)(**SMALL[name], widht=8)


def test_feature_info_cannot_be_changed_by_accident():
    info = FeatureInfo(channels=8, stride=2)
    with pytest.raises(AttributeError):
        info.stride = 4


def test_the_contract_itself_is_no_network():
    with pytest.raises(NotImplementedError):
        RestorationBackbone().encode(picture(8, 8))
    with pytest.raises(NotImplementedError):
        RestorationBackbone().decode(picture(8, 8), [], None)
