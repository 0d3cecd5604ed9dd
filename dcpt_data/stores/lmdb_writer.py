"""Writes an LMDB in committed steps, in a temporary folder that gets its name once the LMDB is complete."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import lmdb
import numpy as np

from dcpt_data.errors import DataError
from dcpt_data.stores.lmdb_format import BEGUN, DONE, METADATA, ROW, VERSION, Index, Metadata, write_records

MAP_SIZE = 2**30  # bytes to begin with; the map doubles whenever it is full

# What is remembered of each committed image until the index is written: whose it is, and the file's stamp.
DONE_ROW = np.dtype([("side", "u1"), ("position", "<u4"), ("row", ROW), ("stamp", "<i8", 2)])


class LmdbWriter:
    """Writes an LMDB in the folder `.NAME.lmdb.partial`; use `open_writer`.

    Args:
        partial: The folder.
        lock: An open file on which this process holds the lock.
        digest: Tells one set of images from another: what was begun with another digest is not resumed.
        map_size: Bytes of the map to begin with.

    Raises:
        DataError: If the folder was begun with another digest, or by another version.
    """

    def __init__(self, partial: Path, lock: IO[str], digest: str, map_size: int) -> None:
        self.partial, self.lock = partial, lock
        with _saying_what_failed(partial):
            self.environment = lmdb.open(str(partial), map_size=map_size, readahead=False)
        try:
            self._begin(json.dumps({"version": VERSION, "digest": digest}).encode())
        except BaseException:
            self.environment.close()
            raise

    def _begin(self, begun: bytes) -> None:
        with _saying_what_failed(self.partial), self.environment.begin() as transaction:
            found, self.complete = transaction.get(BEGUN), transaction.get(METADATA) is not None
        if found is None:
            self._write([(BEGUN, begun)])
        elif found != begun:
            raise DataError(
                f"{self.partial}: was begun with other images, in another form or by another version of the package; "
                "remove this folder to begin anew"
            )
        self.batches = len(self._done_keys())

    def done(self) -> np.ndarray:
        """What is committed, an array of `DONE_ROW`."""
        with self.environment.begin() as transaction:
            content = b"".join(bytes(transaction.get(key, b"")) for key in self._done_keys())
        return np.frombuffer(content, DONE_ROW)

    def commit(self, records: Sequence[tuple[bytes, bytes]], rows: np.ndarray) -> None:
        """Write images and remember them: all of them or, if the disk is full or the process killed, none.

        Args:
            records: Keys and contents.
            rows: What is to be remembered, an array of `DONE_ROW`.

        Raises:
            DataError: If they cannot be written; what was committed before is not touched.
        """
        self._write([*records, (DONE % self.batches, rows.tobytes())])
        self.batches += 1

    def finish(self, metadata: Metadata, index: Index) -> None:
        """Write the metadata and the index, and forget what was only remembered for them."""
        done = self._done_keys()

        def write(transaction: lmdb.Transaction) -> None:
            for key in done:
                transaction.delete(key)
            write_records(transaction, metadata, index)

        self._transact(write)
        self.complete = True

    def publish(self, out: Path) -> None:
        """Give the complete LMDB its name."""
        self.environment.close()
        Path(self.lock.name).unlink()
        self.partial.rename(out)

    def _done_keys(self) -> list[bytes]:
        prefix = DONE.partition(b"%")[0]
        keys = []
        with self.environment.begin() as transaction, transaction.cursor() as cursor:
            found = cursor.set_range(prefix)
            while found and cursor.key().startswith(prefix):
                keys.append(cursor.key())
                found = cursor.next()
        return keys

    def _write(self, records: Sequence[tuple[bytes, bytes]]) -> None:
        def write(transaction: lmdb.Transaction) -> None:
            for key, content in records:
                transaction.put(key, content)

        self._transact(write)

    def _transact(self, write: Callable[[lmdb.Transaction], None]) -> None:
        """Run a transaction, again with a larger map if it does not fit."""
        with _saying_what_failed(self.partial):
            while True:
                try:
                    with self.environment.begin(write=True) as transaction:
                        write(transaction)
                    return
                except lmdb.MapFullError:
                    self.environment.set_mapsize(2 * self.environment.info()["map_size"])


@contextmanager
def _saying_what_failed(partial: Path) -> Iterator[None]:
    try:
        yield
    except lmdb.Error as error:
        raise DataError(
            f"{partial}: cannot be written ({error}); is the disk full, or a quota reached? What was committed is "
            "kept: make room and run the same command again"
        ) from error


@contextmanager
def open_writer(partial: Path, digest: str, map_size: int = MAP_SIZE) -> Iterator[LmdbWriter]:
    """Begin an LMDB, or resume one that was interrupted.

    Args:
        partial: Its folder while it is not complete.
        digest: See `LmdbWriter`.
        map_size: Bytes of the map to begin with.

    Raises:
        DataError: If another process is writing to it, or it was begun with another digest.
    """
    partial.mkdir(parents=True, exist_ok=True)
    with (partial / "writing").open("w", encoding="utf-8") as lock:
        try:
            fcntl.lockf(
                lock, fcntl.LOCK_EX | fcntl.LOCK_NB
            )  # the kernel lifts it when the process ends, however it does
        except OSError as error:
            raise DataError(f"{partial}: another process is writing to it; wait for that, or end it") from error
        writer = LmdbWriter(partial, lock, digest, map_size)
        try:
            yield writer
        finally:
            writer.environment.close()
