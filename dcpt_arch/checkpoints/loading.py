"""Checkpoints: safe reading, finding the weights inside, and building the network they belong to.

Everything is read with weights only, so opening a file never runs code from it.
"""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn

from dcpt_arch.adapter.any_backbone import AnyBackbone
from dcpt_arch.backbones.base import ARGUMENTS, NOTE, SETTING, RestorationBackbone
from dcpt_arch.backbones.families import FAMILIES, Family
from dcpt_arch.checkpoints.errors import CheckpointError as CheckpointError
from dcpt_arch.checkpoints.hub import find_file
from dcpt_arch.checkpoints.leftover_tensors import is_counter, without_counters, without_leftovers
from dcpt_arch.checkpoints.recognising import SAVE, what_has_no_tensors, what_it_is, what_was_refused, where_damaged

StateDict = dict[str, torch.Tensor]

# Where projects put the averaged weights inside a file: BasicSR; neosr and traiNNer; mmengine; timm; others.
AVERAGED_KEYS = ("params_ema", "params-ema", "ema_state_dict", "state_dict_ema", "model_ema", "ema")
# And the weights; the averaged ones come first because they are what was evaluated.
WEIGHT_KEYS = (*AVERAGED_KEYS, "params", "state_dict", "model")
# Begins the names of averaged weights that stand beside the others in one state dict: mmagic; ema-pytorch.
AVERAGED_PREFIXES = ("generator_ema.", "ema_model.")
MOST_REPEATED = (
    2**28
)  # values of a weight that is stored as fewer: more would fill the memory, whatever the file's size
DEEPEST = 8  # levels at which weights are looked for: a file can hold a section that contains itself
# What wrappers put before every key: DistributedDataParallel, torch.compile, Lightning modules.
PREFIXES = ("module.", "_orig_mod.", "net_g.", "net.", "model.")


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
        path: The file, one of safetensors ending with `.safetensors`; or a folder, or an address of the Hub, as
            `find_file` has them.

    Returns:
        What was saved, on the CPU.

    Raises:
        CheckpointError: If the file is missing, truncated, holds more than tensors and plain values, or is no mapping.
    """
    path = find_file(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint file")
    try:
        what = what_it_is(path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); fix its rights or copy it") from error
    if what:
        raise CheckpointError(f"{path} {what}")
    try:
        if path.suffix == ".safetensors":
            content = {**load_file(path), **_notes_in(path)}
        else:
            if part := where_damaged(path):
                raise CheckpointError(f"{path}: damaged (the checksum of {part} is another); copy or save it again")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except SafetensorError as error:
        raise CheckpointError(f"{path}: truncated or no safetensors file ({error}); copy or save it again") from error
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path}: {what_was_refused(str(error))}") from error
    except Exception as error:  # a damaged file can raise nearly anything: struct.error, IndexError, AssertionError
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"{path}: truncated or not a checkpoint ({first}); copy or save it again") from error
    if not isinstance(content, Mapping) or not content:
        holds = "an empty dict" if content == {} else f"a {type(content).__name__}"
        raise CheckpointError(f"{path}: holds no weights, but {holds}; where it was made, save weights by {SAVE}")
    return dict(content)


def _notes_in(path: Path) -> dict[str, Any]:
    """What a file of safetensors, which has tensors and lines of text alone, keeps as JSON in its header."""
    with safe_open(path, "pt") as file:
        texts = file.metadata() or {}
    return {name: json.loads(texts[name]) for name in (NOTE, ARGUMENTS) if name in texts}


def find_weights(content: Mapping[str, Any], key: str | None = None, file: str | Path = "") -> Weights:
    """Unwrap the state dict of a network from what a file holds.

    Args:
        content: What `read_checkpoint` returned, or a state dict.
        key: Where the weights stand ("params", "params_ema"). By default the averaged ones if there are any.
        file: Where the content is from, for messages.

    Returns:
        The weights without the prefixes of wrappers and without what tools leave beside them, and the key they were
        found under.

    Raises:
        CheckpointError: If there are none under `key`, or none at all, or they are NaN or infinite.
    """
    where, found = f"{file}: " if file else "", ""
    if key is not None:
        if not isinstance(content.get(key), Mapping):
            holds = f"{where}no weights under '{key}'; the file holds: {', '.join(map(str, content))}"
            raise CheckpointError(holds[:300] if not where else holds[: len(where) + 300])
        content, found = content[key], key
    else:
        while (inner := next((each for each in WEIGHT_KEYS if _has_tensors(content.get(each))), None)) is not None:
            content, found = content[inner], f"{found}:{inner}" if found else inner
    state = dict(_tensors(content))
    if not state:
        named = next((content[each] for each in WEIGHT_KEYS if isinstance(content.get(each), Mapping)), content)
        raise CheckpointError(f"{where}{what_has_no_tensors(named)}")
    state = _unwrapped(without_leftovers(state, str(file)))
    _refuse_odd(state, where)
    _refuse_not_finite(state, where)
    return Weights(state, found)


def _tensors(content: Mapping[Any, Any]) -> list[tuple[str, torch.Tensor]]:
    return [(k, value) for k, value in content.items() if isinstance(k, str) and isinstance(value, torch.Tensor)]


def _has_tensors(content: Any, levels: int = DEEPEST) -> bool:
    """Whether something is a state dict, or holds one under a known key."""
    if not isinstance(content, Mapping) or not levels:
        return False
    return bool(_tensors(content)) or any(_has_tensors(content.get(key), levels - 1) for key in WEIGHT_KEYS)


def _unwrapped(state: StateDict) -> StateDict:
    """Names without what wrappers put before them; of averaged and other weights in one state dict, the averaged."""
    averaged = next((p for p in AVERAGED_PREFIXES if any(name.startswith(p) for name in state)), None)
    if averaged:
        state = {name[len(averaged) :]: value for name, value in state.items() if name.startswith(averaged)}
    stripped = True
    while stripped:
        stripped = False
        for prefix in PREFIXES:
            # A count that stands outside of the wrapper is none of its weights.
            inside = [name for name in state if "." in name or not is_counter(state[name])]
            if inside and all(name.startswith(prefix) for name in inside):
                state = {name.removeprefix(prefix): value for name, value in state.items()}
                stripped = True
    return state


def _refuse_odd(state: StateDict, where: str) -> None:
    """Raise an error if weights are not plain tensors with values."""
    for name, value in state.items():
        kind = (
            "device meta, without values"
            if value.is_meta
            else "quantised"
            if value.is_quantized
            else str(value.layout).removeprefix("torch.")
            if value.layout != torch.strided
            else f"{value.numel():,} numbers that repeat a few"
            if value.numel() > max(MOST_REPEATED, value.untyped_storage().nbytes() // value.element_size())
            else None
        )
        if kind is not None:
            raise CheckpointError(
                f"{where}'{name}' is a tensor of another kind ({kind}); where it was made, save plain weights by {SAVE}"
            )


def _refuse_not_finite(state: StateDict, where: str) -> None:
    """Raise an error if weights are NaN or infinite; masks may be minus infinity."""
    for name, value in state.items():
        # Of 8 bits nothing is computed, and of 64 much is infinite for a network.
        value = value.float() if value.is_floating_point() and value.element_size() in (1, 8) else value
        if not (value.is_floating_point() or value.is_complex()) or bool(value.isfinite().all()):
            continue
        if "mask" not in name or bool(value.isnan().any()):
            count = int((~value.isfinite()).sum())
            raise CheckpointError(
                f"{where}{count} of {value.numel()} values of '{name}' are NaN or infinite: the training that "
                "wrote it has diverged; take an earlier checkpoint"
            )


def compare(network: nn.Module, state: Mapping[str, torch.Tensor]) -> Difference:
    """List how `state` differs from what `network` has; complex numbers do not fit real ones, nor does yes or no."""
    own = network.state_dict()
    both = [name for name in own if name in state]
    unlike = {name for name in both if _kind(state[name]) not in (_kind(own[name]), "whole", "real")}
    reshaped = [name for name in both if state[name].shape != own[name].shape or name in unlike]
    matching = [name for name in both if name not in reshaped]
    # Two settings of one shape are as different as two shapes.
    changed = [name for name in matching if name.startswith(SETTING) and not torch.equal(state[name], own[name])]
    return Difference(
        missing=[name for name in own if name not in state],
        unexpected=[name for name in state if name not in own],
        reshaped=[
            *(
                f"{name} {_form(state[name], name in unlike)} for {_form(own[name], name in unlike)}"
                for name in reshaped
            ),
            *(f"{name} {state[name].tolist()} for {own[name].tolist()}" for name in changed),
        ],
        matching=[name for name in matching if name not in changed],
    )


def _kind(value: torch.Tensor) -> str:
    """Which numbers a tensor has; those of the first two kinds can stand for one another."""
    if value.is_complex():
        return "complex"
    return "boolean" if value.dtype == torch.bool else "real" if value.is_floating_point() else "whole"


def _form(value: torch.Tensor, with_kind: bool) -> str:
    return f"{tuple(value.shape)} of {value.dtype}" if with_kind else f"{tuple(value.shape)}"


def likely_reason(network: nn.Module, state: Mapping[str, torch.Tensor], difference: Difference) -> str:
    """Why weights most likely do not fit a network, and what would be right, in one sentence."""
    foreign = False
    if isinstance(network, AnyBackbone):
        network = network.network
        foreign = not isinstance(network, RestorationBackbone)
    kind, family = type(network).__name__, None if foreign else detect_family(state)
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
    if not (difference.missing or difference.reshaped) and all(state[n].numel() == 1 for n in difference.unexpected):
        return (
            f"All weights of {kind} are there and fit. If what is left are numbers of a tool, continue without them "
            "(path:strict_load_g: false, or remove them from the file); if not, this is a network like it, but another."
        )
    return f"{kind} has other options here (width, numbers of blocks); see the option file beside that checkpoint."


def in_layout_of(network: nn.Module, state: StateDict) -> StateDict:
    """Rename a published network's parameters as a network of ours has them; a foreign network keeps its own names."""
    inner = network.network if isinstance(network, AnyBackbone) else network
    foreign = isinstance(network, AnyBackbone) and not isinstance(inner, RestorationBackbone)
    return state if foreign else to_our_layout(state)


