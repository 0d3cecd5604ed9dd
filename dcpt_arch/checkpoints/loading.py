"""Checkpoints: safe reading, finding the weights inside, and building the network they belong to.

Everything is read with weights only, so opening a file never runs code from it.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from dcpt_arch.backbones.base import SETTING, RestorationBackbone
from dcpt_arch.backbones.families import FAMILIES, Family

StateDict = dict[str, torch.Tensor]

# Where projects put the weights inside a file; the averaged ones come first because they are what was evaluated.
WEIGHT_KEYS = ("params_ema", "params", "state_dict", "model")
# What wrappers put before every key: DistributedDataParallel, torch.compile, Lightning modules.
PREFIXES = ("module.", "_orig_mod.", "net_g.", "net.", "model.")


class CheckpointError(ValueError):
    """A checkpoint that cannot be read or does not fit; the message says which and what to do."""


@dataclass(frozen=True)
class Weights:
    """A state dict and the key of the file under which it was found ("" if the file is the state dict)."""

    state: StateDict
    key: str


@dataclass(frozen=True)
class Difference:
    """How a state dict differs from a network's own: names missing, unexpected, and of another shape (or setting)."""

    missing: list[str]
    unexpected: list[str]
    reshaped: list[str]
    matching: list[str]

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.reshaped)

    def __str__(self) -> str:
        parts = []
        for title, names in (
            ("missing", self.missing),
            ("unexpected", self.unexpected),
            ("of another shape", self.reshaped),
        ):
            if names:
                shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
                parts.append(f"{len(names)} {title} ({shown})")
        return f"{len(self.matching)} tensors fit; " + ("; ".join(parts) or "nothing differs")


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a file written by `torch.save` or by safetensors without running any code in it.

    Args:
        path: The file; one of safetensors ends with `.safetensors`.

    Returns:
        What was saved, on the CPU.

    Raises:
        CheckpointError: If the file is missing, truncated, holds more than tensors and plain values, or is no mapping.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint file")
    try:
        if path.suffix == ".safetensors":
            content = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise CheckpointError(f"{path}: truncated or no safetensors file ({error}); copy or save it again") from error
    except pickle.UnpicklingError as error:
        # Of torch's many lines, which begin by recommending to run the code, the one that names what was refused.
        refused = next((f" ({line.strip()})" for line in str(error).splitlines() if "GLOBAL" in line), "")
        raise CheckpointError(f"{path}: not a file of plain weights, so it was not opened{refused}") from error
    except Exception as error:  # a damaged file can raise nearly anything: struct.error, IndexError, AssertionError
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"{path}: truncated or not a checkpoint ({first}); copy or save it again") from error
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"{path}: holds no weights, but {'an empty dict' if content == {} else type(content)}")
    return dict(content)


def find_weights(content: Mapping[str, Any], key: str | None = None) -> Weights:
    """Unwrap the state dict of a network from what a file holds.

    Args:
        content: What `read_checkpoint` returned, or a state dict.
        key: Where the weights stand ("params", "params_ema"). By default the averaged ones if there are any.

    Returns:
        The weights without the prefixes of wrappers, and the key they were found under.

    Raises:
        CheckpointError: If there are none under `key`, or none at all.
    """
    found = ""
    if key is not None:
        if not isinstance(content.get(key), Mapping):
            raise CheckpointError(f"no weights under '{key}'; the file holds: {', '.join(map(str, content))}"[:300])
        content, found = content[key], key
    else:
        for candidate in WEIGHT_KEYS:
            if isinstance(content.get(candidate), Mapping):
                content, found = content[candidate], candidate
                break
    state = {
        name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, torch.Tensor)
    }
    if not state:
        raise CheckpointError(
            f"no tensors in the checkpoint; it holds: {', '.join(map(str, content)) or 'nothing'}"[:300]
        )
    stripped = True
    while stripped:
        stripped = False
        for prefix in PREFIXES:
            if all(name.startswith(prefix) for name in state):
                state = {name[len(prefix) :]: value for name, value in state.items()}
                stripped = True
    return Weights(state, found)


