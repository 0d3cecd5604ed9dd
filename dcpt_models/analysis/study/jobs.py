"""Runs the commands of a study in parallel, in the order of their dependencies; stops them cleanly and resumes them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from dcpt_common import partial_path
from dcpt_models.errors import OptionError, RunError
from dcpt_models.options.changes import differences
from dcpt_models.options.files import dump_options, read_options
from dcpt_models.runtime.command import DONE, INTERRUPTED
from dcpt_models.runtime.signals import stop_on_signals

TIMES = "times.jsonl"
PAUSE = 0.2  # seconds between two looks at what runs
SHOWN = 12  # lines of a log, or changes, in a message


@dataclass(frozen=True)
class Job:
    """A command.

    Attributes:
        name: A path below the common folder: its log is NAME.log, its record NAME.yml.
        command: Of `dcpt`.
        arguments: Of the command, which runs in the common folder.
        makes: The file that is there once it is done, relative to the common folder.
        record: All that its outcome depends on, as plain values.
        after: Names of jobs that must be done before.
        prints: Whether `makes` is what it prints on standard output.
        repeatable: Whether it is done anew if its record has changed, which is an error otherwise.
    """

    name: str
    command: str
    arguments: tuple[str, ...]
    makes: Path
    record: dict[str, Any]
    after: tuple[str, ...] = ()
    prints: bool = False
    repeatable: bool = False

    def is_done(self, folder: Path) -> bool:
        """Whether it was done before, in the common folder."""
        return (folder / self.makes).exists()


class Process(Protocol):
    """What runs a job."""

    def poll(self) -> int | None:
        """The exit code, None while it runs."""

    def wait(self) -> int:
        """The exit code, once it has ended."""

    def send_signal(self, number: int, /) -> None:
        """Send it a signal."""


Start = Callable[[Job, Path], Process]


def starter(words: Sequence[str], threads: int | None = None) -> Start:
    """What starts jobs as processes of their own, which a terminal's Ctrl-C does not reach.

    Args:
        words: What the command and its arguments stand behind: those that run `dcpt`.
        threads: Of each process; none for its own choice.
    """
    # Threads that wait for each other busily would take the cores from the job beside.
    given = {} if threads is None else {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive"}

    def start(job: Job, folder: Path) -> Process:
        command = [*words, job.command, *job.arguments]
        output = _printed(job, folder) if job.prints else os.devnull
        with log_file(job, folder).open("ab") as log, Path(output).open("wb") as out:
            return subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, **given},
                stdin=subprocess.DEVNULL,
                stdout=out if job.prints else log,
                stderr=log,
                start_new_session=True,
            )

    return start


def log_file(job: Job, folder: Path) -> Path:
    """What a job says on standard error, and on standard output unless that is what it makes."""
    return folder / f"{job.name}.log"


def _printed(job: Job, folder: Path) -> Path:
    return partial_path(folder / job.makes)


def _record_file(job: Job, folder: Path) -> Path:
    return folder / f"{job.name}.yml"


def settle(jobs: Sequence[Job], folder: Path, change: bool = True) -> None:
    """See to it that what was begun in a folder is what is to be done now.

    Args:
        jobs: All that is to be done. The outcome of repeatable ones is removed if their record has changed.
        folder: The common folder.
        change: Whether anything is removed.

    Raises:
        OptionError: Naming what was begun with other options, and what has changed.
    """
    changed: list[Job] = []
    lines: list[str] = []
    for job in jobs:
        file = _record_file(job, folder)
        if not file.exists():
            continue
        found = differences(read_options(file).values, json.loads(json.dumps(job.record)))
        if found and job.repeatable:
            if change:
                (folder / job.makes).unlink(missing_ok=True)
        elif found:
            changed.append(job)
            lines += [f"{':'.join(path)}: {old} -> {new}" for path, old, new in found]
    if changed:
        shown = list(dict.fromkeys(lines))
        more = [f"and {len(shown) - SHOWN} more"] if len(shown) > SHOWN else []
        names = ", ".join(job.name for job in changed)
        raise OptionError(
            f"{folder} was begun with other options. Choose another --out, or remove there what is to be done anew, "
            f"with its .yml: {names}. What has changed:\n  " + "\n  ".join([*shown[:SHOWN], *more])
        )


def run_jobs(
    jobs: Sequence[Job],
    folder: Path,
    start: Start,
    limit: int = 1,
    report: Callable[[str], None] = lambda line: None,
    until: float | None = None,
) -> bool:
    """Do what is not done yet, in the order given as far as nothing has to wait for something else.

    Args:
        jobs: All of them.
        folder: Where they run, and all their files lie.
        start: See `starter`.
        limit: How many run at a time.
        report: Called with a line for each that starts or ends.
        until: When to stop what runs, as `time.monotonic` counts; none for never.

    Returns:
        Whether all are done.

    Raises:
        RunError: If one fails. Those that run besides are stopped first.
        KeyboardInterrupt: On Ctrl-C and SIGTERM. What runs has been stopped, as the signal would have stopped it alone.
    """
    waiting = {job.name: job for job in jobs if not job.is_done(folder)}
    total, skipped = len(jobs), len(jobs) - len(waiting)
    if skipped:
        report(f"{skipped} of {total} were done before")
    running: dict[str, tuple[Job, Process, float]] = {}
    done = skipped
    try:
        with stop_on_signals() as stop:
            while waiting or running:
                for job in list(waiting.values()):
                    ready = not any(name in waiting or name in running for name in job.after)
                    if ready and len(running) < limit and not stop.made:
                        report(f"{job.name} starts; its log is {log_file(job, folder)}")
                        _prepare(job, folder)
                        running[job.name] = (waiting.pop(job.name), start(job, folder), time.monotonic())
                for job, process, begun in list(running.values()):
                    if (code := process.poll()) is not None:
                        del running[job.name]
                        seconds = _note(job, folder, begun, code)
                        _finish(job, folder, code)
                        done += 1
                        report(f"{job.name} is done after {seconds:.0f} s; {done} of {total}")
                if stop.made:
                    report("stopping what runs; the same command resumes from there")
                    raise KeyboardInterrupt
                if until is not None and time.monotonic() > until and (waiting or running):
                    return False
                if running:
                    time.sleep(PAUSE)
    finally:
        _stop(list(running.values()), folder)
    return True


def _prepare(job: Job, folder: Path) -> None:
    file = _record_file(job, folder)
    file.parent.mkdir(parents=True, exist_ok=True)
    dump_options(job.record, file, f"What {job.name} depends on; written when it was started.")


def _note(job: Job, folder: Path, begun: float, code: int) -> float:
    """Put on file how long a process has run; returns it in seconds."""
    seconds = time.monotonic() - begun
    with (folder / TIMES).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"job": job.name, "seconds": round(seconds, 2), "code": code}) + "\n")
    return seconds


def _finish(job: Job, folder: Path, code: int) -> None:
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code == DONE and job.prints:
        _printed(job, folder).replace(folder / job.makes)
    if code != DONE or not job.is_done(folder):
        log = log_file(job, folder)
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
        end = "\n  ".join(lines[-SHOWN:])
        raise RunError(
            f"{job.name} ended with exit code {code}. Fix the cause and give the same command again to resume it. "
            f"The end of {log}:\n  {end}"
        )


def _stop(running: Sequence[tuple[Job, Process, float]], folder: Path) -> None:
    for _, process, _ in running:
        process.send_signal(signal.SIGTERM)
    for job, process, begun in running:
        code = process.wait()
        _note(job, folder, begun, code)


def seconds_of(folder: Path) -> dict[str, float]:
    """Job -> seconds that its processes have run, those that were interrupted included."""
    file = folder / TIMES
    result: dict[str, float] = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        entry = json.loads(line)
        result[entry["job"]] = result.get(entry["job"], 0.0) + entry["seconds"]
    return result
