"""What is done to a network to make it a backbone: found by measuring it, or read from a checkpoint's note."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from dcpt_arch.adapter.layouts import Layout
from dcpt_arch.adapter.measuring import Measured, check_multiple, find_multiple, measure, needs_contiguous
from dcpt_arch.adapter.proposing import check_head, check_levels, propose_head, propose_levels


@dataclass(frozen=True)
class Request:
    """What the user says; see `AnyBackbone`. What is left open is None or "auto"."""

    features: Literal["auto"] | list[str] = "auto"
    head: Literal["auto"] | list[str] = "auto"
    size_multiple: int | None = None
    square: bool | None = None
    output: int | str | None = None


@dataclass(frozen=True)
class Plan:
    """The request with everything found, and what else is known of the network.

    Attributes:
        features: Names of the modules that give the levels, the highest resolution first.
        head: Names of the modules that make the image.
        size_multiple: Sides of images are padded to multiples of it.
        square: Whether images are padded to squares.
        output: Which item of the network's output is the image; None if it gives the image alone.
        layouts: Of the levels.
        contiguous: Whether the network fails where channels lie last in memory.
        unused: Names of parameters without a part in the image.
    """

    features: list[str]
    head: list[str]
    size_multiple: int
    square: bool
    output: int | str | None
    layouts: list[Layout]
    contiguous: bool
    unused: list[str]

    def settings(self) -> dict[str, Any]:
        """The request that leads to this plan, with nothing left open."""
        optional = {"square": self.square or None, "output": self.output}
        return {
            "features": list(self.features),
            "head": list(self.head),
            "size_multiple": self.size_multiple,
            **{key: value for key, value in optional.items() if value is not None},
        }

    def note(self) -> dict[str, Any]:
        """The plan as plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_note(cls, note: Mapping[str, Any]) -> Plan:
        """The plan of a note.

        Raises:
            ValueError: If the note is not of this kind.
        """
        try:
            return cls(**{**note, "layouts": [Layout(**layout) for layout in note["layouts"]]})
        except (KeyError, TypeError) as error:
            raise ValueError(f"its note on the network is not complete ({error}); it is of another version") from error


# A network is built several times in a process: for the check of options, for training, as its moving average.
_made: dict[str, Plan] = {}


def plan_for(network: nn.Module, request: Request, section: Mapping[str, Any] | None = None) -> Plan:
    """Measure a network and find what the request leaves open.

    Args:
        network: The network; it is not changed.
        request: What is known.
        section: What the network was built by; one that was measured in this process is not measured again.

    Raises:
        ValueError: If something of the request is wrong, or cannot be found; with the reason and the candidates.
    """
    if section is None:
        return _measured(network, request)
    key = json.dumps([section, dataclasses.asdict(request)], default=str)
    if key not in _made:
        plan = _measured(network, request)
        _made[key] = _made[json.dumps([section, {**vars(Request()), **plan.settings()}], default=str)] = plan
    return _made[key]


def _measured(network: nn.Module, request: Request) -> Plan:
    measured = measure(network, request.size_multiple, request.square, request.output)
    names = propose_levels(measured) if request.features == "auto" else list(request.features)
    check_levels(measured, names)
    # The highest resolution first; of one resolution, what is nearest to the image.
    names.sort(key=lambda name: (measured.layouts[name].stride, -measured.calls[name].end))
    head = propose_head(measured, names) if request.head == "auto" else list(request.head)
    check_head(measured, names, head)
    multiple = _multiple(measured, names, request.size_multiple)
    return Plan(
        features=names,
        head=head,
        size_multiple=multiple,
        square=measured.square,
        output=request.output,
        layouts=[measured.layouts[name] for name in names],
        contiguous=needs_contiguous(network, multiple),
        unused=measured.unused,
    )


def _multiple(measured: Measured, names: list[str], given: int | None) -> int:
    levels = {name: measured.layouts[name] for name in names}
    if given is None:
        return find_multiple(measured, levels)
    check_multiple(measured, levels, given)
    return given
