"""Checkpoints: of all our networks, wrapped as programs wrap them, changed, cut, and of other makers.

What is loaded must be what stands in the file; whatever cannot be loaded is refused with the file's name.
"""

from __future__ import annotations

import argparse
import collections
import io
import pickle
import zipfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from harness import Family, Fault, refusal_is_clear
from hypothesis import strategies as st
from small_networks import SMALL, build

from dcpt_arch import DegradationClassifier, FeatureInfo
from dcpt_arch.backbones.base import SETTING
from dcpt_arch.checkpoints.initialise import initialise
from dcpt_arch.checkpoints.loading import CheckpointError, load_network

State = dict[Any, Any]
WRAPPERS = ["params", "params_ema", "params-ema", "state_dict", "model", "ema_state_dict", "ema", "state_dict_ema"]
PREFIXES = ["", "", "module.", "_orig_mod.", "net_g.", "module._orig_mod.", "model.net."]


@cache
def states() -> dict[str, State]:
    """The weights of a small network of each kind, and of a classifier."""
    found = {name: dict(build(name).state_dict()) for name in SMALL}
    torch.manual_seed(0)
    classifier = DegradationClassifier([FeatureInfo(6, 1), FeatureInfo(12, 2)], 3, width=8)
    return {**found, "classifier": dict(classifier.state_dict())}


@dataclass(frozen=True)
class CheckpointCase:
    """A checkpoint file.

    Attributes:
        data: Its bytes.
        name: Its name.
        how: How it was made.
        state: The weights in it, by the names that our network has; None if nobody knows.
        ordinary: Whether it must be loaded.
        network: Of which kind it is.
        strict: Whether `initialise` is to be strict.
    """

    data: bytes = field(repr=False)
    name: str
    how: str
    network: str
    state: State | None = field(repr=False, default=None)
    ordinary: bool = False
    strict: bool = True


def _spoil(draw: Any, state: State) -> str:
    """Change a state dict so that it is another; returns how."""
    key = draw(st.sampled_from(sorted(state, key=str)))
    value = state[key]
    known = isinstance(value, torch.Tensor) and (_is_plain(value) or value.dtype == torch.int64)
    if isinstance(value, torch.Tensor) and not (known and value.numel() < 10**6):
        del state[key]  # it was changed before
        return f"drop {key}"
    kinds = ["drop", "rename", "type", "reshape", "value", "stray", "object", "key", "huge", "odd"]
    how = draw(st.sampled_from(kinds))
    if how == "drop":
        for each in draw(st.lists(st.sampled_from(sorted(state, key=str)), max_size=30)):
            state.pop(each, None)
        state.pop(key, None)
    elif how == "rename":
        state[draw(st.sampled_from([f"{key}x", key[1:], key.upper(), f"body.{key}", ""]))] = state.pop(key)
    elif how == "type" and isinstance(value, torch.Tensor):
        kind = draw(st.sampled_from([torch.int64, torch.bool, torch.complex64, torch.float8_e4m3fn, torch.uint8]))
        state[key] = value.to(kind)
    elif how == "reshape" and isinstance(value, torch.Tensor):
        first = value if value.dim() else value[None]
        forms = [first[:0], first[:1], value[None], value.flatten(), value.transpose(0, -1) if value.dim() else value]
        forms += [torch.cat([value, value]) if value.dim() else value, torch.zeros((), dtype=value.dtype)]
        forms += [torch.zeros(3, 0, 2)]
        state[key] = draw(st.sampled_from(range(len(forms))).map(forms.__getitem__))
    elif how == "value" and isinstance(value, torch.Tensor) and value.is_floating_point() and value.numel():
        state[key] = value.clone()
        state[key].flatten()[0] = draw(st.sampled_from([float("nan"), float("inf"), -float("inf"), 1e38, 0.0]))
    elif how == "stray":
        state[draw(st.sampled_from(["n_averaged", "extra.weight", "setting.x", "a.b.total_ops", f"{SETTING}fold"]))] = (
            draw(st.sampled_from([torch.tensor(1), torch.ones(2, 2), torch.tensor(0.5)]))
        )
    elif how == "object":
        state[key] = draw(st.sampled_from([None, "text", 3, [1, 2], {"a": torch.ones(1)}, {}, (), True]))
    elif how == "key":
        state[draw(st.sampled_from([3, None, ("a",), 1.5]))] = state.pop(key)
    elif how == "huge" and isinstance(value, torch.Tensor) and value.dim():
        sizes = [draw(st.sampled_from([1, 3, 10**3, 10**5])) for _ in value.shape]
        while int(np.prod(sizes, dtype=object)) > 10**9:
            sizes[sizes.index(max(sizes))] = 1
        state[key] = torch.zeros(1).expand(*sizes)
    elif how == "odd" and _is_plain(value) and value.dim():
        odd = [
            value.to_sparse(),
            torch.quantize_per_tensor(value.float(), 0.1, 0, torch.qint8),
            torch.empty_like(value, device="meta"),
        ]
        state[key] = draw(st.sampled_from(range(3)).map(odd.__getitem__))
    return f"{how} {key}"


