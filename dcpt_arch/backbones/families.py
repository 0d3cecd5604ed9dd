"""How a backbone's published checkpoints are recognised and read: a `Family`, registered in the backbone's file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from dcpt_arch.backbones.base import SETTING, RestorationBackbone

StateDict = dict[str, torch.Tensor]


def unchanged(network: RestorationBackbone) -> StateDict:
    """The state dict as it is, of a network with no setting that the original project lacks."""
    state = dict(network.state_dict())
    settings = [name.removeprefix(SETTING) for name in state if name.startswith(SETTING)]
    if settings:
        raise ValueError(f"the original has other values of {' and '.join(settings)}")
    return state


@dataclass(frozen=True)
class Family:
    """One family of networks.

    Attributes:
        network: Our class.
        recognises: Whether a state dict, in any published layout, belongs to this family.
        convert: Any published layout -> our layout, with the settings that the layout implies; ours stays as it is.
        arguments: The arguments of our constructor, from names and shapes in our layout.
        to_published: A network of ours -> a state dict that the original project's network loads strictly. Raises
            ValueError if the original project has no such network.
    """

    network: type[RestorationBackbone]
    recognises: Callable[[Mapping[str, torch.Tensor]], bool]
    convert: Callable[[StateDict], StateDict]
    arguments: Callable[[StateDict], dict[str, Any]]
    to_published: Callable[[RestorationBackbone], StateDict] = unchanged


FAMILIES: list[Family] = []


def register_family(family: Family) -> None:
    """Make the checkpoints of a family known to `load_network`, `dcpt restore` and all that read checkpoints."""
    FAMILIES.append(family)


def count(state: Mapping[str, torch.Tensor], prefix: str) -> int:
    """How many numbered children stand directly below `prefix`."""
    return len({name[len(prefix) :].split(".")[0] for name in state if name.startswith(prefix)})


def settings_of(state: StateDict) -> dict[str, Any]:
    """The arguments that a network keeps beside its weights (`RestorationBackbone.keep_setting`)."""
    return {name.removeprefix(SETTING): value.tolist() for name, value in state.items() if name.startswith(SETTING)}


def hidden_factor(pairs: Iterable[tuple[int, int]], published: float) -> float:
    """The published factor if it turns each channel number into its hidden one; otherwise the least that does."""
    shapes = set(pairs)
    # Hidden channels are rounded down: the block that lost least decides, and its quotient must not round below itself.
    least = max((hidden / channels for channels, hidden in shapes), default=published)
    candidates = (published, least, math.nextafter(least, math.inf))
    return next((f for f in candidates if all(int(c * f) == hidden for c, hidden in shapes)), published)
