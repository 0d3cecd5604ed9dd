"""A server of the page, in a process of its own, on a free port."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from commands import Commands, Started, free_port


@dataclass(frozen=True)
class Server:
    """One that serves."""

    started: Started
    port: int

    @property
    def address(self) -> str:
        """Where."""
        return f"http://127.0.0.1:{self.port}/"


@contextmanager
def serve(
    commands: Commands, folder: Path, *words: str, environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Start one, and end it in any case."""
    port = free_port()
    started = commands.start(
        "tools/app.py", "--no-browser", "--port", port, *words, cwd=folder, environment=environment
    )
    try:
        started.wait_for("Serving on", 180)
        yield Server(started, port)
    finally:
        with suppress(ProcessLookupError):
            started.send(9, everywhere=True)
