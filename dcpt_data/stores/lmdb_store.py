"""Reads images from LMDBs: those of this package, and those that BasicSR made."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dcpt_data.errors import DataError
from dcpt_data.images import png
from dcpt_data.images.pixels import EncodedImage, Window
from dcpt_data.stores.folder_store import Picture
from dcpt_data.stores.lmdb_environment import LmdbFile
from dcpt_data.stores.lmdb_format import ROW, Entries, Form, Metadata, Side, key_of, read_index, read_metadata
from dcpt_data.stores.lmdb_shards import Shards, is_sharded, read_shards, read_shards_metadata
from dcpt_data.stores.name_table import NameTable, refuse_paths

ENGINE_INDEX = "meta_info.txt"  # lies beside data.mdb where BasicSR made the LMDB, or is to read it
LARGEST = 2**31 - 1  # pixels of a side
_ENGINE_LINE = re.compile(r"(?P<name>.+?\.\w+) \((?P<height>\d+),(?P<width>\d+),\d+\) \d+")


class LmdbStore:
    """One side of an LMDB.

    Args:
        file: The LMDB.
        side: "gt" or "lq".
        sides: How many sides it has.
        form: How its images are stored.
        entries: The index of the side.
        checked: Whether the index has sizes and checksums of the records; BasicSR's has not.
    """

    def __init__(
        self, file: LmdbFile, side: Side, sides: int, form: Form, entries: Entries, checked: bool = True
    ) -> None:
        self.file, self.side, self.sides = file, side, sides
        self.root = str(Path(file.path, side)) if sides > 1 else file.path
        self.form, self.names, self.rows, self.checked = form, entries.names, entries.rows, checked

    def __len__(self) -> int:
        return len(self.names)

    def place(self, index: int) -> str:
        return str(Path(self.root, self.names[index]))

    def shape(self, index: int) -> tuple[int, int]:
        """Height and width of an image, from the index."""
        return int(self.rows["height"][index]), int(self.rows["width"][index])

    def picture(self, index: int) -> Picture:
        return StoredImage(self, index) if self.form == "raw" else self.encoded(index)

    def encoded(self, index: int) -> EncodedImage:
        if self.form == "raw":
            raise DataError(f"{self.place(index)}: raw pixels have no file of their own; choose --form png")
        with self.record(index) as buffer:
            return EncodedImage(bytes(buffer), self.place(index))

    def stamp(self, index: int) -> tuple[int, int]:
        if self.checked:
            return int(self.rows["size"][index]), int(self.rows["checksum"][index])
        with self.record(index) as buffer:
            return len(buffer), zlib.crc32(buffer)

    def file_of(self, index: int) -> LmdbFile:
        """The LMDB that an image is in."""
        return self.file

    @contextmanager
    def record(self, index: int) -> Iterator[bytes | memoryview]:
        """The bytes of an image in the memory map, valid within the `with`.

        Raises:
            DataError: If the record is missing or has another size than the index says.
        """
        key = key_of(self.names[index], self.side, self.sides)
        file = self.file_of(index)
        with file.transaction() as transaction:
            buffer = transaction.get(key)
            if buffer is None:
                raise DataError(f"{file.path}: record '{_shown(key)}' is missing; copy the LMDB or make it again")
            size = int(self.rows["size"][index])
            if self.checked and len(buffer) != size:
                raise DataError(
                    f"{file.path}: record '{_shown(key)}' is truncated: it has {len(buffer):,} of {size:,} "
                    "bytes; copy the LMDB or make it again"
                )
            yield buffer

    def check(self, index: int) -> None:
        """Read an image whole and compare it with the index.

        Raises:
            DataError: If anything about it is not as it was written.
        """
        with self.record(index) as buffer:
            if self.checked and zlib.crc32(buffer) != self.rows["checksum"][index]:
                raise DataError(
                    f"{self.file_of(index).path}: record '{self._key(index)}' is damaged: its checksum differs"
                )
        if self.form == "raw":
            return
        pixels = self.encoded(index).pixels()
        found, expected, place = pixels.shape[:2], self.shape(index), self.file_of(index).path
        if found != expected or (self.checked and pixels.itemsize != self.rows["depth"][index]):
            raise DataError(
                f"{place}: record '{self._key(index)}' is an image of {found[1]}x{found[0]} pixels and "
                f"{8 * pixels.itemsize} bit, not as the index says ({expected[1]}x{expected[0]})"
            )

    def _key(self, index: int) -> str:
        return _shown(key_of(self.names[index], self.side, self.sides))


class ShardedStore(LmdbStore):
    """One side of a set of shards.

    Args:
        path: Of the set.
        shards: The set.
        side: Which side.
    """

    def __init__(self, path: str | Path, shards: Shards, side: Side) -> None:
        sides = len(shards.index.sides)
        super().__init__(shards.files[0], side, sides, shards.metadata.form, shards.index.sides[side])
        self.root = str(Path(path, side) if sides > 1 else path)
        self.files, self.ends = shards.files, shards.ends[side]

    def file_of(self, index: int) -> LmdbFile:
        return self.files[int(np.searchsorted(self.ends, index, side="right"))]


class StoredImage:
    """An image of raw pixels. A window is copied out of the memory map row by row; the rest is not touched."""

    def __init__(self, store: LmdbStore, index: int) -> None:
        self.store, self.index = store, index

    @property
    def shape(self) -> tuple[int, int]:
        return self.store.shape(self.index)

    def pixels(self, window: Window | None = None) -> np.ndarray:
        top, left, height, width = window or Window(0, 0, *self.shape)
        kind = np.dtype("<u2" if self.store.rows["depth"][self.index] == 2 else "u1")
        with self.store.record(self.index) as buffer:
            image = np.frombuffer(buffer, kind).reshape(*self.shape, 3)
            return image[top : top + height, left : left + width].copy()


def _shown(key: bytes) -> str:
    return key.decode("utf-8", "backslashreplace")


# Opening


@dataclass(frozen=True)
class LmdbContents:
    """An opened LMDB.

    Attributes:
        metadata: What it is; None for one that BasicSR made.
        sides: The images of each side.
        partners: For each degraded image the number of its ground truth; None without pairs.
    """

    metadata: Metadata | None
    sides: dict[Side, LmdbStore]
    partners: np.ndarray | None = None

    def side(self, wanted: Side) -> LmdbStore:
        """The images of a side; the only ones there are where an LMDB has one side."""
        return self.sides[wanted] if len(self.sides) > 1 else next(iter(self.sides.values()))


def peek_metadata(path: str | Path) -> Metadata | None:
    """What an LMDB is, without opening its index; None for one that this package did not make.

    Raises:
        DataError: See `open_lmdb`.
    """
    if is_sharded(path):
        return read_shards_metadata(path)
    file = LmdbFile.at(path)
    with file.transaction() as transaction:
        return read_metadata(transaction, file.path)


def open_lmdb(path: str | Path) -> LmdbContents:
    """Open an LMDB of this package, a set of shards, or one that BasicSR made.

    Raises:
        DataError: If there is none, it is cut off or damaged, of another version, or of another maker.
    """
    if is_sharded(path):
        shards = read_shards(path)
        sides = {side: ShardedStore(path, shards, side) for side in shards.index.sides}
        return LmdbContents(shards.metadata, dict(sides), shards.index.partners)
    file = LmdbFile.at(path)
    with file.transaction() as transaction:
        metadata = read_metadata(transaction, file.path)
        if metadata is not None:
            index = read_index(transaction, file.path, metadata)
            stores = {
                side: LmdbStore(file, side, len(index.sides), metadata.form, entries)
                for side, entries in index.sides.items()
            }
            return LmdbContents(metadata, stores, index.partners)
    if not Path(path, ENGINE_INDEX).is_file():
        raise DataError(_describe_foreign(file))
    return LmdbContents(None, {"gt": LmdbStore(file, "gt", 1, "png", _engine_entries(file), checked=False)})


def _engine_entries(file: LmdbFile) -> Entries:
    try:
        text = Path(file.path, ENGINE_INDEX).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise DataError(f"{file.path}/{ENGINE_INDEX}: cannot be read ({error.strerror})") from error
    names, shapes = [], []
    for number, line in enumerate(text.splitlines(), 1):
        match = _ENGINE_LINE.fullmatch(line)
        sizes = [int(match[side][:12]) for side in ("height", "width")] if match else []
        if match is None or not all(0 < size <= LARGEST for size in sizes):
            raise DataError(
                f"{file.path}/{ENGINE_INDEX}, line {number}: {line[:80]!r} is not `name.png (H,W,C) level`; make the "
                "LMDB again"
            )
        names.append(match["name"])
        shapes.append((*sizes, 0, 0, 0))
    if not names:
        raise DataError(f"{file.path}/{ENGINE_INDEX}: names no image; make the LMDB again")
    table = NameTable.of(names)
    refuse_paths(table, f"{file.path}/{ENGINE_INDEX}")
    return Entries(table, np.array(shapes, ROW))


def _describe_foreign(file: LmdbFile) -> str:
    """A message that says what an LMDB of another maker holds."""
    with file.transaction() as transaction:
        count = transaction.stat()["entries"]
        first = next(iter(transaction.cursor()), None)
        if first is None:
            what = "it is empty"
        else:
            key, value = (bytes(part[:64]) for part in first)
            kinds = {png.SIGNATURE: "a PNG file", b"\xff\xd8\xff": "a JPEG file", b"RIFF": "a WebP file"}
            kind = next((kind for mark, kind in kinds.items() if value.startswith(mark)), f"no image ({value[:16]!r})")
            what = f"{count:,} records, of which the first, {key!r}, is {kind}"
    return (
        f"{file.path}: an LMDB of another maker ({what}). Those of `dcpt lmdb` and of BasicSR (with "
        f"{ENGINE_INDEX}) can be read; write its images to a folder and make one with `dcpt lmdb`"
    )
