"""A check that has so many minutes: what it has found is on file after every row, whatever happens then."""

from __future__ import annotations

import gc
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from dcpt_common import to_json, write_atomically
from dcpt_models.runtime.memory import is_out_of_memory
from dcpt_tools.measuring.timing import Floor

Row = dict[str, Any]


class TimeUp(BaseException):
    """The minutes are over; no part of the check may take it for a failure of its own."""


@dataclass
class Session:
    """What all parts of a check share.

    Attributes:
        device: What is checked.
        small: Whether networks and images are small, as for a processor.
        file: Where the record is kept, as JSON.
        record: All that was found, as plain values; `parts` has title -> rows and, for a part that failed, `error`.
        floors: Precision -> what the device reaches at its best, once it is measured.
    """

    device: torch.device
    small: bool
    file: Path
    record: dict[str, Any]
    floors: dict[str, Floor] = field(default_factory=dict)

    @property
    def on_gpu(self) -> bool:
        """Whether the device is one that programs wait for."""
        return self.device.type == "cuda"

    def save(self) -> None:
        """Put the record on file."""
        with write_atomically(self.file) as file:
            file.write_text(to_json(self.record, indent=1) + "\n", encoding="utf-8")


Part = Callable[[Session], Iterator[Row]]


def run_parts(
    session: Session, parts: Mapping[str, Part], minutes: float, report: Callable[[str], None] = lambda line: None
) -> bool:
    """Run the parts in order until the time is up.

    A part that fails does not stop the others; its error is in the record.

    Args:
        session: What they share.
        parts: Title -> part, which yields rows.
        minutes: Of all together.
        report: Called with a line for each part.

    Returns:
        Whether all parts ended within the time.
    """
    begun = time.monotonic()
    record = session.record
    record.update(parts={}, planned=list(parts), minutes=minutes, complete=False)
    try:
        with _alarm(60 * minutes):
            for title, part in parts.items():
                report(f"{title} ({time.monotonic() - begun:.0f} s of {60 * minutes:.0f} s are over)")
                found: dict[str, Any] = {"rows": []}
                record["parts"][title] = found
                try:
                    for row in part(session):
                        found["rows"].append(row)
                        _note(session, begun)
                except Exception as error:
                    found["error"] = f"{type(error).__name__}: {error}"
                    if not is_out_of_memory(error):
                        found["where"] = traceback.format_exc(limit=-3)
                _note(session, begun)
                _free(session.device)
            record["complete"] = True
    except TimeUp:
        report("the time is up")
    _note(session, begun)
    return bool(record["complete"])


def failures(record: Mapping[str, Any]) -> list[str]:
    """What was found to be wrong: rows that say so, and parts that ended with an error."""
    found = []
    for title, part in record["parts"].items():
        found += [f"{title}: {row['what']}" for row in part["rows"] if row.get("ok") is False]
        found += [f"{title}: {part['error']}"] if "error" in part else []
    return found


def _note(session: Session, begun: float) -> None:
    session.record["seconds"] = round(time.monotonic() - begun, 1)
    session.save()


def _free(device: torch.device) -> None:
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise TimeUp after so many seconds."""

    def up(*_: Any) -> None:
        raise TimeUp

    before = signal.signal(signal.SIGALRM, up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
