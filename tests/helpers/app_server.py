"""A server of the page, in a process of its own, on a free port."""

from __future__ import annotations

from collections.abc import Iterator
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
def serve(commands: Commands, folder: Path, *words: str) -> Iterator[Server]:
    """Start one whose files are below `folder`/temporary, and end it in any case."""
    port, temporary = free_port(), folder / "temporary"
    temporary.mkdir()
    words = ("--no-browser", "--port", str(port), *words)
    started = commands.start("tools/app.py", *words, cwd=folder, environment={"TMPDIR": str(temporary)})
    try:
        started.wait_for("Serving on", 180)
        yield Server(started, port)
    finally:
        with suppress(ProcessLookupError):
            started.send(9, everywhere=True)
