"""What every degradation classifier promises, over all that are registered; then what is the ResNet's alone."""

import inspect
import json
import math
from pathlib import Path

import pytest
import torch
from small_networks import build, every_backbone, every_size, picture
from torch import nn

# isort: split
from basicsr.utils.registry import ARCH_REGISTRY

from dcpt_arch import DegradationClassifier, FeatureInfo
from dcpt_arch.classifiers.mamba_classifier_arch import VimDegradationClassifier
from dcpt_arch.classifiers.vit_classifier_arch import ViTDegradationClassifier

# Arguments for small classifiers; a new one needs a row here (and nothing else in this file).
SMALL = {
    "DegradationClassifier": {},
    "ViTDegradationClassifier": {"grid": 4, "depth": 2, "heads": 2},
    "VimDegradationClassifier": {"grid": 4, "depth": 2, "state_size": 4},
}
CLASSIFIERS = sorted(
    name
    for name, item in ARCH_REGISTRY
    if isinstance(item, type) and {"feature_info", "classes"} <= set(inspect.signature(item).parameters)
)
PYRAMID = [FeatureInfo(6, 1), FeatureInfo(10, 2), FeatureInfo(16, 4)]
# SwinIR's levels are all of one size and width.
FLAT = [FeatureInfo(12, 1)] * 3
WIDE = [FeatureInfo(64, 1), FeatureInfo(128, 2), FeatureInfo(256, 4)]

every_classifier = pytest.mark.parametrize("kind", CLASSIFIERS)


def features_of(levels, height=16, width=16, batch=2):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(
            batch,
            level.channels,
            math.ceil(height / level.stride),
            math.ceil(width / level.stride),
            generator=generator,
            requires_grad=True,
        )
        for level in levels
    ]


def classifier(kind, feature_info, classes=5, **arguments):
    torch.manual_seed(0)
    return ARCH_REGISTRY.get(kind)(feature_info, classes, **{**SMALL[kind], **arguments}).eval()


def size_of(net):
    return sum(parameter.numel() for parameter in net.parameters())


def test_every_registered_classifier_is_tested():
    assert sorted(SMALL) == CLASSIFIERS, "add the small arguments of a new classifier to SMALL"


@every_classifier
def test_constructors_begin_alike(kind):
    # Options that exchange one classifier for another need change nothing but its type.
    def first_four(net):
        return list(inspect.signature(net).parameters.values())[:4]

    assert first_four(ARCH_REGISTRY.get(kind)) == first_four(DegradationClassifier)


@every_classifier
@every_backbone
@every_size
@pytest.mark.parametrize("levels", ["all", "deepest"])
def test_logits_for_every_backbone(kind, name, size, levels):
    backbone = build(name)
    net_dc = classifier(kind, backbone.feature_info, classes=7, levels=levels)
    with torch.no_grad():
        logits = net_dc(backbone(picture(*size), features="only"))
    assert logits.shape == (2, 7) and logits.isfinite().all()
    assert not torch.equal(logits[0], logits[1])


