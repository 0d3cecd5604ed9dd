"""Keys of BasicSR's option files that have no effect here, or contradict what is done here; used by the check."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

from dcpt_models.options.check import Problem
from dcpt_models.options.files import Section

Key = tuple[str, ...]

# Patterns of keys -> why they have no effect here.
WITHOUT_EFFECT: dict[Key, str] = {
    ("find_unused_parameters",): "gradients are averaged over processes without a search for unused parameters",
    ("datasets", "*", "dataset_enlarge_ratio"): "batches run across the ends of epochs",
    ("datasets", "*", "prefetch_mode"): "batches are copied to the device beside the computation",
    ("datasets", "*", "num_prefetch_queue"): "batches are copied to the device beside the computation",
    ("datasets", "*", "persistent_workers"): "workers live as long as the run",
    ("datasets", "*", "use_shuffle"): "training shuffles, validation does not",
    ("path", "root"): "runs lie in path:experiments_root",
    ("path", "ignore_resume_networks"): "a run resumes with all its networks",
    ("val", "pbar"): "validation reports in the log",
    ("val", "use_pbar"): "validation reports in the log",
    ("val", "suffix"): "saved images are named by the iteration or the test",
}
# Patterns of keys -> why they cannot be followed, and what would be right.
CONTRADICTING: dict[Key, str] = {
    ("network_d",): "there is no discriminator here; train with BasicSR's own program (docs/BASICSR.md)",
    ("train", "*gan_opt"): "there is no discriminator here; train with BasicSR's own program (docs/BASICSR.md)",
    ("train", "optim_d"): "there is no discriminator here; train with BasicSR's own program (docs/BASICSR.md)",
    ("train", "net_d_*"): "there is no discriminator here; train with BasicSR's own program (docs/BASICSR.md)",
    ("datasets", "*", "mean"): "networks are given pixels in [0, 1]; remove it, and train without normalisation",
    ("datasets", "*", "std"): "networks are given pixels in [0, 1]; remove it, and train without normalisation",
}


def take_out(values: Section) -> list[str]:
    """Remove from an option file the keys that mean nothing here; returns a line for each, for the log."""
    return [
        f"{':'.join(path)}: without effect here, {why}" for path, why in _found(values, WITHOUT_EFFECT, remove=True)
    ]


def contradictions(values: Section) -> list[Problem]:
    """The keys that cannot be followed."""
    return [Problem(path, why) for path, why in _found(values, CONTRADICTING)]


def _found(values: Any, patterns: dict[Key, str], path: Key = (), remove: bool = False) -> list[tuple[Key, str]]:
    found: list[tuple[Key, str]] = []
    for key in list(values) if isinstance(values, dict) else ():
        here = (*path, str(key))
        why = next((why for pattern, why in patterns.items() if _fits(here, pattern)), None)
        if why is None:
            found += _found(values[key], patterns, here, remove)
        else:
            found.append((here, why))
            if remove:
                del values[key]
    return found


def _fits(path: Key, pattern: Key) -> bool:
    return len(path) == len(pattern) and all(map(fnmatchcase, path, pattern))
