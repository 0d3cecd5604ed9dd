"""Differences between the options of a checkpoint and of the run that resumes it, and which of them take effect."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

TAKEN = "takes effect"
OVERRULED = "overruled by the training state; a new run from its weights takes it up (path:pretrain_network_g)"
LOADED = "without effect: the weights are the checkpoint's"
FITTING = "takes effect if the checkpoint's weights still fit"
OTHER_SAMPLES = "takes effect: from here on, samples are others than they would have been"
OTHER_BATCHES = "takes effect: from here on, an iteration has another batch; the stream of samples goes on where it was"
OTHER_PROCESSES = (
    "takes effect: with datasets:train:batch_size, all is as it was; with batch_size_per_gpu, an iteration has another "
    "batch from here on"
)
SAME_SAMPLES = "takes effect; results do not depend on it"
COURSE = "takes effect, but a scheduler keeps its course"

# Patterns; the longest prefix counts.
EFFECTS: dict[tuple[str, ...], str] = {
    (): TAKEN,
    ("train", "optim_*"): OVERRULED,
    ("train", "scheduler"): OVERRULED,
    ("train", "total_iter"): COURSE,
    ("network_*",): FITTING,
    ("path", "pretrain_*"): LOADED,
    ("path", "param_key_*"): LOADED,
    ("path", "strict_load_*"): LOADED,
    ("manual_seed",): OTHER_SAMPLES,
    ("processes",): OTHER_PROCESSES,
    ("datasets", "train"): OTHER_SAMPLES,
    ("datasets", "train", "batch_size*"): OTHER_BATCHES,
    ("datasets", "train", "name"): SAME_SAMPLES,
    ("datasets", "train", "num_worker_per_gpu"): SAME_SAMPLES,
    ("datasets", "train", "pin_memory"): SAME_SAMPLES,
}
# Where a run is, and how it is resumed, is no change of it.
IGNORED = {("path", "resume_state"), ("path", "experiments_root")}
UNSET = "not set"


def changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """One line for each option that has changed: key, old and new value, and what becomes of it.

    Args:
        before: Resolved options, with the number of `processes`.
        now: The same of the resumed run.
    """
    found = differences(before, now)
    return [f"{':'.join(p)}: {a} -> {b} ({_effect(p)})" for p, a, b in found if p not in IGNORED]


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[tuple[tuple[str, ...], Any, Any]]:
    """Path, old and new value of everything that differs between two mappings of mappings."""
    old, new = _flat(before), _flat(now)
    pairs = ((path, old.get(path, UNSET), new.get(path, UNSET)) for path in dict.fromkeys((*old, *new)))
    return [(path, a, b) for path, a, b in pairs if a != b]


def _effect(path: tuple[str, ...]) -> str:
    def fits(pattern: tuple[str, ...]) -> bool:
        return len(pattern) <= len(path) and all(map(fnmatchcase, path, pattern))

    return EFFECTS[max(filter(fits, EFFECTS), key=len)]


def _flat(section: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Path -> value, for everything that is no section."""
    if not isinstance(section, dict):
        return {path: section}
    return {key: value for name, inner in section.items() for key, value in _flat(inner, (*path, str(name))).items()}
