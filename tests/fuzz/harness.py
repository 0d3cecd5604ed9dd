"""Tries generated inputs one by one: the outcome of each, and what is wrong with it. Tests and tools/fuzz.py use it.

The property is the same for every family of inputs: a right result, or one clear line and a non-zero exit; never a
traceback, a hang, or a file outside of its folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60  # after which an input has hung
LONGEST = 2000  # characters of a message
_WRITES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "shutil.move"}


class Fault(AssertionError):  # noqa: N818 - it is a finding
    """What was wrong with the outcome of an input. The first word of the message names its kind."""


class Hang(Fault):
    """An input that was not done in time."""


@dataclass(frozen=True)
class Family:
    """A kind of input.

    Attributes:
        name: Its name.
        cases: The strategy that draws inputs.
        check: Tries one in an empty folder; returns a word for the outcome ("right", "refused", ...), raises anything
            for a fault.
        prepare: Makes what all inputs share, before any is tried.
    """

    name: str
    cases: Callable[[], SearchStrategy[Any]]
    check: Callable[[Any, Path], str]
    prepare: Callable[[], Any] = lambda: None


@dataclass(frozen=True)
class Finding:
    """A fault.

    Attributes:
        kind: What it has in common with others of its kind: the error, and where in this package it arose.
        text: The end of the traceback.
        case: The input, in words.
    """

    kind: str
    text: str
    case: str


def refusal_is_clear(message: str, name: str | None = None) -> None:
    """Make sure that an error message is of use: short, in text, with the name of what it is about.

    Raises:
        Fault: If it is not.
    """
    length = len(message.replace(name, "") if name else message)  # a folder may be as deep as it likes
    if len(message.strip()) < 12 or length > LONGEST:
        raise Fault(f"message of {len(message)} characters: {message[:200]!r}")
    if "Traceback (most recent" in message:
        raise Fault(f"message with a traceback: {message[:200]!r}")
    if re.fullmatch(r"\W*('[^']*'|[\d, ()\[\]]+)\W*", message):
        raise Fault(f"message says nothing: {message!r}")
    if name is not None and name not in message:
        raise Fault(f"message does not name {name!r}: {message[:300]!r}")


class _Watch:
    """Notes files that are written outside of a folder. Python never forgets such a hook, so there is one."""

    def __init__(self) -> None:
        self.inside: str | None = None
        self.outside: list[str] = []
        self.installed = False

    def install(self) -> None:
        if not self.installed:
            sys.addaudithook(self.hook)
            self.installed = True

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.inside is None:
            return
        if event == "open":
            path, mode, flags = arguments
            writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) if isinstance(flags, int) else "w" in str(mode)
            paths = [path] if writes else []
        else:
            paths = list(arguments[:2]) if event in _WRITES else []
        for path in paths:
            if isinstance(path, (str, bytes)) and not self._allowed(os.fsdecode(path)):
                self.outside.append(f"{event} {os.fsdecode(path)}")

    def _allowed(self, path: str) -> bool:
        if path.startswith(("/dev/", "/proc/")) or path.endswith(".pyc") or "__pycache__" in path:
            return True
        whole = os.path.abspath(path)  # noqa: PTH100 - no link is followed, nothing is looked up
        return whole == self.inside or whole.startswith(f"{self.inside}{os.sep}")


_watch = _Watch()


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Run a block in a folder, to which all that it writes must go, for at most `SECONDS`.

    Raises:
        Fault: If it wrote elsewhere.
        Hang: If it was not done in time.
    """
    before, names = Path.cwd(), {path.name for path in folder.parent.iterdir()}
    _watch.install()
    _watch.outside.clear()

    def late(number: int, frame: Any) -> None:
        raise Hang(f"hang: {SECONDS} s")

    handler = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, SECONDS, 1)  # again and again: where it arose first, it may have been ignored
    os.chdir(folder)
    _watch.inside = str(folder)
    try:
        yield
    finally:
        _watch.inside = None
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        os.chdir(before)
    new = {path.name for path in folder.parent.iterdir()} - names  # what C code has written beside the folder
    if _watch.outside or new:
        raise Fault(f"outside: wrote {sorted({*_watch.outside, *new})[:5]}")


def try_one(family: Family, case: Any, folder: Path) -> tuple[str, Finding | None]:
    """Try one input in an empty folder below `folder`.

    Returns:
        The outcome in a word, and the fault if there was one.
    """
    place = folder / "a" / "b"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    try:
        with inside(place), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return family.check(case, place), None
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        return "fault", Finding(_kind(error), "".join(traceback.format_exception(error)[-6:]), describe(case))


def describe(case: Any) -> str:
    """An input in words, not too many of them."""
    text = repr(case)
    return text if len(text) < 1500 else f"{text[:1200]} ... {text[-300:]}"


def _kind(error: BaseException) -> str:
    name = type(error).__name__
    if isinstance(error, Fault):
        text = re.sub(r"/\S+/", "", str(error))  # folders, which are others every time
        return f"{name}: {re.sub(r'[0-9]+|0x[0-9a-f]+', '#', text)[:60]}"
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "/dcpt_" in f.filename or "/fuzz/" in f.filename]
    last = ours[-1] if ours else frames[-1]
    return f"{name} in {Path(last.filename).name}:{last.name}: {last.line}"


def block(
    family: Family, count: int, number: int, folder: Path, seen: Callable[[Any, str, Finding | None], None]
) -> None:
    """Draw inputs and try them.

    Args:
        family: Of which kind.
        count: How many.
        number: The seed: the same inputs for the same number.
        folder: Where they may write.
        seen: Is told each input, its outcome, and its fault.
    """
    family.prepare()
    _draw_by_the_seed_alone()

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(family.cases())
    def tried(case: Any) -> None:
        seen(case, *try_one(family, case, folder))

    tried()


def _draw_by_the_seed_alone() -> None:
    """Keep Hypothesis from drawing constants that stand in the modules loaded so far.

    Which ones are loaded differs between processes, and what stands in them changes with every mend.
    """
    with contextlib.suppress(ImportError):  # older versions draw none
        from hypothesis.internal.conjecture import providers

        providers.is_local_module_file = lambda path: False


def seed_of(family: str, base: int, index: int) -> int:
    """The seed of a block of inputs."""
    return int.from_bytes(hashlib.sha256(f"{family}/{base}/{index}".encode()).digest()[:4], "big")
