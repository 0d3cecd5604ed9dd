"""Digests of files, and files that are written completely or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".partial"
"""Ends the name of a file or folder that is not complete."""


def partial_path(path: Path) -> Path:
    """The name beside `path` of a file or folder that is made in several calls, until it is complete."""
    return path.with_name(f".{path.name}{PARTIAL}")


def sha256(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while part := opened.read(2**20):
            digest.update(part)
    return digest.hexdigest()


@contextmanager
def write_atomically(path: str | Path, durable: bool = False, suffix: str = "") -> Iterator[Path]:
    """Write a file so that under its name it is always complete.

    Args:
        path: The file to write or to replace.
        durable: Whether the file must outlast a loss of power from the moment that it has its name.
        suffix: What the name of the unfinished file ends with, for writers that tell the format by it.

    Yields:
        A file beside it to write to. It becomes `path` if the block ends well; otherwise it
        is removed, and what stood under the name before is still there.

    Raises:
        OSError: If it cannot be written.
    """
    path = Path(path)
    # Several processes may write one file. Names have at most 255 bytes, and a character up to four.
    partial = path.with_name(f".{path.stem[:40]}.{os.getpid()}{PARTIAL}{suffix}")
    try:
        yield partial
        if durable:
            _flush(partial)
        partial.replace(path)
        if durable:
            _flush(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