def _is_plain(value: Any) -> bool:
    tensor = isinstance(value, torch.Tensor) and value.is_floating_point() and value.layout == torch.strided
    return tensor and not value.is_meta and not value.is_quantized


def _wrapped(draw: Any, state: State) -> tuple[Any, str]:
    """A state dict as programs save it."""
    prefix = draw(st.sampled_from(PREFIXES))
    inner: Any = {f"{prefix}{key}" if isinstance(key, str) else key: value for key, value in state.items()}
    if draw(st.booleans()):
        inner = collections.OrderedDict(inner)
    how = [prefix]
    for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2]))):
        key = draw(st.sampled_from(WRAPPERS))
        inner = {key: inner}
        how.append(key)
        beside = draw(
            st.sampled_from(
                [{}, {"epoch": 3}, {"iter": 5, "optimizer": {"state": {}, "param_groups": []}}, {"m": None}]
            )
        )
        inner |= beside
        if key == "params_ema" and draw(st.booleans()):
            plain = {k: v for k, v in state.items() if _is_plain(v)}
            inner["params"] = {k: torch.zeros_like(v) for k, v in plain.items() if v.numel() < 10**6}
    return inner, " in ".join(how)


def _saved(draw: Any, content: Any) -> tuple[bytes, str]:
    file = io.BytesIO()
    legacy = draw(st.integers(0, 3)) == 0
    try:
        torch.save(content, file, _use_new_zipfile_serialization=not legacy)
    except Exception:  # what has no legacy form
        file = io.BytesIO()
        torch.save(content, file)
    return file.getvalue(), "weights.pth"


def _damage(draw: Any, data: bytes) -> tuple[bytes, str]:
    if not data:
        return data, "empty"
    spoilt, how = bytearray(data), draw(st.sampled_from(["cut", "cut", "flip", "zero", "insert"]))
    # Before torch 1.6 a file's length depended on addresses in memory, on which what is drawn must not.
    place = draw(st.integers(0, 2**40)) % draw(st.sampled_from([len, lambda data: min(len(data), 600)]))(data)
    if draw(st.booleans()):
        place = len(data) - 1 - place
    if how == "cut":
        del spoilt[place:]
    elif how == "flip":
        spoilt[place] ^= draw(st.integers(1, 255))
    elif how == "zero":
        spoilt[place : place + 50] = bytes(len(spoilt[place : place + 50]))
    else:
        spoilt[place:place] = draw(st.binary(min_size=1, max_size=9))
    return bytes(spoilt), f"{how} at {place} of {len(data)}"


class Local:
    """What a pickle of another program holds."""

    def __init__(self) -> None:
        self.weights = torch.ones(2)


@st.composite
def foreign(draw: Any) -> CheckpointCase:
    """Files that hold no weights of ours."""
    state = states()["NAFNet"]
    makers = {
        "pickle": lambda: pickle.dumps({"params": {"a": 1}}),
        "numpy": lambda: _torch({"params": state, "psnr": np.float64(3)}),
        "namespace": lambda: _torch({"params": state, "args": argparse.Namespace(a=1)}),
        "module": lambda: _torch(torch.nn.Linear(2, 2)),
        "object": lambda: pickle.dumps(Local()),
        "script": lambda: _script(),
        "npz": lambda: _npz(),
        "text": lambda: draw(st.text(max_size=300)).encode(),
        "bytes": lambda: draw(st.binary(max_size=300)),
        "html": lambda: b"<!DOCTYPE html><html></html>",
        "list": lambda: _torch([torch.ones(2)]),
        "tensor": lambda: _torch(torch.ones(2)),
        "empty": lambda: _torch({}),
        "nested": lambda: _torch({"params": {"params": {"params": {}}}}),
        "zip": lambda: _zip(),
        "none": lambda: _torch(None),
        "cycle": lambda: _torch(_cycle()),
        "set": lambda: _torch({"params": {1, 2}}),
        "deep": lambda: _torch(_deep()),
    }
    kind = draw(st.sampled_from(sorted(makers)))
    name = draw(st.sampled_from(["weights.pth", "weights.pt", "weights.ckpt", "weights.safetensors", "weights"]))
    return CheckpointCase(makers[kind](), name, f"foreign {kind}", "NAFNet")


