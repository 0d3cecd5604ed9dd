"""Files of checkpoints: written atomically, checked when read, the newest complete one found, old ones removed.

A checkpoint of iteration N is the networks `models/net_*_N.pth` and, written last, the training state
`training_states/N.state`, which has the digest of each network's file. So a state never goes with other weights than
its own, and what a crash has left unfinished is known by its missing or older state.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from dcpt_arch.checkpoints.loading import CheckpointError, read_checkpoint
from dcpt_common import PARTIAL, sha256, write_atomically


def save_atomically(content: Any, path: Path) -> str:
    """`torch.save` to a temporary file, flush it to disk, rename it; returns the SHA-256 of the file.

    Raises:
        OSError: If it cannot be written (a full disk, say); whatever stood under the name before is still there.
    """
    try:
        with write_atomically(path, durable=True) as unfinished:
            # To a path, PyTorch's own writer would not say what went wrong.
            with unfinished.open("wb") as file:
                torch.save(content, file)
            return sha256(unfinished)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise OSError(
            f"{path}: checkpoint not written ({reason}); earlier ones are intact. Make room (logger:keep_last removes "
            "old checkpoints) and resume with --auto_resume"
        ) from error


def saved_iterations(states: Path) -> list[int]:
    """Iterations that a folder of training states holds, newest first."""
    return sorted((int(p.stem) for p in states.glob("*.state") if p.stem.isdigit()), reverse=True)


def read_state(path: Path, models: Path) -> dict[str, Any]:
    """Read a training state, and make sure that its checkpoint is complete.

    Args:
        path: The state.
        models: Folder of the networks saved with it.

    Raises:
        CheckpointError: If the state is damaged or not one of this package, or a network's file is missing, damaged or
            of another checkpoint.
    """
    state = read_checkpoint(path)
    if "files" not in state:
        raise CheckpointError(
            f"{path}: not a training state of this package; its networks can be named as path:pretrain_network_g"
        )
    for name, digest in state["files"].items():
        file = models / name
        if not file.is_file():
            raise CheckpointError(f"{path}: its {file} is missing")
        if sha256(file) != digest:
            raise CheckpointError(f"{path}: {file} is damaged, or not the one that was saved with it")
    return state


def newest_state(states: Path, models: Path) -> tuple[Path, dict[str, Any]] | None:
    """The training state of the newest complete checkpoint, passing over others with a warning; None if there is none.

    Args:
        states: Folder of training states.
        models: Folder of networks.
    """
    for iteration in saved_iterations(states):
        path = states / f"{iteration}.state"
        try:
            return path, read_state(path, models)
        except CheckpointError as error:
            logging.getLogger("basicsr").warning(f"Passed over: {error}")
    return None


def remove_old(states: Path, models: Path, keep: int, newest: int) -> None:
    """Remove the files of all checkpoints but the last `keep` up to iteration `newest`, states first.

    Files of iterations after `newest` stay: they are of no checkpoint that this run has made.
    """
    kept = [iteration for iteration in saved_iterations(states) if iteration <= newest][:keep]
    if len(kept) < keep:
        return
    _remove(p for p in states.glob("*.state") if p.stem.isdigit() and int(p.stem) < kept[-1])
    numbered = ((p, p.stem.rpartition("_")[2]) for p in models.glob("net_*_*.pth"))
    _remove(p for p, number in numbered if number.isdigit() and int(number) < kept[-1])


def remove_partial(*folders: Path) -> None:
    """Remove what a run that was killed while it saved has left behind."""
    for folder in folders:
        _remove(folder.glob(f".*{PARTIAL}"))


def _remove(files: Iterable[Path]) -> None:
    for file in list(files):
        file.unlink(missing_ok=True)
