"""The published forms that the benchmark compares with take our weights and give our results."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from small_networks import SMALL, build, picture

from dcpt_arch import DegradationClassifier, RestorationBackbone

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

from dcpt_tools.measuring.textbook import (
    PlainAttention,
    PlainFeedForward,
    PlainLayerNorm2d,
    PlainPrompts,
    PlainTokenNorm,
    PlainTraining,
    plain,
    published,
)

PLAIN = (PlainAttention, PlainFeedForward, PlainLayerNorm2d, PlainPrompts, PlainTokenNorm)
# GuidedNAFNet was published by nobody; the benchmark has no form of the last two (tests/figures has their outputs).
every_network = pytest.mark.parametrize("name", sorted(SMALL.keys() - {"GuidedNAFNet", "AdaIR", "XRestormer"}))


def assert_near(found: torch.Tensor, expected: torch.Tensor) -> None:
    assert (found - expected).norm() < 1e-4 * expected.norm()


@every_network
def test_the_published_form_gives_our_image(name: str) -> None:
    network = build(name)
    peer = published(network)
    assert not isinstance(peer, type(network)) or any(isinstance(module, PLAIN) for module in peer.modules())
    x = picture(32, 48)
    with torch.no_grad():
        assert_near(peer(x), network(x))


def test_plain_layers_take_the_place_of_all_of_ours() -> None:
    def count(network: torch.nn.Module, names: tuple[str, ...]) -> dict[str, int]:
        kinds = [type(module).__name__ for module in network.modules()]
        return {name: kinds.count(name) for name in names}

    ours = ("TransposedAttention", "GatedFeedForward", "PromptGenerationModule", "LayerNorm2d")
    theirs = ("PlainAttention", "PlainFeedForward", "PlainPrompts", "PlainTokenNorm")
    network = build("PromptIR")
    assert list(count(network, ours).values()) == list(count(plain(network), theirs).values())
    assert not any(count(plain(network), ours).values())


@every_network
def test_an_iteration_by_hand_is_that_of_the_model(name: str) -> None:
    network = build(name).train()
    classifier = DegradationClassifier(network.feature_info, classes=3, width=8)
    by_hand = PlainTraining(network, classifier, lr=1e-3)
    lq, gt, target = picture(32, 32), picture(32, 33)[..., :32], torch.tensor([0, 2])
    assert_near(by_hand.logits(lq), classifier(network(lq, features="only")))
    by_hand.pretrain(lq, gt, target)
    updated = update_as_the_model(network, classifier, lq, gt, target)
    for found, expected in zip(by_hand_images(by_hand, lq), updated, strict=True):
        # AdamW takes the sign of small gradients, so that rounding moves a few weights by as much as others.
        assert (found - expected).norm() < 1e-2 * expected.norm()


def by_hand_images(training: PlainTraining, lq: torch.Tensor) -> list[torch.Tensor]:
    with torch.no_grad():
        return [training.network(lq), training.logits(lq)]


def update_as_the_model(network: RestorationBackbone, classifier: Any, *batch: torch.Tensor) -> list[torch.Tensor]:
    """What both stages of an iteration leave: the image and the logits that follow."""
    lq, gt, target = batch
    optimizers = [torch.optim.AdamW(n.parameters(), lr=1e-3, weight_decay=0.0) for n in (network, classifier)]

    def update(loss: torch.Tensor) -> None:
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()

    update((network(gt) - gt).abs().mean())
    log_p = classifier(network(lq, features="only")).log_softmax(1).gather(1, target[:, None])
    update((-log_p * (1 - log_p.exp()) ** 2).mean())
    with torch.no_grad():
        return [network(lq), classifier(network(lq, features="only"))]
