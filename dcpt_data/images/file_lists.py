"""The image files that a command's arguments name, and the paths of its results."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePath

from dcpt_data.errors import DataError
from dcpt_data.images.folders import walk
from dcpt_data.images.pixels import IMAGE_SUFFIXES, list_images

SHOWN = 10  # failures that a message lists in full


@dataclass(frozen=True)
class Job:
    """A file to read and a file to make of it."""

    source: Path
    target: Path


def find_images(arguments: Iterable[str], passed_over: Path) -> dict[Path, PurePath]:
    """The images that files, folders and patterns mean.

    Args:
        arguments: Files; folders, which are searched with all folders in them; patterns with `*`, `**` and `?`.
        passed_over: A folder whose images are left out if it lies below one that is searched: that of the results.

    Returns:
        Each image, and its path below the folder (or below what a pattern has before its first wildcard); the name
        alone of an image that was named itself.

    Raises:
        DataError: If an argument means no image.
    """
    results = _real(passed_over)
    found: dict[Path, PurePath] = {}
    for argument in arguments:
        path = Path(argument).expanduser()
        if path.is_file():
            found[path] = PurePath(path.name)
            continue
        if path.is_dir():
            root, images = path, list_images(path)
        else:
            root = _fixed_part(path)
            images = [image for image in _fitting(path, root) if image.suffix.lower() in IMAGE_SUFFIXES]
            if not images:
                known = ", ".join(sorted(IMAGE_SUFFIXES))
                raise DataError(f"{argument}: no such file or folder, and no pattern that finds images ({known})")
        below = _real(root) != results and results.is_relative_to(_real(root))
        for image in images:
            if not (below and _real(image).is_relative_to(results)):
                found[image] = image.relative_to(root)
    return found


def _real(path: Path) -> Path:
    """Where a path leads to; unlike `Path.resolve`, it says something of links that lead nowhere or to themselves."""
    return Path(os.path.realpath(path))


def _fitting(pattern: Path, root: Path) -> list[Path]:
    """The files that a pattern means, in sorted order; links that lead nowhere are among them, to be named later."""
    if "**" not in pattern.parts:
        found = [Path(name) for name in sorted(glob.glob(str(pattern)))]  # noqa: PTH207 - any path
        return [path for path in found if not path.is_dir()]
    # Python's own `**` goes through a folder again by every link that leads to it.
    wanted = pattern.relative_to(root).parts
    names = sorted(below + name for below, files in walk(root) for name in files if not name.startswith("."))
    return [root / name for name in names if _fits(tuple(name.split("/")), wanted)]


def _fits(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_fits(parts[begin:], pattern[1:]) for begin in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _fits(parts[1:], pattern[1:])


def is_there(path: Path) -> bool:
    """Whether a file exists; one whose name no file can have does not, and says why when it is written."""
    return _identity(path) is not None


def _identity(path: Path) -> tuple[int, int] | None:
    """What a file is known by under all its names; None if it cannot be found."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def _fixed_part(pattern: Path) -> Path:
    """The folders of a pattern that stand before its first wildcard."""
    parts = []
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        parts.append(part)
    return Path(*parts)


def name_targets(found: dict[Path, PurePath], out: Path, suffix: str | None) -> list[Job]:
    """Where the result of each image goes: the same path below `out`, with another suffix if one is asked for.

    Where that would give two images one name, those that change their suffix keep the old one before it: of `a.jpg` and
    `a.png`, `out/a.jpg.png` and `out/a.png` are made.

    Raises:
        DataError: If two results would still have one name, or a result would be an image that is to be read.
    """
    plain = {source: out / (name.with_suffix(suffix) if suffix else name) for source, name in found.items()}
    wanted = Counter(plain.values())
    jobs = []
    for source, name in found.items():
        target = plain[source]
        if suffix and wanted[target] > 1 and name.suffix != suffix:
            target = out / name.with_name(name.name + suffix)
        jobs.append(Job(source, target))
    _refuse_overwriting(jobs)
    return jobs


def _refuse_overwriting(jobs: Sequence[Job]) -> None:
    made: dict[Path, Path] = {}
    read = {_identity(job.source) for job in jobs} - {None}
    for source, target in ((job.source, job.target) for job in jobs):
        if target in made:
            raise DataError(f"{made[target]} and {source} would both become {target}; give the folder that holds them")
        made[target] = source
        if _identity(target) in read:
            raise DataError(f"{target} is among the images to read, and would be overwritten; choose another --out")


def list_failures(failures: Mapping[Path, str], total: int) -> str:
    """A message that lists images that failed, each with its error.

    Args:
        failures: Image -> error, which may begin with the image's path.
        total: Of images that were tried.
    """
    lines = [f"\n  {path}: {error.removeprefix(f'{path}: ')}" for path, error in failures.items()]
    more = f"\n  and {len(lines) - SHOWN} more; --json lists them all" if len(lines) > SHOWN else ""
    return f"{len(lines)} of {total} images failed:{''.join(lines[:SHOWN])}{more}"
