"""A walk through folders that follows links and visits each folder once; used by `pixels.list_names`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def walk(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Visit a folder and all in it, hidden ones aside, and then those that links lead to.

    A folder that several links lead to, or that lies within itself by a link, is visited once: under its own path if
    that is below `folder`, otherwise by the link whose path is shortest, of equals the first in alphabetical order.

    Yields:
        The path below `folder`, "" or ending with a slash, and the names of its files.
    """
    visited: set[tuple[int, int]] = set()
    waiting = [str(folder)]
    while waiting:
        links: list[str] = []
        for start in waiting:
            for home, inner, files in os.walk(start):
                if not _is_new(home, visited):
                    inner.clear()
                    continue
                shown = sorted(name for name in inner if not name.startswith("."))
                linked = {name for name in shown if os.path.islink(os.path.join(home, name))}  # noqa: PTH114, PTH118
                links += [os.path.join(home, name) for name in shown if name in linked]  # noqa: PTH118 - 10x
                inner[:] = [name for name in shown if name not in linked]
                below = "" if home == str(folder) else Path(home).relative_to(folder).as_posix() + "/"
                yield below, files
        waiting = sorted(links, key=lambda path: (path.count(os.sep), path))


def _is_new(folder: str, visited: set[tuple[int, int]]) -> bool:
    try:
        status = os.stat(folder)  # noqa: PTH116 - called for every folder
    except OSError:  # removed meanwhile
        return False
    known = (status.st_dev, status.st_ino)
    new = known not in visited
    visited.add(known)
    return new
