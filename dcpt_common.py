"""What every package of this project uses: help with names, ranges of numbers, digests, JSON, files that are whole."""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import json
import math
import os
import pkgutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

CLEAN = "clean"
"""The class of photographs that have no degradation."""
JOIN = "+"
"""Between the names of degradations that one image has."""
PARTIAL = ".partial"
"""Ends the name of a file or folder that is not complete."""


class MissingEngineError(ImportError):
    """BasicSR is not installed; the message says how it is."""


def wait_briefly() -> None:
    """Let the threads of PyTorch's OpenMP (libgomp) sleep soon when they wait; call it before torch is imported.

    By default they wait by computing, for so long that beside other programs most of the time is spent waiting for
    threads that have no core (docs/TRAINING.md). What the user has set stays.
    """
    if not any(name in os.environ for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")):
        os.environ["GOMP_SPINCOUNT"] = "10000"


@dataclass(frozen=True)
class Range:
    """Which values a number may have, stated where it is declared: `grad_clip: Annotated[float, Range(above=0)]`.

    Attributes:
        least: The least value.
        most: The largest value.
        above: What it must be above.
        below: What it must be below.
    """

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None

    def refusal(self, value: Any) -> str | None:
        """What is wrong with a value; None if it is in the range, or is no number at all."""
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            return None
        bounds = (
            (self.least is None or value >= self.least, f"{self.least} or more"),
            (self.above is None or value > self.above, f"above {self.above}"),
            (self.most is None or value <= self.most, f"{self.most} or less"),
            (self.below is None or value < self.below, f"below {self.below}"),
        )
        wanted = (
            "a finite number" if not math.isfinite(value) else next((text for met, text in bounds if not met), None)
        )
        return f"must be {wanted}, not {value}" if wanted else None


Count = Annotated[int, Range(least=1)]
"""A whole number of things that there must be."""
Natural = Annotated[int, Range(least=0)]
"""A whole number of things that there may be."""
Positive = Annotated[float, Range(above=0)]
"""What has no effect, or no meaning, at 0."""
NotNegative = Annotated[float, Range(least=0)]
"""What is switched off at 0."""
Seed = Annotated[int, Range(least=0, most=2**32 - 1)]
"""A seed, from which others are computed that must fit 64 bits."""


def to_json(record: Any, indent: int | None = None) -> str:
    """A record as JSON, in one line by default; NaN and infinity, which JSON does not have, become null."""
    return json.dumps(_finite(record), allow_nan=False, indent=indent)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def closest(name: str, known: Iterable[str]) -> str | None:
    """The one of `known` that `name` most likely means, whatever its case, or None when none is near."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    matches = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return by_lower[matches[0]] if matches else None


def nearest(name: str, known: Iterable[str], limit: int = 16) -> str:
    """The end of a message about an unknown name.

    Args:
        name: The name that is not known.
        known: The names that are.
        limit: How many of those to list at most.

    Returns:
        `; did you mean 'x'?`, or `; known: a, b, c` when none is near, or nothing when nothing is known.
    """
    names = [str(other) for other in known]
    if (match := closest(str(name), names)) is not None:
        return f"; did you mean {match!r}?"
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"; known: {', '.join(names[:limit])}{more}" if names else ""


def sha256(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while part := opened.read(2**20):
            digest.update(part)
    return digest.hexdigest()


@contextmanager
def write_atomically(path: str | Path, durable: bool = False, suffix: str = "") -> Iterator[Path]:
    """Write a file that nobody ever sees half written.

    Args:
        path: The file to write or to replace.
        durable: Whether the file must outlast a loss of power from the moment that it has its name.
        suffix: What the name of the unfinished file ends with, for writers that tell the format by it.

    Yields:
        A file beside it to write to. It becomes `path` if the block ends well; otherwise it
        is removed, and what stood under the name before is still there.

    Raises:
        OSError: If it cannot be written.
    """
    path = Path(path)
    # Several processes may write one file. Names have at most 255 bytes, and a character up to four.
    partial = path.with_name(f".{path.stem[:40]}.{os.getpid()}{PARTIAL}{suffix}")
    try:
        yield partial
        if durable:
            _flush(partial)
        partial.replace(path)
        if durable:
            _flush(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def import_extension(name: str) -> ModuleType:
    """Import a file `*.py` or an installed module, so that what it registers is known.

    Raises:
        ImportError: If there is no such file or module; what its code raises is passed on.
    """
    if not name.endswith(".py"):
        return importlib.import_module(name)
    file = Path(name).expanduser().absolute()
    known = sys.modules.get(file.stem)
    if known is not None and getattr(known, "__file__", None) == str(file):
        return known
    if not file.is_file():
        raise ImportError(f"{file}: no such file")
    if known is not None or importlib.util.find_spec(file.stem) is not None:
        raise ImportError(f"{file}: there is a module {file.stem} already; give the file another name")
    specification = importlib.util.spec_from_file_location(file.stem, file)
    assert specification is not None and specification.loader is not None  # it is a Python file
    module = importlib.util.module_from_spec(specification)
    sys.modules[file.stem] = module
    try:
        specification.loader.exec_module(module)
    except BaseException:
        del sys.modules[file.stem]
        raise
    return module


def import_modules(package: ModuleType) -> list[ModuleType]:
    """Import every module of a package's folder, so that what they register is registered by their being there."""
    names = sorted(found.name for found in pkgutil.iter_modules(package.__path__))
    return [importlib.import_module(f"{package.__name__}.{name}") for name in names]
