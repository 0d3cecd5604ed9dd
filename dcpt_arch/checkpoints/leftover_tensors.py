"""Tensors that profilers and weight averaging leave in a state dict, and that no network has; removed on loading."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

import torch

from dcpt_arch.backbones.base import SETTING

# Of thop and of torchvision's profilers, beside every module's weights.
OF_MODULES = ("total_ops", "total_params")
# Of torch's AveragedModel, mmengine's and mmagic's averages, ema-pytorch; outside of every module.
OF_AVERAGES = ("n_averaged", "steps", "step", "initted", "num_updates", "step_counter")


def without_leftovers(state: Mapping[str, torch.Tensor], file: str = "") -> dict[str, torch.Tensor]:
    """A state dict without what tools have left in it; a log line says what that was.

    Args:
        state: The state dict, its wrappers' prefixes included.
        file: Where it is from, for the log.
    """
    leftovers = [name for name, value in state.items() if value.numel() == 1 and _is_leftover(name)]
    return _without(state, leftovers, file)


def without_counters(
    state: Mapping[str, torch.Tensor], unexpected: Iterable[str], file: str = ""
) -> dict[str, torch.Tensor]:
    """A state dict without single whole numbers that its network does not have: such are counts, never weights.

    Args:
        state: The state dict.
        unexpected: The names in it that the network does not have.
        file: Where it is from, for the log.
    """
    return _without(
        state, [name for name in unexpected if is_counter(state[name]) and not name.startswith(SETTING)], file
    )


def is_counter(value: torch.Tensor) -> bool:
    """Whether a tensor is a single whole number or a yes or no."""
    return value.dim() == 0 and not value.is_floating_point() and not value.is_complex()


def _is_leftover(name: str) -> bool:
    return name.rpartition(".")[2] in OF_MODULES or name in OF_AVERAGES


def _without(state: Mapping[str, torch.Tensor], leftovers: list[str], file: str) -> dict[str, torch.Tensor]:
    if leftovers:
        shown = ", ".join(leftovers[:3]) + (", ..." if len(leftovers) > 3 else "")
        where = f"{file}: " if file else ""
        logging.getLogger("basicsr").info(f"{where}left out {len(leftovers)} numbers that are no weights: {shown}")
    return {name: value for name, value in state.items() if name not in set(leftovers)}
