"""LMDB environments opened for reading: one a file and process, at its first use there."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import lmdb

from dcpt_common import partial_path
from dcpt_data.errors import DataError

# A file must not be opened twice in a process. Threads read through one environment, in transactions of their own.
_opened: dict[LmdbFile, lmdb.Environment] = {}
_opening = threading.Lock()


@dataclass(frozen=True)
class LmdbFile:
    """An LMDB on disk: a folder that holds `data.mdb`. It may be pickled and used in any process.

    Attributes:
        path: The folder.
        device: Of `data.mdb`.
        inode: Of `data.mdb`, by which it is known: paths that lead to one file share its environment, and a file that
            was replaced is not mistaken for the one whose index was read.
    """

    path: str
    device: int
    inode: int

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LmdbFile) and (self.device, self.inode) == (other.device, other.inode)

    def __hash__(self) -> int:
        return hash((self.device, self.inode))

    @classmethod
    def at(cls, path: str | Path) -> LmdbFile:
        """The LMDB of a folder.

        Raises:
            DataError: If there is none.
        """
        data = Path(path, "data.mdb")
        if Path(path).is_file():
            raise DataError(f"{path}: a file; the LMDBs that can be read are folders that hold data.mdb")
        if not data.is_file():
            there = "no data.mdb in this folder" if Path(path).is_dir() else "no such LMDB"
            how = "`dcpt lmdb` makes one"
            if partial_path(Path(path)).is_dir():
                how = "it was begun, and the same command completes it"
            raise DataError(f"{path}: {there}; {how}")
        status = data.stat()
        return cls(str(path), status.st_dev, status.st_ino)

    @contextmanager
    def transaction(self) -> Iterator[lmdb.Transaction]:
        """A view of the file in which `get` gives buffers of the memory map, valid as long as the transaction.

        Raises:
            DataError: If the file cannot be opened or read.
        """
        environment = _opened.get(self) or self._open()
        try:
            with environment.begin(buffers=True) as transaction:
                yield transaction
        except lmdb.Error as error:
            raise DataError(f"{self.path}: cannot be read ({error}); copy it again, or make it again") from error

    def _open(self) -> lmdb.Environment:
        with _opening:
            if self in _opened:  # by another thread meanwhile
                return _opened[self]
            if LmdbFile.at(self.path) != self:
                raise DataError(f"{self.path}: was replaced since it was opened first; start again")
            try:
                # Nobody writes to a finished LMDB: nothing needs a lock, and its folder may be read-only. The rows of a
                # crop are a span of some hundred kB. From a disk, reading ahead was 30 times as fast as row by row.
                environment = lmdb.open(self.path, readonly=True, lock=False, readahead=True, create=False)
            except lmdb.Error as error:
                hint = (
                    "; it is read by BasicSR itself too, or was damaged before: start again"
                    if "already open" in str(error)
                    else ""
                )
                raise DataError(f"{self.path}: not an LMDB that can be opened ({error}){hint}") from error
            needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
            found = Path(self.path, "data.mdb").stat().st_size
            if found < needed:
                # To look beyond the end of a mapped file would end the process silently.
                environment.close()
                raise DataError(f"{self.path}: truncated to {found:,} of {needed:,} bytes; copy it or make it again")
            _opened[self] = environment
            return environment


def _begin_anew() -> None:
    """In a process that was just forked: its parent's environments are not its own; it opens them again on demand."""
    global _opening
    _opening = threading.Lock()
    for environment in _opened.values():
        environment.close()
    _opened.clear()


os.register_at_fork(after_in_child=_begin_anew)
