"""Writing checkpoints so that a file under its final name is always whole, and finding the newest of a run."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import torch

from dcpt_arch.checkpoints import CheckpointError, read_checkpoint


def save_atomically(content: Any, path: Path) -> None:
    """`torch.save` to a temporary file, flush it to disk, rename it.

    Raises:
        OSError: If it cannot be written (a full disk, say); whatever stood under the name before is still there.
    """
    temporary = path.with_name(f".{path.name}.partial")
    try:
        with temporary.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, RuntimeError) as error:
        temporary.unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise OSError(f"{path}: checkpoint not written ({reason}); earlier ones are intact") from error


def saved_iterations(folder: Path) -> list[int]:
    """Iterations that a folder of training states holds, newest first."""
    return sorted((int(p.stem) for p in folder.glob("*.state") if p.stem.isdigit()), reverse=True)


def newest_state(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The newest training state that can be read, passing over damaged ones with a warning; None if there is none."""
    for iteration in saved_iterations(folder):
        path = folder / f"{iteration}.state"
        try:
            return path, read_checkpoint(path)
        except CheckpointError as error:
            logging.getLogger("basicsr").warning(f"Passed over: {error}")
    return None
