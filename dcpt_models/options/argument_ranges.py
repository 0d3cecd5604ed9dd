"""Ranges of the arguments of PyTorch's and BasicSR's classes, which declare none; used by the check of option files."""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Annotated, Any

from dcpt_common import Blocks, Count, Natural, NotNegative, Range

# By the name of the argument, which means the same in every optimiser, scheduler, loss and metric that has it.
ARGUMENTS: dict[str, Any] = {
    "lr": NotNegative,  # 0 for a network that others train beside; see `rehearse`
    "max_lr": NotNegative | list[NotNegative],
    "base_lr": NotNegative | list[NotNegative],
    "weight_decay": NotNegative,
    "momentum": NotNegative,
    "eta_min": NotNegative,
    "loss_weight": NotNegative,
    "perceptual_weight": NotNegative,
    "style_weight": NotNegative,
    "crop_border": Natural,
    "num_block": Blocks,  # of EDSR, RRDBNet, RCAN, ...
    "num_group": Blocks,
    "num_layer": Blocks,
    "depths": list[Blocks],
    "milestones": list[Count],
    "restarts": list[Natural],
    "periods": list[Count],
    "restart_weights": list[NotNegative],
    "T_max": Count,
    "T_0": Count,
    "T_mult": Count,
    "step_size": Count,
    "total_steps": Count | None,
    "total_iters": Natural,
}


def with_range(kind: Callable[..., Any], name: str, annotation: Any) -> Any:
    """What an option file may give for an argument.

    Args:
        kind: The class or function that it is an argument of.
        name: Of the argument.
        annotation: Its declared type.

    Returns:
        The type of `ARGUMENTS` if there is one, `kind` is PyTorch's or the engine's and states no range itself; else
        the declared one.
    """
    foreign = kind.__module__.partition(".")[0] in ("torch", "basicsr")
    if not foreign or name not in ARGUMENTS or _has_range(annotation):
        return annotation
    wanted = ARGUMENTS[name]
    nullable = type(None) in typing.get_args(annotation)
    return typing.Optional[wanted] if nullable else wanted  # noqa: UP045 - `|` does not take every annotation


def _has_range(annotation: Any) -> bool:
    args = typing.get_args(annotation)
    if typing.get_origin(annotation) is Annotated:
        return any(isinstance(each, Range) for each in args[1:])
    return any(_has_range(each) for each in args)
