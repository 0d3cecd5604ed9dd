"""Verification of LMDBs: every image is read and compared with the index."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

from dcpt_data.errors import DataError
from dcpt_data.stores.lmdb_format import Side
from dcpt_data.stores.lmdb_store import LmdbStore, open_lmdb
from dcpt_data.workers.parallel import each


class Item(NamedTuple):
    """An image to check: its side, and its number there."""

    side: Side
    number: int


def verify_lmdb(
    path: str | Path, workers: int | None = None, report: Callable[[int, int], None] = lambda done, total: None
) -> tuple[int, list[str]]:
    """Compare every image with the index: it must be there, whole, unchanged, and decode to the size stated.

    Args:
        path: The LMDB, of this package or of BasicSR, which has no checksums.
        workers: Processes; by default as many as there are cores.
        report: Called with how many images of how many are checked.

    Returns:
        How many images there are, and a message for each bad one.

    Raises:
        DataError: If the LMDB cannot be opened at all.
    """
    sides = open_lmdb(path).sides
    items = [Item(side, number) for side, store in sides.items() for number in range(len(store))]
    problems = []
    report(0, len(items))
    try:
        with each(_problem, (sides,), items, 16, workers) as found:
            for done, problem in enumerate(found, 1):
                if problem:
                    problems.append(problem)
                report(done, len(items))
    except BrokenProcessPool as error:
        raise DataError(f"{path}: reading it ended a process; the disk may be failing, see the system's log") from error
    return len(items), problems


def _problem(sides: dict[Side, LmdbStore], item: Item) -> str:
    try:
        sides[item.side].check(item.number)
    except DataError as error:
        return str(error)
    return ""
