"""Which files in a watched folder are complete and new; `dcpt restore --watch` asks every second."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dcpt_data.images.file_lists import Job

Stamp = tuple[int, int]


class Watch:
    """Remembers what it has seen. A file is ready once it did not change between two looks, and once for each content.

    Attributes:
        seconds: Between two looks.
    """

    seconds = 1.0

    def __init__(self) -> None:
        self._before: dict[Path, Stamp] = {}
        self._given: dict[Path, Stamp] = {}

    def ready(self, jobs: Sequence[Job]) -> list[Job]:
        """Of the files that are there now, those to work on."""
        now = {job.source: stamp for job in jobs if (stamp := _stamp(job.source)) is not None}
        ready = [job for job in jobs if self._is_ready(job.source, now)]
        self._given |= {job.source: now[job.source] for job in ready}
        self._before = now
        return ready

    def _is_ready(self, file: Path, now: dict[Path, Stamp]) -> bool:
        stamp = now.get(file)
        return stamp is not None and self._before.get(file) == stamp and self._given.get(file) != stamp


def _stamp(file: Path) -> Stamp | None:
    """Size and time of the last change; None of a file that has gone, or is still empty."""
    try:
        status = file.stat()
    except OSError:
        return None
    return (status.st_size, status.st_mtime_ns) if status.st_size else None
