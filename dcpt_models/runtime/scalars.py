"""The curves of a run: one row for each value in metrics.csv, and TensorBoard events of the same names."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dcpt_common import write_atomically

HEADER = ["iteration", "name", "value"]


class Scalars:
    """Writes values as they come; has the one method of TensorBoard's writer that is used here.

    Args:
        file: The CSV file, appended to.
        writer: TensorBoard's writer, or None.
    """

    def __init__(self, file: Path, writer: Any = None) -> None:
        fresh = not file.exists()
        self._stream = file.open("a", newline="", encoding="utf-8", buffering=1)
        self._rows = csv.writer(self._stream, lineterminator="\n")
        self._writer = writer
        if fresh:
            self._rows.writerow(HEADER)

    def add_scalar(self, name: str, value: float, iteration: int) -> None:
        """Write a value."""
        self._rows.writerow([iteration, name, repr(float(value))])
        if self._writer:
            self._writer.add_scalar(name, value, iteration)

    def close(self) -> None:
        """Finish writing."""
        self._stream.close()
        if self._writer:
            self._writer.close()


def keep_lines(file: Path, keep: Callable[[str], bool]) -> None:
    """Remove from a text file, if there is one, the lines that a resumed run will write again."""
    if not file.exists():
        return
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if line.endswith("\n") and keep(line)]  # the last one may be half written
    if kept == lines:
        return
    with write_atomically(file) as unfinished:
        unfinished.write_text("".join(kept), encoding="utf-8")