def _torch(content: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def _script() -> bytes:
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)), file)
    return file.getvalue()


def _npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, a=np.ones(3))
    return file.getvalue()


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("weights/data.pkl", pickle.dumps({"a": 1}, protocol=2))
    return file.getvalue()


def _cycle() -> Any:
    content: Any = {}
    content["params"] = content
    return content


def _deep() -> Any:
    content: Any = torch.ones(1)
    for _ in range(300):
        content = {"model": content}
    return content


@st.composite
def cases(draw: Any) -> CheckpointCase:
    kind = draw(st.sampled_from(["sound", "sound", "spoilt", "spoilt", "spoilt", "damaged", "damaged", "foreign"]))
    if kind == "foreign":
        return draw(foreign())
    network = draw(st.sampled_from([*SMALL, *["NAFNet"] * 8, "classifier"]))
    state = {key: value.clone() for key, value in states()[network].items()}
    how = [network]
    cast = draw(st.sampled_from([None, None, torch.float16, torch.bfloat16, torch.float64]))
    if cast:
        state = {key: value.to(cast) if value.is_floating_point() else value for key, value in state.items()}
        how.append(str(cast))
    if kind == "spoilt":
        how += [_spoil(draw, state) for _ in range(draw(st.sampled_from([1, 1, 2])))]
    if draw(st.booleans()):  # another order
        keys = draw(st.permutations(sorted(state, key=str))) if len(state) < 60 else sorted(state, key=str)
        state = {key: state[key] for key in keys}
    plain = all(
        isinstance(k, str) and isinstance(v, torch.Tensor) and v.layout == torch.strided for k, v in state.items()
    )
    if plain and kind != "spoilt" and draw(st.integers(0, 3)) == 0:
        data = safetensors.torch.save({key: value.contiguous() for key, value in state.items()})
        name = "weights.safetensors"
    else:
        content, wrapped = _wrapped(draw, state)
        how.append(wrapped)
        data, name = _saved(draw, content)
    if kind == "damaged":
        data, damage = _damage(draw, data)
        how.append(damage)
    return CheckpointCase(
        data,
        name,
        "; ".join(how),
        network,
        None if kind == "damaged" else state,
        kind == "sound" and network != "classifier",
        draw(st.booleans()),
    )


def check(case: CheckpointCase, folder: Path) -> str:
    path = folder / case.name
    path.write_bytes(case.data)
    loaded = None
    try:
        loaded = load_network(path)
    except CheckpointError as error:
        refusal_is_clear(str(error), str(path))
        if case.ordinary:
            raise Fault(f"refuses a sound checkpoint: {str(error).replace(str(path), 'FILE')}") from error
    if loaded is not None:
        _compare(loaded, case, path)
    if len(case.data) % 4 == 0:
        _initialised(case, path)
    return "right" if loaded is not None else "refused"


def _compare(network: torch.nn.Module, case: CheckpointCase, path: Path) -> None:
    own = network.state_dict()
    for name, value in own.items():
        if value.is_floating_point() and not bool(value.isfinite().all()) and "mask" not in name:
            raise Fault(f"not finite: {name}")
    if case.state is not None:
        for name, value in own.items():
            given = case.state.get(name)
            if name.startswith(SETTING) and given is None:
                continue
            if not isinstance(given, torch.Tensor):
                raise Fault(f"made up a tensor: {name}")
            if not torch.equal(given.to_dense().to(value.dtype) if given.is_sparse else given.to(value.dtype), value):
                raise Fault(f"other values than in the file: {name}")
            if given.is_complex() or given.dtype == torch.bool != value.dtype:
                raise Fault(f"lost something of {given.dtype}: {name}")
    elif zipfile.is_zipfile(path):
        try:
            bad = zipfile.ZipFile(path).testzip()
        except (zipfile.BadZipFile, ValueError) as error:  # of what is no part of the weights
            bad = str(error)
        if bad is not None:
            raise Fault(f"reads weights whose checksum is wrong: {bad}")


def _initialised(case: CheckpointCase, path: Path) -> None:
    """Load it as a run does that starts from it."""
    if case.network == "classifier":
        network: torch.nn.Module = DegradationClassifier([FeatureInfo(6, 1), FeatureInfo(12, 2)], 3, width=8)
    else:
        network = build(case.network)
    try:
        initialise(network, path, None, case.strict)
    except CheckpointError as error:
        refusal_is_clear(str(error), str(path))


CHECKPOINTS = Family("checkpoints", cases, check, states)
