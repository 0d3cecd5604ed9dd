"""What an iteration does whatever the method: labels, clipping, the moving average, validation in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_models import changed, make_model, snapshot
from small_runs import NAMES, dcpt_options, restoration_options

from dcpt_data import build_val_loaders
from dcpt_models.optim.ema import MovingAverage


@pytest.fixture
def options(photographs: Path, tmp_path: Path) -> dict[str, Any]:
    return dcpt_options(photographs, tmp_path / "run")


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
    norms: list[float] = []

    def observe(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"]]
        norms.append(torch.stack([gradient.norm() for gradient in gradients]).norm().item())

    for optimizer in model.optimizers:
        optimizer.register_step_pre_hook(observe)
    model.optimize_parameters(1)
    assert norms == pytest.approx([1e-3, 1e-3], rel=1e-3)


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
