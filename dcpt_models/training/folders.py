"""Recognises folders of runs, so that no other folder is ever moved; used by `Run`."""

from __future__ import annotations

import re
from pathlib import Path

from dcpt_models.runtime.folder_lock import NAME as LOCK

FOLDERS = ("models", "training_states", "visualization", "tb_logger", "wandb")
LOG = re.compile(r"train_.+_\d{8}_\d{6}\.log")
# What schedulers write to a folder that is made for a run before it starts.
LOGS_OF_SCHEDULERS = (".log", ".out", ".err")


def is_a_run(folder: Path) -> bool:
    """Whether a run has written into a folder."""
    logs = any(LOG.fullmatch(file.name) for file in folder.glob("train_*.log"))
    return logs or (folder / "training_states").is_dir() or any(folder.glob("models/net_*.pth"))


def may_be_moved(folder: Path) -> bool:
    """Whether a folder is a run's and has no other folders in it, which would be moved with the run."""
    return is_a_run(folder) and {entry.name for entry in folder.iterdir() if entry.is_dir()} <= set(FOLDERS)


def is_unused(folder: Path) -> bool:
    """Whether a run may begin in a folder as it is: there is nothing in it, or nothing but logs of a scheduler."""
    if not folder.is_dir():
        return False
    entries = list(folder.iterdir())
    files = all(entry.is_file() and (entry.name == LOCK or entry.suffix in LOGS_OF_SCHEDULERS) for entry in entries)
    return files and not any(LOG.fullmatch(entry.name) for entry in entries)
