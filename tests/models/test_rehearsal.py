"""Optimisers and schedules that would fail in the middle of a run are found before it starts."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
import torch

from dcpt_models.optim.optimizers import LearningRates
from dcpt_models.options.rehearsal import rehearse, rehearse_saved

ADAMW = {"type": "AdamW", "lr": 1e-3}
RESTARTS = {"type": "CosineAnnealingRestartLR"}
LONG = 750_000


def problems(scheduler: dict[str, Any] | None, total: int = LONG, optimizer: dict[str, Any] = ADAMW) -> list[str]:
    found = rehearse({"total_iter": total, "optim_g": optimizer, "optim_dc": ADAMW, "scheduler": scheduler})
    return [f"{':'.join(one.path)}: {one.message}" for one in found]


@pytest.mark.parametrize(
    "scheduler",
    [
        None,
        {"type": "MultiStepLR", "milestones": [100_000, 200_000], "gamma": 0.5},
        {"type": "CosineAnnealingRestartLR", "periods": [250_000, 500_000], "restart_weights": [1, 0.5]},
        {"type": "TrueCosineAnnealingLR", "T_max": LONG, "eta_min": 1e-7},
        {"type": "CosineAnnealingLR", "T_max": 1000},
        {"type": "OneCycleLR", "max_lr": 1e-3, "total_steps": LONG},
        {"type": "CyclicLR", "base_lr": 1e-4, "max_lr": 1e-3},
        {"type": "PolynomialLR", "total_iters": 100},
        {"type": "ExponentialLR", "gamma": 0.999},
    ],
    ids=str,
)
def test_a_sound_schedule_of_any_length_is_walked_in_no_time(scheduler: dict[str, Any] | None) -> None:
    state, began = torch.get_rng_state(), time.process_time()
    assert problems(scheduler) == []
    assert time.process_time() - began < 0.5
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("scheduler", "total", "message"),
    [
        (
            {"type": "CosineAnnealingRestartLR", "periods": [600, 400], "restart_weights": [1, 1]},
            1002,
            "in iteration 1002",
        ),
        (
            {"type": "CosineAnnealingRestartLR", "periods": [LONG - 1], "restart_weights": [1]},
            LONG + 1,
            "sum of `periods`",
        ),
        (
            {"type": "OneCycleLR", "max_lr": 1e-3, "total_steps": LONG - 2},
            LONG,
            "`total_steps` .* must be train:total_iter",
        ),
        ({"type": "OneCycleLR", "max_lr": 1e-3}, 10, "You must define .*; fix its arguments"),
        ({"type": "ExponentialLR", "gamma": 2.0}, LONG, "ExponentialLR fails in iteration"),
        ({"type": "ExponentialLR", "gamma": -1.0}, LONG, "gives a learning rate of -0.001 in iteration 2"),
        ({"type": "ConstantLR", "factor": 0.0, "total_iters": LONG}, LONG, "learning rate of 0 all the time"),
    ],
)
def test_a_schedule_that_would_fail_is_named_with_what_is_right(
    scheduler: dict[str, Any], total: int, message: str
) -> None:
    (found,) = problems(scheduler, total)
    assert found.startswith("train:scheduler: ")
    assert re.search(message, found)


@pytest.mark.parametrize(
    "optimizer",
    [
        {"type": "LBFGS"},
        {"type": "SparseAdam"},
        {"type": "AdamW", "lr": 1e-3, "betas": [0.9, 1.5]},
        {"type": "SGD", "lr": 0.1, "nesterov": True},
    ],
    ids=str,
)
def test_an_optimiser_that_makes_no_update_is_named(optimizer: dict[str, Any]) -> None:
    (found,) = problems(None, optimizer=optimizer)
    assert found.startswith(f"train:optim_g: {optimizer['type']} cannot work like this (")


def test_a_saved_schedule_is_walked_whatever_else_the_options_name() -> None:
    section = {**RESTARTS, "periods": [5], "restart_weights": [1]}
    rates = LearningRates([torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)], section, -1)
    for iteration in range(1, 4):
        rates.update(iteration)
    # `optim_dc` may stand there for a network that this run does not have.
    train = {"optim_g": ADAMW, "optim_dc": ADAMW, "scheduler": {**section, "periods": [LONG]}}
    assert rehearse_saved({**train, "total_iter": 6}, rates.state_dict(), 3) == []
    (problem,) = rehearse_saved({**train, "total_iter": LONG}, rates.state_dict(), 3)
    assert problem.path == ("train", "total_iter") and "keeps its course" in problem.message


def test_what_asks_for_a_gpu_is_not_refused_for_there_is_none() -> None:
    assert problems(None, optimizer={"type": "Adam", "lr": 1e-3, "capturable": True}) == []
