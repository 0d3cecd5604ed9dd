import math

import pytest
import torch
from test_networks import build, every_backbone, every_size, picture

from dcpt_arch import DegradationClassifier, FeatureInfo

PYRAMID = [FeatureInfo(6, 1), FeatureInfo(10, 2), FeatureInfo(16, 4)]
# SwinIR's levels are all of one size and width.
FLAT = [FeatureInfo(12, 1)] * 3


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


def classifier(feature_info, classes=5, **arguments):
    torch.manual_seed(0)
    return DegradationClassifier(feature_info, classes, **arguments).eval()


def size_of(net):
    return sum(parameter.numel() for parameter in net.parameters())


@every_backbone
@every_size
@pytest.mark.parametrize("levels", ["all", "deepest"])
def test_logits_for_every_backbone(name, size, levels):
    backbone = build(name)
    net_dc = classifier(backbone.feature_info, classes=7, levels=levels)
    with torch.no_grad():
        logits = net_dc(backbone(picture(*size), features="only"))
    assert logits.shape == (2, 7) and logits.isfinite().all()
    assert not torch.equal(logits[0], logits[1])


@pytest.mark.parametrize("levels", [PYRAMID, FLAT, PYRAMID[:1]], ids=["pyramid", "flat", "single"])
@pytest.mark.parametrize("size", [(1, 1), (5, 3), (13, 30)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_odd_feature_sizes(levels, size):
    logits = classifier(levels)(features_of(levels, *size))
    assert logits.shape == (2, 5) and logits.isfinite().all()


@pytest.mark.parametrize("levels", [PYRAMID, FLAT], ids=["pyramid", "flat"])
def test_all_levels_and_all_parameters_are_used(levels):
    net_dc, features = classifier(levels), features_of(levels)
    net_dc(features).square().sum().backward()
    assert all(feature.grad.any() for feature in features)
    assert [name for name, p in net_dc.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_deepest_ignores_the_other_levels():
    net_dc, features = classifier(PYRAMID, levels="deepest"), features_of(PYRAMID)
    logits = net_dc(features)
    others = [torch.full_like(features[0], torch.nan), torch.zeros_like(features[1])]
    assert torch.equal(net_dc([*others, features[2]]), logits)
    assert not torch.equal(net_dc([*features[:2], features[2] + torch.randn_like(features[2])]), logits)


def test_deepest_is_a_classifier_of_that_level_alone():
    assert {name: p.shape for name, p in classifier(PYRAMID, levels="deepest").named_parameters()} == {
        name: p.shape for name, p in classifier(PYRAMID[-1:]).named_parameters()
    }


def test_levels_have_equal_weights_at_the_start():
    net_dc = classifier(PYRAMID)
    assert net_dc.mixing_weights.requires_grad
    assert net_dc.mixing_weights.softmax(0).tolist() == pytest.approx([1 / 3] * 3)


def test_the_weight_of_a_level_decides_how_much_it_counts():
    net_dc, features = classifier(PYRAMID), features_of(PYRAMID)
    with torch.no_grad():
        net_dc.mixing_weights.copy_(torch.tensor([0.0, -200.0, 0.0]))
        logits = net_dc(features)
        # exp(-200) is zero in float32, so the middle level counts for nothing.
        assert torch.equal(net_dc([features[0], features[1] + 1, features[2]]), logits)
        assert not torch.equal(net_dc([features[0] * 2, features[1], features[2]]), logits)


@pytest.mark.parametrize("width", [1, 8])
def test_width_bounds_the_number_of_parameters(width):
    wide = [FeatureInfo(64, 1), FeatureInfo(128, 2), FeatureInfo(256, 4)]
    net_dc = classifier(wide, width=width)
    residual_block = 2 * width**2 + 9 * (2 * width) ** 2 + 2 * width**2 + 2 * (2 * width + 2 * width + width)
    expected = (
        3  # mixing weights
        + sum(level.channels * width for level in wide)  # projections
        + 8 * residual_block  # two a level and two at the end
        + 3 * width**2  # to the next level's width
        + width * 5
        + 5
    )
    assert size_of(net_dc) == expected < size_of(classifier(wide)) / 50
    assert net_dc(features_of(wide)).shape == (2, 5)


def test_width_above_the_features_changes_nothing():
    capped, free = classifier(PYRAMID, width=16), classifier(PYRAMID)
    assert set(capped.state_dict()) == set(free.state_dict())
    assert torch.equal(capped(features_of(PYRAMID)), free(features_of(PYRAMID)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"feature_info": []}, "got 0 levels, 5 classes, width None"),
        ({"classes": 1}, "got 3 levels, 1 classes"),
        ({"width": 0}, "width 0"),
        ({"levels": "last"}, "levels must be 'all' or 'deepest', not 'last'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        DegradationClassifier(**{"feature_info": PYRAMID, "classes": 5, **arguments})


@pytest.mark.parametrize("number", [2, 4])
def test_wrong_number_of_levels_is_an_error(number):
    with pytest.raises(ValueError, match="zip"):
        classifier(PYRAMID)((features_of(PYRAMID) * 2)[:number])
