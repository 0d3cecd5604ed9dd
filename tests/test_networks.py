"""What every backbone promises, over all that are registered."""

import io

import dcpt_arch  # noqa: F401 - registers the networks, and mends basicsr before the next lines import it

# isort: split
import pytest
import torch
from basicsr.utils.registry import ARCH_REGISTRY

from dcpt_arch import FeatureInfo, NAFNet, PromptIR, RestorationBackbone

# Arguments for networks of a fraction of a second; a new backbone needs a row here (and nothing else in this file).
SMALL = {
    "NAFNet": {"width": 6, "enc_blk_nums": (1, 2), "middle_blk_num": 1, "dec_blk_nums": (1, 1)},
    "PromptIR": {
        "dim": 8,
        "num_blocks": (1, 1, 1, 1),
        "num_refinement_blocks": 1,
        "heads": (1, 2, 2, 4),
        "prompt_dims": (4, 6, 8),
        "prompt_sizes": (4, 3, 2),
        "prompt_len": 2,
    },
}
BACKBONES = sorted(
    name for name, item in ARCH_REGISTRY if isinstance(item, type) and issubclass(item, RestorationBackbone)
)
SIZES = [(1, 1), (3, 50), (33, 47)]

every_backbone = pytest.mark.parametrize("name", BACKBONES)
every_size = pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")


def build(name, seed=0, **arguments):
    """A small network without zero tensors, behind which a mistake (or a missing gradient) would not be seen."""
    torch.manual_seed(seed)
    net = ARCH_REGISTRY.get(name)(**SMALL[name], **arguments)
    for parameter in net.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.3)
    return net.eval()


def picture(height, width, channels=3, batch=2):
    generator = torch.Generator().manual_seed(height * 1000 + width)
    return torch.rand(batch, channels, height, width, generator=generator)


def total(features):
    """A scalar in which no two feature elements cancel each other."""
    return sum((feature * torch.linspace(0.5, 1.5, feature.numel()).view_as(feature)).sum() for feature in features)


def test_every_registered_backbone_is_tested():
    assert sorted(SMALL) == BACKBONES, "add the small arguments of a new backbone to SMALL"


def test_every_backbone_is_registered():
    ours = [kind for kind in RestorationBackbone.__subclasses__() if kind.__module__.startswith("dcpt_arch")]
    assert sorted(kind.__name__ for kind in ours) == BACKBONES


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
    net, x = build(name).double(), picture(16, 16).double()
    features = net(x, features="only")
    total(features).backward()
    reached = {key for key, parameter in net.named_parameters() if parameter.grad is not None and parameter.grad.any()}
    touched = {key for key, parameter in net.named_parameters() if parameter.grad is not None}

    # What the features depend on is found without autograd: by changing one parameter after the other.
    needed = set()
    with torch.no_grad():
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
    net = build(name)
    total([net(picture(16, 16))]).backward()
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


def test_a_new_nafnet_block_is_the_identity():
    net, features = NAFNet(**SMALL["NAFNet"]), picture(8, 8, channels=6)
    assert torch.equal(net.encoders[0](features), features)


@pytest.mark.parametrize("layer_norm", ["with_bias", "bias_free"])
@pytest.mark.parametrize("bias", [False, True])
def test_promptir_has_the_biases_that_were_asked_for(layer_norm, bias):
    net = build("PromptIR", layer_norm=layer_norm, bias=bias)
    names = set(net.state_dict())
    assert ("latent.0.norm1.body.bias" in names) == (layer_norm == "with_bias")
    assert ("latent.0.attn.qkv.bias" in names) == ("output.bias" in names) == bias
    with torch.no_grad():
        assert net(picture(9, 11)).shape == (2, 3, 9, 11)


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
