"""Commands as a user types them, run by a fork server; see fork_server.py."""

from __future__ import annotations

import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        port: int = tried.getsockname()[1]
    return port


def in_this_process(script: str, monkeypatch: pytest.MonkeyPatch, folder: Path, *arguments: Any) -> int:
    """Run `tools/SCRIPT` in a folder; returns its exit code. A process of its own would take seconds to start."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "tools" / script), run_name="__main__")
    return int(ended.value.code or 0)


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


class Started:
    """A command that is running."""

    def __init__(self, commands: Commands, pid: int, output: Path) -> None:
        self.commands, self.pid, self.output = commands, pid, output

    def read(self) -> str:
        """What it has written to standard error so far."""
        file = self.output.with_name(f"{self.output.name}.err")
        return file.read_text() if file.exists() else ""

    def wait_for(self, text: str, seconds: float = 60) -> None:
        """Wait until it has written a text to standard error."""
        end = time.monotonic() + seconds
        while text not in self.read():
            assert time.monotonic() < end, f"{text!r} did not come:\n{self.read()}"
            time.sleep(0.005)

    def send(self, number: int, everywhere: bool = False) -> None:
        """Send a signal, to it alone or, as a terminal does, to all processes that it has started too."""
        (os.killpg if everywhere else os.kill)(self.pid, number)

    def wait(self, seconds: float = 120) -> Done:
        """Wait until it has ended."""
        status = self.commands.ask({"wait": self.pid, "seconds": seconds})
        if status is None:
            self.send(signal.SIGKILL, everywhere=True)
            raise TimeoutError(f"it still ran after {seconds} s:\n{self.read()}")
        texts = [self.output.with_name(f"{self.output.name}.{name}").read_text() for name in ("out", "err")]
        return Done(status, *texts)


class Commands:
    """Starts commands. The server starts with the first one."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        self.server = subprocess.Popen(
            [sys.executable, str(ROOT / "tests" / "helpers" / "fork_server.py")],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, request: dict[str, Any]) -> Any:
        """Send a request to the server and wait for its answer."""
        assert self.server.stdin
        assert self.server.stdout
        self.server.stdin.write(json.dumps(request) + "\n")
        self.server.stdin.flush()
        return json.loads(self.server.stdout.readline())

    def start(
        self,
        script: str,
        *arguments: Any,
        cwd: Path,
        environment: Mapping[str, str] | None = None,
        file_limit: int = 0,
        die_at: int = 0,
    ) -> Started:
        """Start a command.

        Args:
            script: Relative to the repository.
            arguments: Its arguments.
            cwd: Where.
            environment: Further variables.
            file_limit: Largest size of a file in bytes, as a disk quota would set it; 0 for none.
            die_at: At which moment of saving it is killed; see `fork_server.die_while_saving`. 0 for never.
        """
        self.count += 1
        output = self.folder / str(self.count)
        pid = self.ask(
            {
                "script": str(ROOT / script),
                "arguments": [str(argument) for argument in arguments],
                "cwd": str(cwd),
                "output": str(output),
                "environment": dict(environment or {}),
                "file_limit": file_limit,
                "die_at": die_at,
            }
        )
        return Started(self, pid, output)

    def start_two(self, file: Path, *flags: str) -> list[Started]:
        """Start training from an option file on two processes, as torchrun does."""
        return self.start_pair("basicsr/train.py", "-opt", file, "--launcher", "pytorch", *flags, cwd=file.parent)

    def start_pair(self, script: str, *arguments: Any, cwd: Path, processes: int = 2) -> list[Started]:
        """Start a command on two processes, or on so many, as torchrun does."""
        common = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        return [
            self.start(script, *arguments, cwd=cwd, environment={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)})
            for rank in range(processes)
        ]

    def run(self, script: str, *arguments: Any, cwd: Path, **options: Any) -> Done:
        """Run a command to its end; see `start`."""
        return self.start(script, *arguments, cwd=cwd, **options).wait()

    def close(self) -> None:
        """End the server."""
        assert self.server.stdin
        self.server.stdin.close()
        self.server.wait(60)