def compare(network: nn.Module, state: Mapping[str, torch.Tensor]) -> Difference:
    """List how `state` differs from the state dict of `network`."""
    own = network.state_dict()
    both = [name for name in own if name in state]
    reshaped = [name for name in both if state[name].shape != own[name].shape]
    matching = [name for name in both if state[name].shape == own[name].shape]
    # Two settings of one shape are as different as two shapes.
    changed = [name for name in matching if name.startswith(SETTING) and not torch.equal(state[name], own[name])]
    return Difference(
        missing=[name for name in own if name not in state],
        unexpected=[name for name in state if name not in own],
        reshaped=[
            *(f"{name} {tuple(state[name].shape)} for {tuple(own[name].shape)}" for name in reshaped),
            *(f"{name} {state[name].tolist()} for {own[name].tolist()}" for name in changed),
        ],
        matching=[name for name in matching if name not in changed],
    )


def likely_reason(network: nn.Module, state: Mapping[str, torch.Tensor], difference: Difference) -> str:
    """Why weights most likely do not fit a network, and what would be right, in one sentence."""
    kind, family = type(network).__name__, detect_family(state)
    if family is not None and not isinstance(network, family.network):
        return f"These are weights of {family.network.__name__}, not of {kind}; set the network's `type`."
    own = network.state_dict()
    if "fc.weight" in own and "fc.weight" in state and len(own["fc.weight"]) != len(state["fc.weight"]):
        return (
            f"The checkpoint's classifier tells {len(state['fc.weight'])} degradations apart, this one "
            f"{len(own['fc.weight'])}; give `degradations` the names that it was trained with."
        )
    if not difference.matching:
        return f"These are no weights of {kind}."
    return f"{kind} has other options here (width, numbers of blocks); see the option file beside that checkpoint."


def to_our_layout(state: StateDict) -> StateDict:
    """Rename a published network's parameters to ours; ours, and those of an unknown network, stay as they are."""
    family = detect_family(state)
    return family.convert(state) if family else state


def to_published_layout(network: RestorationBackbone) -> StateDict:
    """A network's weights as the original project names them, with all that its network needs for a strict load.

    Raises:
        CheckpointError: If the network is of no known family, or the original project has none like it.
    """
    family = next((family for family in FAMILIES if family.network is type(network)), None)
    name = type(network).__name__
    if family is None:
        raise CheckpointError(f"no published layout of {name} is known")
    try:
        return family.to_published(network)
    except ValueError as error:
        raise CheckpointError(f"no published layout for this {name}: {error}") from error


def detect_family(state: Mapping[str, torch.Tensor]) -> Family | None:
    """The family of networks that a state dict belongs to, from its keys alone; None if it is not known."""
    return next((family for family in FAMILIES if family.recognises(state)), None)


def load_network(source: str | Path | Mapping[str, Any], **overrides: Any) -> RestorationBackbone:
    """Build the restoration network that a checkpoint belongs to, and load it.

    The network's class and arguments are read off the names and shapes of the weights, so no option file is needed.

    Args:
        source: A file, what was read from it, or a state dict.
        overrides: Arguments of the network's constructor that win over those read off the weights.

    Returns:
        The network on the CPU, in eval mode, with the averaged weights if the checkpoint has them.

    Raises:
        CheckpointError: If the file is bad, the network is not known, or the weights do not fit it.
    """
    content = source if isinstance(source, Mapping) else read_checkpoint(source)
    name = "the given state dict" if isinstance(source, Mapping) else str(source)
    try:
        weights = find_weights(content)
    except CheckpointError as error:
        raise CheckpointError(f"{name}: {error}") from error
    family = detect_family(weights.state)
    if family is None:
        known = ", ".join(f.network.__name__ for f in FAMILIES)
        raise CheckpointError(
            f"{name}: weights of an unknown network (first key '{next(iter(weights.state))}'); known: {known}"
        )
    try:
        state = family.convert(weights.state)
        network = family.network(**{**family.arguments(state), **overrides})
    except KeyError as error:
        raise CheckpointError(f"{name}: incomplete weights of {family.network.__name__}; {error} is missing") from error
    except (IndexError, ValueError) as error:
        raise CheckpointError(
            f"{name}: no weights of a {family.network.__name__} that can be built; {error}"
        ) from error
    for key in overrides:
        state.pop(SETTING + key, None)
        if SETTING + key in network.state_dict():
            state[SETTING + key] = network.state_dict()[SETTING + key]
    difference = compare(network, state)
    if difference:
        reason = likely_reason(network, state, difference)
        raise CheckpointError(f"{name}: does not fit {family.network.__name__}: {difference}. {reason}")
    network.load_state_dict(state)
    if weights.key:
        logging.getLogger("basicsr").info(f"{family.network.__name__} with the weights '{weights.key}' of {name}")
    return network.eval()
