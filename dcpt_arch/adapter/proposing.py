"""Proposes the feature levels and the head of a measured network, and lists what could be named in their place."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from dcpt_arch.adapter.layouts import Layout
from dcpt_arch.adapter.measuring import CHANNELS, Measured
from dcpt_common import nearest

# Levels of a network whose blocks all have one resolution.
EVENLY = 3
# A module with a greater share of the parameters is looked into: it is no block, but a wrapper of blocks.
WRAPPER = 0.6
LISTED = 24  # lines of candidates in a message


@dataclass(frozen=True)
class Unit:
    """A block: a module that runs once, gives a map, and is no mere container of others.

    Attributes:
        name: Its name in the network.
        layout: Of what it gives.
        end: When its call ended.
        parameters: How many it has.
        kind: Its class.
    """

    name: str
    layout: Layout
    end: int
    parameters: int
    kind: type[nn.Module]


def units_of(measured: Measured) -> list[Unit]:
    """The blocks of a network in the order in which they end."""
    calls, total = measured.calls, sum(p.numel() for p in measured.network.parameters())
    found: list[Unit] = []

    def visit(module: nn.Module, name: str) -> None:
        layout = measured.layouts.get(name)
        parameters = sum(p.numel() for p in module.parameters())
        inner = list(module.named_children())
        wrapper = not name or isinstance(module, nn.Sequential) or layout is None or parameters > WRAPPER * total
        if layout is not None and not (inner and wrapper):
            found.append(Unit(name, layout, calls[name].end, parameters, type(module)))
            return
        for key, child in inner:
            visit(child, f"{name}.{key}" if name else key)

    visit(measured.network, "")
    return sorted(found, key=lambda unit: unit.end)


def propose_levels(measured: Measured) -> list[str]:
    """Names of the modules whose outputs are the levels.

    A network that goes down to lower resolutions and up again: for each resolution on the way up, except the lowest,
    the last block at it (a module of a class that is not PyTorch's, if there is one). Any other: evenly through the
    depth of the blocks of one class that hold most parameters.

    Raises:
        ValueError: If there are no blocks before the last one.
    """
    if not any(call.trained for call in measured.calls.values()):
        raise ValueError(
            f"nothing in {type(measured.network).__name__} is trained: its parameters are frozen (requires_grad is "
            "False), or it runs without gradients; pre-training needs some that learn"
        )
    units = _before_the_image(units_of(measured), measured)
    weighty = [unit for unit in units if unit.parameters]
    if not weighty:
        raise ValueError(
            f"no blocks are found in {type(measured.network).__name__} that give maps before the image does; give "
            f"`features` names of modules{listed(measured)}"
        )
    lowest = max(unit.layout.stride for unit in weighty)
    bottom = [unit.end for unit in weighty if unit.layout.stride == lowest]
    down = {unit.layout.stride for unit in weighty if unit.end < bottom[0]}
    up = [unit for unit in units if unit.end > bottom[-1] and unit.layout.stride in down]
    if up:
        # Among blocks that somebody has written, single convolutions are what leads up to the next resolution.
        written = [unit for unit in up if not unit.kind.__module__.startswith("torch.nn.")]
        last = {unit.layout.stride: unit.name for unit in (*up, *written)}
        return [last[stride] for stride in sorted(last)]
    held: dict[type[nn.Module], int] = {}
    for unit in weighty:
        held[unit.kind] = held.get(unit.kind, 0) + unit.parameters
    most = max(held, key=lambda kind: held[kind])
    blocks = [unit for unit in weighty if unit.kind is most]
    count = min(EVENLY, len(blocks))
    return [blocks[round((i + 1) * len(blocks) / count) - 1].name for i in reversed(range(count))]


def _before_the_image(units: list[Unit], measured: Measured) -> list[Unit]:
    """Without the last block, and without those at the end that give images or have no parameters."""
    calls = measured.calls
    units = [unit for unit in units if calls[unit.name].trained][:-1]
    while units and (units[-1].layout.channels == CHANNELS or not units[-1].parameters):
        units.pop()
    return units


def propose_head(measured: Measured, levels: Iterable[str]) -> list[str]:
    """Names of the outermost modules with parameters that begin after the last level is there.

    Raises:
        ValueError: If there are none.
    """
    head = _behind(measured, max(measured.calls[name].end for name in levels))
    if not head:
        raise ValueError(
            "nothing with parameters comes after the last of the `features`, so there is no head; name an earlier "
            f"module{listed(measured)}"
        )
    return head


def _behind(measured: Measured, end: int) -> list[str]:
    """The outermost modules with parameters that begin after a moment of the pass."""
    found: list[str] = []
    for name, module in measured.network.named_modules():
        calls = measured.passes[0].calls.get(name)
        later = bool(calls) and all(call.begin > end for call in calls or ())
        if later and any(True for _ in module.parameters()) and not any(name.startswith(f"{each}.") for each in found):
            found.append(name)
    return found


def check_levels(measured: Measured, names: list[str]) -> None:
    """Refuse names of modules that cannot be feature levels.

    Raises:
        ValueError: With the reason, and the candidates.
    """
    modules = dict(measured.network.named_modules(remove_duplicate=False))
    if not names:
        raise ValueError(f"`features` names no module{listed(measured)}")
    if len(set(names)) < len(names):
        raise ValueError(f"`features` names a module twice: {names}")
    calls = measured.passes[0].calls
    for name in names:
        if name not in modules or not name:
            raise ValueError(f"features: no module '{name}'{nearest(name, filter(None, modules))}{listed(measured)}")
        if len(calls.get(name, [])) != 1:
            raise ValueError(f"features: '{name}' {_how_it_runs(measured, name)}{listed(measured)}")
        call = calls[name][0]
        if call.shape is None:
            raise ValueError(f"features: '{name}' gives a {call.kind}, no tensor{listed(measured)}")
        if name not in measured.layouts:
            raise ValueError(
                f"features: '{name}' gives {' x '.join(map(str, call.shape))} for an image of "
                f"{measured.passes[0].size[1]}x{measured.passes[0].size[0]}, no map of it{listed(measured)}"
            )
        if not call.trained:
            raise ValueError(
                f"features: no trained parameter stands before '{name}' (they are frozen, or it runs without "
                f"gradients), so pre-training would teach it nothing{listed(measured)}"
            )


def _how_it_runs(measured: Measured, name: str) -> str:
    modules = dict(measured.network.named_modules(remove_duplicate=False))
    calls = measured.passes[0].calls
    first = next((key for key, module in measured.network.named_modules() if module is modules[name]), name)
    if first != name:
        return f"is the same module as '{first}'; if it runs once, name it so"
    if calls.get(name):
        return f"runs {len(calls[name])} times in a pass (it is shared, or recurrent), so it gives no single level"
    return "is not used: nothing calls it in a pass"


def check_head(measured: Measured, levels: Iterable[str], head: list[str]) -> None:
    """Refuse names that are no head: unknown ones, and modules that the features are computed by.

    Raises:
        ValueError: With the reason, and the candidates.
    """
    modules = dict(measured.network.named_modules())
    end = max(measured.calls[name].end for name in levels)
    candidates = f"; candidates: {', '.join(propose_head(measured, levels))}"
    if not head:
        raise ValueError(f"`head` names no module{candidates}")
    for name in head:
        if name not in modules or not name:
            raise ValueError(f"head: no module '{name}'{nearest(name, filter(None, modules))}{candidates}")
        inside = [key for key in modules if key == name or key.startswith(f"{name}.")]
        early = [key for key in inside for call in measured.passes[0].calls.get(key, []) if call.begin < end]
        if early:
            raise ValueError(
                f"head: '{early[0]}' runs before the last level is there, so it is of the encoder{candidates}"
            )


def listed(measured: Measured) -> str:
    """The candidates for levels, as the end of a message."""
    lines: list[tuple[list[str], str]] = []
    for unit in units_of(measured):
        if not measured.calls[unit.name].trained or not _behind(measured, unit.end):
            continue
        what = f"{unit.layout.channels} channels, stride {unit.layout.stride}"
        alike = lines and lines[-1][1] == what and _stem(lines[-1][0][-1]) == _stem(unit.name)
        if alike:
            lines[-1][0].append(unit.name)
        else:
            lines.append(([unit.name], what))
    shown = [f"{names[0]}{f' to {names[-1]}' if len(names) > 1 else ''} ({what})" for names, what in lines[:LISTED]]
    more = f" and {len(lines) - LISTED} more" if len(lines) > LISTED else ""
    return f"; candidates: {', '.join(shown)}{more}" if shown else ""


def _stem(name: str) -> str:
    """A name without its last number."""
    return re.sub(r"\d+(?=\D*$)", "#", name)