@every_classifier
@pytest.mark.parametrize("levels", [PYRAMID, FLAT, PYRAMID[:1]], ids=["pyramid", "flat", "single"])
@pytest.mark.parametrize("size", [(1, 1), (5, 3), (13, 30)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_odd_feature_sizes(kind, levels, size):
    features = features_of(levels, *size)
    logits = classifier(kind, levels)(features)
    assert logits.shape == (2, 5) and logits.isfinite().all()
    logits.square().sum().backward()
    assert all(feature.grad.isfinite().all() for feature in features)


@every_classifier
@pytest.mark.parametrize("levels", [PYRAMID, FLAT], ids=["pyramid", "flat"])
def test_all_levels_and_all_parameters_are_used(kind, levels):
    net_dc, features = classifier(kind, levels), features_of(levels)
    net_dc(features).square().sum().backward()
    assert all(feature.grad.any() for feature in features)
    assert [name for name, p in net_dc.named_parameters() if p.grad is None or not p.grad.any()] == []


@every_classifier
@pytest.mark.parametrize("value", [0.0, 3.0, 1000.0])
def test_flat_features_have_finite_gradients(kind, value):
    features = [torch.full_like(feature, value).requires_grad_() for feature in features_of(PYRAMID)]
    net_dc = classifier(kind, PYRAMID)
    net_dc(features).square().sum().backward()
    assert all(feature.grad.isfinite().all() for feature in features)
    assert all(parameter.grad.isfinite().all() for parameter in net_dc.parameters())


@every_classifier
def test_bf16_autocast(kind):
    net_dc, features = classifier(kind, PYRAMID), features_of(PYRAMID)
    with torch.autocast("cpu", torch.bfloat16):
        logits = net_dc([feature.bfloat16() for feature in features])
    logits.float().square().sum().backward()
    assert torch.allclose(logits.float(), net_dc(features), rtol=0.1, atol=0.05)
    assert all(parameter.grad.isfinite().all() for parameter in net_dc.parameters())


@every_classifier
def test_same_seed_same_logits(kind):
    features = features_of(PYRAMID)
    assert torch.equal(classifier(kind, PYRAMID)(features), classifier(kind, PYRAMID)(features))


@every_classifier
def test_an_image_is_classified_by_itself(kind):
    # Neither the other images of the batch nor the training mode change a result.
    net_dc, features = classifier(kind, PYRAMID), features_of(PYRAMID, batch=3)
    alone = torch.cat([net_dc([feature[i : i + 1] for feature in features]) for i in range(3)])
    assert torch.allclose(net_dc.train()(features), alone, rtol=1e-4, atol=1e-5)


@every_classifier
def test_a_few_steps_tell_noise_from_blur(kind):
    # Both classes have the same mean and variance: pixels are independent in one, alike in blocks of 4x4 in the other.
    generator = torch.Generator().manual_seed(0)
    levels = [FeatureInfo(6, 1), FeatureInfo(8, 2)]

    def batch_of(size):
        labels = torch.arange(size) % 2
        features = []
        for level in levels:
            side = 16 // level.stride
            fine = torch.randn(size, level.channels, side, side, generator=generator)
            coarse = nn.functional.interpolate(fine[..., ::4, ::4], scale_factor=4)
            features.append(torch.where(labels.bool()[:, None, None, None], coarse, fine))
        return features, labels

    net_dc = classifier(kind, levels, classes=2).train()
    optimizer = torch.optim.AdamW(net_dc.parameters(), lr=2e-3)
    for _ in range(30):
        features, labels = batch_of(8)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net_dc(features), labels).backward()
        optimizer.step()
    features, labels = batch_of(64)
    with torch.no_grad():
        assert (net_dc.eval()(features).argmax(1) == labels).float().mean() > 0.85


@every_classifier
def test_deepest_ignores_the_other_levels(kind):
    net_dc, features = classifier(kind, PYRAMID, levels="deepest"), features_of(PYRAMID)
    logits = net_dc(features)
    others = [torch.full_like(features[0], torch.nan), torch.zeros_like(features[1])]
    assert torch.equal(net_dc([*others, features[2]]), logits)
    assert not torch.equal(net_dc([*features[:2], features[2] + torch.randn_like(features[2])]), logits)


@every_classifier
def test_deepest_is_a_classifier_of_that_level_alone(kind):
    assert {name: p.shape for name, p in classifier(kind, PYRAMID, levels="deepest").named_parameters()} == {
        name: p.shape for name, p in classifier(kind, PYRAMID[-1:]).named_parameters()
    }


@every_classifier
def test_levels_have_equal_weights_at_the_start(kind):
    net_dc = classifier(kind, PYRAMID)
    assert net_dc.mixing_weights.requires_grad
    assert net_dc.mixing_weights.softmax(0).tolist() == pytest.approx([1 / 3] * 3)


@every_classifier
def test_the_weight_of_a_level_decides_how_much_it_counts(kind):
    net_dc, features = classifier(kind, PYRAMID), features_of(PYRAMID)
    with torch.no_grad():
        net_dc.mixing_weights.copy_(torch.tensor([0.0, -200.0, 0.0]))
        logits = net_dc(features)
        # exp(-200) is zero in float32, so the middle level counts for nothing.
        assert torch.equal(net_dc([features[0], features[1] + 1, features[2]]), logits)
        assert not torch.equal(net_dc([features[0] * 2, features[1], features[2]]), logits)


@every_classifier
@pytest.mark.parametrize("width", [1, 7, 8])
def test_width_bounds_the_number_of_parameters(kind, width):
    net_dc = classifier(kind, WIDE, width=width)
    assert size_of(net_dc) < size_of(classifier(kind, WIDE)) / 20
    assert net_dc(features_of(WIDE)).shape == (2, 5)


@every_classifier
def test_width_above_the_features_changes_nothing(kind):
    capped, free = classifier(kind, PYRAMID, width=16), classifier(kind, PYRAMID)
    assert set(capped.state_dict()) == set(free.state_dict())
    assert torch.equal(capped(features_of(PYRAMID)), free(features_of(PYRAMID)))


@every_classifier
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"feature_info": []}, "got 0 levels, 5 classes, width None"),
        ({"classes": 1}, "got 3 levels, 1 classes"),
        ({"width": 0}, "width 0"),
        ({"levels": "last"}, "levels must be 'all' or 'deepest', not 'last'"),
    ],
)
def test_bad_arguments(kind, arguments, message):
    with pytest.raises(ValueError, match=message):
        classifier(kind, **{"feature_info": PYRAMID, "classes": 5, **arguments})


