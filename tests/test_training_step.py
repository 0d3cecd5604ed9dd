"""Which parameters an iteration of each method changes, how many updates it makes, and what its losses are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from basicsr.models import build_model
from small_runs import NAMES, completed, dcpt_options, restoration_options, write

import dcpt_arch  # noqa: F401 - registers networks
from dcpt_data import build_val_loaders
from dcpt_models.base_model import DegradationModel
from dcpt_models.ema import MovingAverage


def make_model(options: dict[str, Any], tmp_path: Path) -> DegradationModel:
    model: DegradationModel = build_model(completed(write(options, tmp_path)))
    with torch.no_grad():  # beta and gamma start at zero, which holds the gradient back from what is behind them
        for name, parameter in model.networks["g"].named_parameters():
            if name.endswith(("beta", "gamma")):
                parameter.normal_(generator=torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(0)
    model.feed_data(
        {
            "lq": torch.rand(5, 3, 24, 24, generator=generator),
            "gt": torch.rand(5, 3, 24, 24, generator=generator),
            "degradation": list(NAMES),
        }
    )
    return model


def snapshot(model: DegradationModel) -> dict[str, torch.Tensor]:
    return {
        f"{label}.{name}": parameter.detach().clone()
        for label, network in model.networks.items()
        for name, parameter in network.named_parameters()
    }


def changed(before: dict[str, torch.Tensor], model: DegradationModel) -> set[str]:
    return {name for name, value in snapshot(model).items() if not torch.equal(value, before[name])}


class Updates:
    """Records which parameters each optimiser step of an iteration changes."""

    def __init__(self, model: DegradationModel) -> None:
        self.model, self.each = model, []
        self.before = snapshot(model)
        last = model.optimizers[-1]
        original = last.step

        def step(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            self.each.append(changed(self.before, model))
            self.before = snapshot(model)
            return result

        last.step = step  # type: ignore[method-assign]


@pytest.fixture
def options(photographs: Path, tmp_path: Path) -> dict[str, Any]:
    return dcpt_options(photographs, tmp_path / "run")


def parts(model: DegradationModel) -> tuple[set[str], set[str], set[str]]:
    names = set(snapshot(model))
    head = {name for name in names if name.startswith("g.ending")}
    classifier = {name for name in names if name.startswith("dc.")}
    return names - head - classifier, head, classifier


def test_alternate_makes_two_updates_generation_then_classification(options: dict[str, Any], tmp_path: Path) -> None:
    model = make_model(options, tmp_path)
    encoder, head, classifier = parts(model)
    updates = Updates(model)
    model.optimize_parameters(1)
    assert updates.each == [encoder | head, encoder | classifier]


def test_joint_makes_one_update_of_everything(options: dict[str, Any], tmp_path: Path) -> None:
    options["train"]["schedule"] = "joint"
    model = make_model(options, tmp_path)
    encoder, head, classifier = parts(model)
    updates = Updates(model)
    model.optimize_parameters(1)
    assert updates.each == [encoder | head | classifier]


def test_restoration_makes_one_update_of_the_network(photographs: Path, tmp_path: Path) -> None:
    model = make_model(restoration_options(photographs, tmp_path / "run"), tmp_path)
    updates = Updates(model)
    model.optimize_parameters(1)
    assert updates.each == [set(snapshot(model))]


def test_l_pix_of_the_generation_stage_is_between_clean_images(options: dict[str, Any], tmp_path: Path) -> None:
    model = make_model(options, tmp_path)
    steps = model.loss_steps()
    losses = next(steps)
    expected = (model.networks["g"](model.gt) - model.gt).abs().mean()
    assert set(losses) == {"l_pix"}
    torch.testing.assert_close(losses["l_pix"], expected)


def test_l_cls_is_the_focal_loss_of_the_features_of_the_degraded_image(options: dict[str, Any], tmp_path: Path) -> None:
    model = make_model(options, tmp_path)
    _, classification = model.loss_steps()
    logits = model.networks["dc"](model.networks["g"](model.lq, features="only"))
    p = logits.softmax(1)[torch.arange(5), torch.arange(5)]
    assert set(classification) == {"l_cls"}
    torch.testing.assert_close(classification["l_cls"], ((1 - p) ** 2 * -p.log()).mean())


def test_restoration_loss_is_between_the_restored_and_the_clean_image(photographs: Path, tmp_path: Path) -> None:
    model = make_model(restoration_options(photographs, tmp_path / "run"), tmp_path)
    (losses,) = model.loss_steps()
    torch.testing.assert_close(losses["l_pix"], (model.networks["g"](model.lq) - model.gt).abs().mean())


def test_lambda_is_the_loss_weight_of_the_classification_loss(options: dict[str, Any], tmp_path: Path) -> None:
    options["train"]["cls_opt"] = {"type": "FocalLoss", "loss_weight": 3.0}
    model = make_model(options, tmp_path)
    _, weighted = model.loss_steps()
    model.cri_cls.loss_weight = 1.0
    _, plain = model.loss_steps()
    torch.testing.assert_close(weighted["l_cls"], 3 * plain["l_cls"])


def test_labels_are_names_whatever_their_order(options: dict[str, Any], tmp_path: Path) -> None:
    options["degradations"] = list(reversed(NAMES))
    model = make_model(options, tmp_path)
    assert model.class_indices().tolist() == [4, 3, 2, 1, 0]


def test_a_degradation_that_is_not_listed_is_named(options: dict[str, Any], tmp_path: Path) -> None:
    options["degradations"] = NAMES[:4]
    with pytest.raises(ValueError, match="low_light"):
        make_model(options, tmp_path).class_indices()


def test_clipping_bounds_the_gradient_of_each_network(options: dict[str, Any], tmp_path: Path) -> None:
    options["train"].update(grad_clip=1e-3, schedule="joint")
    model = make_model(options, tmp_path)
    model.optimize_parameters(1)
    for network in model.networks.values():
        norm = torch.stack([p.grad.norm() for p in network.parameters() if p.grad is not None]).norm()
        assert norm <= 1e-3 * 1.001


def test_the_moving_average_follows_parameters_and_is_what_is_validated(photographs: Path, tmp_path: Path) -> None:
    model = make_model(restoration_options(photographs, tmp_path / "run"), tmp_path)
    network, average = model.networks["g"], model.averages["g"].network
    before = [p.clone() for p in average.parameters()]
    model.optimize_parameters(1)
    for old, mean, now in zip(before, average.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(mean, 0.9 * old + 0.1 * now)
    assert model.evaluated("g") is average


def test_the_moving_average_copies_buffers() -> None:
    network = torch.nn.BatchNorm1d(3)
    average = MovingAverage(network, 0.9)
    network(torch.randn(8, 3))
    average.update()
    assert torch.equal(average.network.running_mean, network.running_mean)
    assert average.network.num_batches_tracked == 1


def test_validation_leaves_the_networks_as_they_were(options: dict[str, Any], tmp_path: Path) -> None:
    model = make_model(options, tmp_path)
    before = snapshot(model)
    results = model.validate(build_val_loaders(model.opt["datasets"]), 1)
    assert 0 <= results["average"]["accuracy"] <= 1
    assert not changed(before, model)
    assert not any(p.grad is not None for network in model.networks.values() for p in network.parameters())
    assert all(network.training for network in model.networks.values())
