"""Optimisers, and learning rates over time."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import basicsr.models.lr_scheduler as engine_schedulers
import torch
from torch.optim import lr_scheduler as torch_schedulers

from dcpt_common import nearest

# Optimisers with a fused form on CPUs and on GPUs, in all versions of PyTorch that are supported.
FUSED = ("Adam", "AdamW", "SGD")
# Arguments of optimisers that decide how they compute, not what.
IMPLEMENTATION = ("fused", "foreach", "capturable")
# Names that option files of BasicSR and of NAFNet use for what PyTorch or the engine call otherwise.
SCHEDULER_ALIASES = {"MultiStepLR": "MultiStepRestartLR", "TrueCosineAnnealingLR": "CosineAnnealingLR"}

# Schedulers made of functions or of other schedulers, which no option file can give.
OF_FUNCTIONS = ("LambdaLR", "MultiplicativeLR", "SequentialLR")


def optimizer_class(name: str) -> type[torch.optim.Optimizer]:
    """An optimiser of torch.optim by name.

    Raises:
        ValueError: If there is none; the message has the nearest name.
    """
    known = {n: c for n, c in vars(torch.optim).items() if isinstance(c, type) and issubclass(c, torch.optim.Optimizer)}
    if name not in known:
        raise ValueError(f"no optimiser '{name}'{nearest(name, known)}")
    return known[name]


def scheduler_class(name: str) -> type:
    """A scheduler of the engine or of torch.optim.lr_scheduler by name.

    Raises:
        ValueError: If there is none; the message has the nearest name.
    """
    known = {
        n: c
        for module in (torch_schedulers, engine_schedulers)
        for n, c in vars(module).items()
        if n.endswith("LR") and n not in OF_FUNCTIONS and isinstance(c, type)
    }
    wanted = SCHEDULER_ALIASES.get(name, name)
    if wanted not in known:
        raise ValueError(f"no scheduler '{name}'{nearest(name, [*known, *SCHEDULER_ALIASES])}")
    return known[wanted]


def build_optimizer(parameters: Iterable[torch.nn.Parameter], opt: dict[str, Any]) -> torch.optim.Optimizer:
    """Build `torch.optim.<type>` from an `optim_*` section, fused if it can be and the section chooses nothing else."""
    arguments = dict(opt)
    name = arguments.pop("type")
    if name in FUSED and not {"fused", "foreach", "capturable", "differentiable"} & set(arguments):
        arguments["fused"] = True
    return optimizer_class(name)(list(parameters), **arguments)


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Go on from an optimiser's saved state; how it is computed, and the layout in memory, are those of now."""
    groups = [
        {**saved, **{key: now[key] for key in IMPLEMENTATION if key in now}}
        for saved, now in zip(state["param_groups"], optimizer.param_groups, strict=True)
    ]
    optimizer.load_state_dict({**state, "param_groups": groups})
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            # A fused optimiser reads all tensors of a parameter in one order, and so would mix up their entries.
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


class LearningRates:
    """A scheduler for each optimiser, and a linear warm-up on top that leaves the scheduler's own course alone.

    Args:
        optimizers: What is scheduled.
        opt: The `scheduler` section; None for constant rates.
        warmup_iter: Iterations over which the rates rise linearly from 0 to the scheduled values; below 1 for none.

    Attributes:
        scheduled: The rates of the scheduler's own course, without the warm-up, as `current` gives those in force.
    """

    def __init__(self, optimizers: list[torch.optim.Optimizer], opt: dict[str, Any] | None, warmup_iter: int) -> None:
        self.optimizers, self.warmup_iter = optimizers, warmup_iter
        arguments = dict(opt or {"type": "ConstantLR", "factor": 1.0})
        kind = scheduler_class(arguments.pop("type"))
        self.schedulers = [kind(optimizer, **arguments) for optimizer in optimizers]
        self.scheduled = self.current()

    def current(self) -> list[list[float]]:
        """The rates now in force: one list an optimiser, one number a parameter group."""
        return [[group["lr"] for group in optimizer.param_groups] for optimizer in self.optimizers]

    def _set(self, rates: list[list[float]], factor: float) -> None:
        for optimizer, values in zip(self.optimizers, rates, strict=True):
            for group, value in zip(optimizer.param_groups, values, strict=True):
                group["lr"] = value * factor

    def update(self, iteration: int) -> None:
        """Set the rates of an iteration; to be called before it, iterations counting from 1."""
        if iteration > 1:
            # Schedulers read their last rate back from the optimiser, where warm-up has changed it.
            self._set(self.scheduled, 1.0)
            with warnings.catch_warnings():
                # In a resumed run the optimiser's steps were made by another process, which PyTorch cannot know.
                warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
                for scheduler in self.schedulers:
                    scheduler.step()
            self.scheduled = self.current()
        if iteration < self.warmup_iter:
            self._set(self.scheduled, iteration / self.warmup_iter)

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to continue exactly."""
        return {"schedulers": [s.state_dict() for s in self.schedulers], "scheduled": self.scheduled}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`; the optimisers' own states are loaded elsewhere."""
        for scheduler, saved in zip(self.schedulers, state["schedulers"], strict=True):
            scheduler.load_state_dict(saved)
        self.scheduled = state["scheduled"]
