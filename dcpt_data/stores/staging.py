"""Copies LMDBs to a local disk, once for all processes of a node, from a folder or from an object store by fsspec.

A copy grows in `.NAME.partial`, with the checksum of each part beside each file as it was read. An interrupted one is
gone on with. When all is there it is read again and compared, and gets its name. The name has a digest of what the
original's files are (names, sizes, times or tags), so that a changed original is copied anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shutil
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fsspec.core import url_to_fs

from dcpt_common.files import partial_path
from dcpt_data.errors import DataError

CHUNK = 2**24  # bytes that one checksum is of
SUMS = ".sums"  # ends the name of the file of checksums
LEFT_OUT = ("lock.mdb",)  # of whoever writes into an LMDB, which nobody does
CHANGES = ("ETag", "etag", "mtime", "LastModified", "last_modified", "updated", "created")  # tells of a changed file

_staged: dict[tuple[str, str], Path] = {}  # of this process


def is_url(place: str | Path) -> bool:
    """Whether a place is a URL, such as `s3://bucket/set.lmdb`, and not a path."""
    return "://" in str(place)


def stage(place: str | Path, folder: str | Path) -> Path:
    """Copy an LMDB, or a set of shards, to a local folder, unless it is there.

    All processes of a node may call; one copies and the others wait.

    Args:
        place: A path, or a URL that fsspec can read.
        folder: Where copies lie; `~` and variables such as `$TMPDIR` are filled in.

    Returns:
        The copy, `NAME-DIGEST.lmdb`.

    Raises:
        DataError: If there is no such LMDB, it cannot be read, a variable is not set, the disk has too little room, or
            what is written on it is not what was read.
    """
    home = Path(os.path.expandvars(str(folder))).expanduser()
    if "$" in str(home):
        raise DataError(f"io_backend:stage_to: {folder}: a variable in it is not set on this machine")
    key = (str(place), str(home))
    if key in _staged and _staged[key].is_dir():
        return _staged[key]
    files, original = _files_of(str(place))
    copy = home.absolute() / f"{Path(str(place)).stem}-{_digest(str(place), files)}.lmdb"
    try:
        home.mkdir(parents=True, exist_ok=True)
        with _alone(copy):
            if not copy.is_dir():
                _copy_all(original, files, copy)
    except OSError as error:
        raise DataError(
            f"{place}: cannot be staged to {home} ({error.strerror or error}); what is copied so far is kept, and the "
            "same command goes on with it"
        ) from error
    _staged[key] = copy
    return copy


def _files_of(place: str) -> tuple[dict[str, dict[str, Any]], Any]:
    """The files of an LMDB by path within it, with what is known of each; and the file system."""
    try:
        system, root = url_to_fs(place)
        found = system.find(root, detail=True)
    except (ImportError, ValueError) as error:
        raise DataError(f"{place}: fsspec cannot read such places ({error}); install what it names") from error
    except Exception as error:  # of whatever client the store has
        raise DataError(f"{place}: cannot be listed ({error})") from error
    root = root.rstrip("/")
    files = {path[len(root) + 1 :]: info for path, info in sorted(found.items()) if Path(path).name not in LEFT_OUT}
    if not any(name in files for name in ("data.mdb", "shards.json")):
        raise DataError(f"{place}: no such LMDB; `dcpt lmdb` makes one")
    return files, system


def _digest(place: str, files: dict[str, dict[str, Any]]) -> str:
    digest = hashlib.sha256(place.encode())
    for name, info in files.items():
        change = next((info[key] for key in CHANGES if info.get(key)), "")
        digest.update(f"\0{name}\0{info['size']}\0{change}".encode())
    return digest.hexdigest()[:12]


@contextmanager
def _alone(copy: Path) -> Iterator[None]:
    """One process at a time; the kernel releases the lock of a process that is gone."""
    with copy.with_name(f".{copy.name}.lock").open("a") as lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logging.getLogger("basicsr").info(f"Waiting for another process of this node, which makes {copy}")
            fcntl.lockf(lock, fcntl.LOCK_EX)
        yield


def _copy_all(system: Any, files: dict[str, dict[str, Any]], copy: Path) -> None:
    partial = partial_path(copy)
    size = sum(info["size"] for info in files.values())
    there = sum(file.stat().st_size for file in partial.rglob("*") if file.is_file())
    free = shutil.disk_usage(copy.parent).free
    if size - there > free:
        raise DataError(
            f"{copy}: {(size - there) / 1e9:.2f} GB are to be copied and {free / 1e9:.2f} GB are free; make room "
            "(copies of earlier originals lie beside it), or name another disk in io_backend:stage_to"
        )
    logger, begun = logging.getLogger("basicsr"), time.monotonic()
    logger.info(f"Staging {size / 1e9:.2f} GB to {copy}" + (f", of which {there / 1e9:.2f} are there" if there else ""))
    for name, info in files.items():
        target = partial / name
        target.parent.mkdir(parents=True, exist_ok=True)
        _copy(system, info["name"], info["size"], target)
    for name, info in files.items():
        _compare(system, info["name"], partial / name)
    for name in files:
        _sums(partial / name).unlink()
    partial.rename(copy)
    logger.info(f"Staged in {time.monotonic() - begun:.0f} s: {copy}")


def _sums(target: Path) -> Path:
    return target.with_name(target.name + SUMS)


def _read_sums(target: Path) -> list[int]:
    text = _sums(target).read_text() if _sums(target).is_file() else ""
    lines = text.split("\n")[:-1]  # the last one may be cut off
    return [int(line, 16) for line in lines if len(line) == 8]


def _copy(system: Any, source: str, size: int, target: Path) -> None:
    """Copy what is missing of a file, and note the checksum of each part as it was read."""
    known = _read_sums(target)
    whole = min(len(known), (target.stat().st_size if target.is_file() else 0) // CHUNK)
    if target.is_file() and target.stat().st_size == size and len(known) == -(-size // CHUNK):
        return
    known = known[:whole]
    _sums(target).write_text("".join(f"{value:08x}\n" for value in known))
    target.touch()
    with (
        _opened(system, source) as original,
        target.open("r+b") as copy,
        _sums(target).open("a") as sums,
    ):
        copy.truncate(whole * CHUNK)
        for position in range(whole * CHUNK, size, CHUNK):
            data = _part(original, position, source, min(CHUNK, size - position))
            copy.seek(position)
            copy.write(data)
            copy.flush()
            sums.write(f"{zlib.crc32(data):08x}\n")
            sums.flush()
        os.fsync(copy.fileno())


def _compare(system: Any, source: str, target: Path) -> None:
    """Read a copy again; a part that is not as it was read is copied once more.

    Raises:
        DataError: If it is still another.
    """
    with target.open("r+b") as copy:
        for number, value in enumerate(_read_sums(target)):
            data = copy.read(CHUNK)
            if zlib.crc32(data) == value:
                continue
            with _opened(system, source) as original:
                data = _part(original, number * CHUNK, source, len(data))
            copy.seek(number * CHUNK)
            copy.write(data)
            copy.flush()
            copy.seek(number * CHUNK)
            if zlib.crc32(copy.read(CHUNK)) != value or zlib.crc32(data) != value:
                raise DataError(f"{target}: what is read there is not what was written; the disk, or {source}, is bad")


@contextmanager
def _opened(system: Any, source: str) -> Iterator[Any]:
    try:
        with system.open(source, "rb") as file:
            yield file
    except (DataError, OSError):
        raise
    except Exception as error:  # of whatever client the store has
        raise DataError(f"{source}: cannot be read ({error}); the same command goes on with the copy") from error


def _part(file: Any, position: int, source: str, count: int) -> bytes:
    file.seek(position)
    parts: list[bytes] = []
    while missing := count - sum(map(len, parts)):
        data = file.read(missing)
        if not data:
            raise DataError(f"{source}: ends at {position + count - missing:,} bytes; it has become shorter meanwhile")
        parts.append(data)
    return b"".join(parts)
