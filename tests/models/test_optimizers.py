"""Learning rates over time: each scheduler's own course, and a warm-up that changes nothing else; also resumed."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dcpt_models.optim.optimizers import LearningRates, build_optimizer, scheduler_class

RATE, WARMUP = 0.1, 6
SCHEDULERS: list[dict[str, Any]] = [
    {"type": "MultiStepLR", "milestones": [4, 8], "gamma": 0.5},  # BasicSR's name; within the warm-up and after it
    {"type": "MultiStepRestartLR", "milestones": [4, 8], "gamma": 0.5},
    {"type": "CosineAnnealingLR", "T_max": 20, "eta_min": 1e-3},
    {"type": "TrueCosineAnnealingLR", "T_max": 20, "eta_min": 1e-3},  # NAFNet's name
    {"type": "CosineAnnealingRestartLR", "periods": [10, 10], "restart_weights": [1, 0.5], "eta_min": 1e-3},
    {"type": "StepLR", "step_size": 5},
    {"type": "ExponentialLR", "gamma": 0.9},
    {"type": "PolynomialLR", "total_iters": 20},
    {"type": "LinearLR", "total_iters": 20},
]


def optimizer() -> torch.optim.Optimizer:
    return build_optimizer([torch.nn.Parameter(torch.ones(1))], {"type": "SGD", "lr": RATE})


def course(rates: LearningRates, first: int = 1, last: int = 20) -> list[float]:
    """The rate of each iteration."""
    values = []
    for iteration in range(first, last + 1):
        rates.update(iteration)
        values.append(rates.current()[0][0])
    return values


def test_without_a_scheduler_rates_are_constant() -> None:
    assert course(LearningRates([optimizer()], None, -1)) == [RATE] * 20


def test_multi_step_rates_fall_at_their_milestones_and_rise_to_their_full_value_before() -> None:
    section = {"type": "MultiStepLR", "milestones": [8, 12], "gamma": 0.5}
    found = course(LearningRates([optimizer()], section, 4))
    # The engine would stay at three quarters of the rate after its warm-up.
    rising = [RATE / 4, RATE / 2, RATE * 3 / 4]
    assert found == pytest.approx([*rising, *[RATE] * 5, *[RATE / 2] * 4, *[RATE / 4] * 8])


@pytest.mark.parametrize("section", SCHEDULERS, ids=lambda section: section["type"])
def test_the_warm_up_scales_a_course_that_goes_on_as_without(section: dict[str, Any]) -> None:
    plain = optimizer()
    scheduler = scheduler_class(section["type"])(plain, **{k: v for k, v in section.items() if k != "type"})
    expected = []
    for iteration in range(1, 21):
        expected.append(plain.param_groups[0]["lr"] * min(1, iteration / WARMUP))
        plain.step()
        scheduler.step()
    assert course(LearningRates([optimizer()], section, WARMUP)) == pytest.approx(expected)
    assert len({round(rate, 9) for rate in expected[WARMUP:]}) > 1


@pytest.mark.parametrize("done", [1, 3, 6, 9])
@pytest.mark.parametrize("section", SCHEDULERS, ids=lambda section: section["type"])
def test_a_resumed_course_is_the_same_to_the_bit(section: dict[str, Any], done: int) -> None:
    whole = course(LearningRates([optimizer()], section, WARMUP))
    first = optimizer()
    rates = LearningRates([first], section, WARMUP)
    course(rates, last=done)
    second = optimizer()
    resumed = LearningRates([second], section, WARMUP)
    second.load_state_dict(first.state_dict())
    resumed.load_state_dict(rates.state_dict())
    assert course(resumed, done + 1) == whole[done:]


def test_a_scheduler_that_no_option_file_can_describe_is_not_known() -> None:
    for name in ("LambdaLR", "MultiplicativeLR", "SequentialLR"):
        with pytest.raises(ValueError, match=f"no scheduler '{name}'"):
            scheduler_class(name)