@pytest.mark.parametrize(("kind", "option"), [(kind, option) for kind, options in SMALL.items() for option in options])
def test_bad_sizes(kind, option):
    with pytest.raises(ValueError, match=f"{option} must be above 0; got 0"):
        classifier(kind, PYRAMID, **{option: 0})


@every_classifier
@pytest.mark.parametrize("levels", ["all", "deepest"])
@pytest.mark.parametrize("number", [2, 4])
def test_wrong_number_of_levels_is_an_error(kind, levels, number):
    with pytest.raises(ValueError, match=f"built for 3 feature levels, got {number}"):
        classifier(kind, PYRAMID, levels=levels)((features_of(PYRAMID) * 2)[:number])


@pytest.mark.parametrize("kind", [ViTDegradationClassifier, VimDegradationClassifier])
def test_token_classifiers_are_lighter_than_the_resnet(kind):
    nafnet = [FeatureInfo(64 << i, 1 << i) for i in range(4)]
    assert size_of(kind(nafnet, 5)) < size_of(DegradationClassifier(nafnet, 5)) / 5


# The ResNet alone


@pytest.mark.parametrize("width", [1, 8])
def test_number_of_parameters_of_the_resnet(width):
    residual_block = 2 * width**2 + 9 * (2 * width) ** 2 + 2 * width**2 + 2 * (2 * width + 2 * width + width)
    assert size_of(classifier("DegradationClassifier", WIDE, width=width)) == (
        3  # mixing weights
        + sum(level.channels * width for level in WIDE)  # projections
        + 8 * residual_block  # two a level and two at the end
        + 3 * width**2  # to the next level's width
        + width * 5
        + 5
    )


def test_the_authors_names_are_ours():
    # So a checkpoint of their classifier needs no conversion, in either direction.
    figures = json.loads((Path(__file__).parents[1] / "figures" / "arch.json").read_text(encoding="utf-8"))["dc_noimg"]
    net_dc = DegradationClassifier([FeatureInfo(64 << i, 1 << i) for i in range(4)], classes=5)
    assert {name: list(tensor.shape) for name, tensor in net_dc.state_dict().items()} == figures["shapes"]