def to_our_layout(state: StateDict) -> StateDict:
    """Rename a published network's parameters to ours; ours, and those of an unknown network, stay as they are."""
    family = detect_family(state)
    return family.convert(state) if family else state


def to_published_layout(network: RestorationBackbone) -> StateDict:
    """A network's weights as the original project names them, with all that its network needs for a strict load.

    Raises:
        CheckpointError: If the network is of no known family, or the original project has none like it.
    """
    if isinstance(network, AnyBackbone):
        return dict(network.state_dict())
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

    The network's class and arguments are read off the names and shapes of the weights, so no option file is needed;
    what these do not tell stands beside them (NAFNet's `tlc_size`).

    Args:
        source: A file, a folder of `save_pretrained`, `hf://owner/name`, what was read from a file, or a state dict. A
            network of `AnyBackbone` is known by the note that stands beside its weights in the file.
        overrides: Arguments of the network's constructor that win over those read off the weights.

    Returns:
        The network on the CPU, in eval mode, with the averaged weights if the checkpoint has them.

    Raises:
        CheckpointError: If the file is bad, the network is not known, or the weights do not fit it.
    """
    content = source if isinstance(source, Mapping) else read_checkpoint(source)
    name = "the given state dict" if isinstance(source, Mapping) else str(source)
    weights = find_weights(content, file=name)
    if isinstance(content.get(NOTE), Mapping):
        return _load_noted(content[NOTE], weights, name, overrides)
    family = detect_family(weights.state)
    if family is None:
        known = ", ".join(f.network.__name__ for f in FAMILIES)
        raise CheckpointError(
            f"{name}: weights of an unknown network (first key '{next(iter(weights.state))}'); known: {known}. Another "
            "project's is built by an option file: network_g of type AnyBackbone (docs/EXTENDING.md)"
        )
    try:
        state = family.convert(weights.state)
        network = family.network(**{**family.arguments(state), **noted_in(content, family), **overrides})
    except KeyError as error:
        raise CheckpointError(f"{name}: incomplete weights of {family.network.__name__}; {error} is missing") from error
    except (ArithmeticError, AttributeError, IndexError, MemoryError, RuntimeError, TypeError, ValueError) as error:
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"{name}: no weights of a {family.network.__name__} that can be built; {why}") from error
    for key in overrides:
        state.pop(SETTING + key, None)
        if SETTING + key in network.state_dict():
            state[SETTING + key] = network.state_dict()[SETTING + key]
    return _filled(network, state, weights.key, name)


def noted_in(content: Mapping[str, Any], family: Family) -> dict[str, Any]:
    """Arguments of a network's constructor that a checkpoint has beside the weights (`RestorationBackbone.noted`)."""
    given = content.get(ARGUMENTS)
    return {name: given[name] for name in family.network.noted if name in given} if isinstance(given, Mapping) else {}


def _load_noted(note: Mapping[str, Any], weights: Weights, name: str, overrides: dict[str, Any]) -> RestorationBackbone:
    """A network that was not written for this package, which its checkpoint's note tells of."""
    try:
        network = AnyBackbone.from_note(note, **overrides)
    except ValueError as error:
        raise CheckpointError(f"{name}: {error}") from error
    return _filled(network, in_layout_of(network, weights.state), weights.key, name)


def _filled(network: RestorationBackbone, state: StateDict, key: str, name: str) -> RestorationBackbone:
    """Load a network's weights, in its own layout, found under `key` of the file `name`."""
    kind = type(network.network if isinstance(network, AnyBackbone) else network).__name__
    state = without_counters(state, compare(network, state).unexpected, name)
    difference = compare(network, state)
    if difference:
        reason = likely_reason(network, state, difference)
        raise CheckpointError(f"{name}: does not fit {kind}: {difference}. {reason}")
    network.load_state_dict(state)
    if key:
        logging.getLogger("basicsr").info(f"{kind} with the weights '{key}' of {name}")
    return network.eval()
