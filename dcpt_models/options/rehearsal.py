"""Tries optimisers and learning-rate schedules on small weights before a run, so that errors show at the start.

The check of option files uses it. It costs some hundredths of a second, and draws no random numbers.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from dcpt_models.optim.optimizers import LearningRates, build_optimizer, optimizer_class, scheduler_class
from dcpt_models.options.check import Declaration, Problem, declared_by

# Iterations that are walked one by one, at the start of a run and at its end; between them as many are sampled.
WALKED = 500

# What would be right, where a schedule ends before the run does.
UNTIL_THE_END = {
    "CosineAnnealingRestartLR": "the sum of `periods` must be train:total_iter or more",
    "OneCycleLR": "`total_steps` (or `epochs` x `steps_per_epoch`) must be train:total_iter or more",
}


def rehearse(train: dict[str, Any]) -> list[Problem]:
    """Find what will not work in the optimisers and the schedule of a `train` section whose keys and types are right.

    Args:
        train: The section.

    Returns:
        What fails, each under the key that is to be changed.
    """
    problems = []
    optimizers = []
    for key in (key for key, section in train.items() if key.startswith("optim_") and section):
        try:
            optimizers.append(_updated_once(train[key]))
        except Exception as error:  # an optimiser may refuse its arguments with whatever it likes
            name = train[key]["type"]
            problems.append(
                Problem(("train", key), _refused(name, error, declared_by(optimizer_class(name), ("params",))))
            )
    scheduler, total = train.get("scheduler"), train["total_iter"]
    if problems or not optimizers:
        return problems
    if not scheduler and not any(group["lr"] for optimizer in optimizers for group in optimizer.param_groups):
        keys = [key for key in train if key.startswith("optim_") and train[key]]
        why = f"is 0 for every network ({', '.join(keys)}), which trains nothing; set that of one above 0"
        return [Problem(("train", keys[0], "lr"), why)]
    if not scheduler:
        return []
    wrong = _walk(optimizers, scheduler, total, train.get("warmup_iter", -1))
    return [Problem(("train", "scheduler"), wrong)] if wrong else []


def rehearse_saved(train: dict[str, Any], saved: dict[str, Any], start: int) -> list[Problem]:
    """Find out whether a saved schedule, which keeps its course whatever the options say now, lasts for a longer run.

    Args:
        train: The `train` section.
        saved: The state of its `LearningRates` after `start` iterations.
        start: Iterations that are done.

    Returns:
        The problem with it, if there is one.
    """
    section, total = train.get("scheduler"), train["total_iter"]
    if not section or start >= total:
        return []
    # Of what is saved each network has its own; what kind of optimiser stands for it makes no difference to the course.
    stand_ins = [_updated_once({"type": "SGD", "lr": 1.0}) for _ in saved["schedulers"]]
    rates = LearningRates(stand_ins, section, -1)
    rates.load_state_dict(saved)
    iteration = start
    try:
        for iteration in sorted({*range(start + 1, total, max(1, (total - start) // WALKED)), total}):
            for scheduler in rates.schedulers:
                _rates_at(scheduler, iteration)
    except Exception as error:  # as in `_courses`
        why = (
            f"the schedule of the training state fails in iteration {iteration} ({_text(error)}) and keeps its course: "
            "set total_iter to what it was made for, or start a new run from the weights (path:pretrain_network_g)"
        )
        return [Problem(("train", "total_iter"), why)]
    return []


def _updated_once(section: dict[str, Any]) -> torch.optim.Optimizer:
    """An optimiser of a weight and a bias, as networks have them, after an update."""
    parameters = [nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(2))]
    # `capturable` asks for a GPU, which the weights here are not on.
    optimizer = build_optimizer(parameters, {k: v for k, v in section.items() if k != "capturable"})
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return optimizer


def _refused(name: str, error: Exception, declared: Declaration) -> str:
    arguments = sorted(declared.annotations, key=lambda key: key not in declared.required)
    return (
        f"{name} cannot work like this ({_text(error)}); fix its arguments ({', '.join(arguments)}) or choose another"
    )


def _text(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def _walk(optimizers: list[torch.optim.Optimizer], section: dict[str, Any], total: int, warmup: int) -> str | None:
    """Take the learning rates through a run; returns what is wrong with them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            rates = LearningRates(optimizers, section, warmup)
        except Exception as error:
            kind = scheduler_class(section["type"])
            return _refused(section["type"], error, declared_by(kind, ("optimizer", "last_epoch")))
        highest = 0.0
        for iteration, found in _courses(rates, section, total):
            if isinstance(found, Exception):
                return _fails(section["type"], iteration, total, found)
            for rate in found:
                if not math.isfinite(rate) or rate < 0:
                    return f"{section['type']} gives a learning rate of {rate:g} in iteration {iteration} of {total}"
                highest = max(highest, rate)
    return None if highest else f"{section['type']} gives a learning rate of 0 all the time, which trains nothing"


def _fails(name: str, iteration: int, total: int, error: Exception) -> str:
    right = UNTIL_THE_END.get(name, "its lengths, steps and milestones must suit train:total_iter")
    return f"{name} fails in iteration {iteration} of {total} ({_text(error)}); {right}"


def _courses(
    rates: LearningRates, section: dict[str, Any], total: int
) -> Iterator[tuple[int, list[float] | Exception]]:
    """The rates of iterations of a run, without warm-up: of its beginning, of samples, and of what the lists name."""
    iteration = 1
    try:
        for iteration in range(1, min(total, WALKED) + 1):
            rates.update(iteration)
            yield iteration, [rate for group in rates.scheduled for rate in group]
        for iteration in _sampled(section, total):
            yield iteration, [rate for scheduler in rates.schedulers for rate in _rates_at(scheduler, iteration)]
    except Exception as error:  # a schedule may end in whatever way: IndexError, TypeError, ZeroDivisionError
        yield iteration, error


def _sampled(section: dict[str, Any], total: int) -> list[int]:
    """Iterations after the first ones, in order: evenly spread, around each number in a list, and the last ones."""
    lists = [[n for n in value if isinstance(n, int)] for value in section.values() if isinstance(value, list)]
    named = {n + step for numbers in lists for n in (*numbers, *itertools.accumulate(numbers)) for step in (0, 1, 2)}
    spread = range(WALKED, total, max(1, total // WALKED))
    wanted = {*named, *spread, *range(total - WALKED, total + 1)}
    return sorted(n for n in wanted if WALKED < n <= total)


def _rates_at(scheduler: Any, iteration: int) -> list[float]:
    """The rates of an iteration, without those before it."""
    before = [group["lr"] for group in scheduler.optimizer.param_groups]
    for group, rate in zip(scheduler.optimizer.param_groups, scheduler.base_lrs, strict=True):
        group["lr"] = rate
    try:
        if hasattr(scheduler, "_get_closed_form_lr"):
            scheduler.last_epoch = iteration - 1
            return [float(rate) for rate in scheduler._get_closed_form_lr()]
        scheduler.last_epoch = iteration - 2
        scheduler.step()
        return [group["lr"] for group in scheduler.optimizer.param_groups]
    finally:
        for group, rate in zip(scheduler.optimizer.param_groups, before, strict=True):
            group["lr"] = rate
