"""A data set in several LMDBs, shards, that are read as one by an index of all.

A folder `NAME.lmdb` that holds, instead of `data.mdb`, the shards `00000.lmdb`, `00001.lmdb`, ..., each an LMDB as
`lmdb_format` describes; `index.npz`, the index of all images in order; and, written last, `shards.json`: the metadata,
and of each side after how many images each shard ends. To open the set, the shards themselves are not read.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dcpt_common import write_atomically
from dcpt_data.errors import DataError
from dcpt_data.stores.lmdb_environment import LmdbFile
from dcpt_data.stores.lmdb_format import (
    Entries,
    Index,
    Metadata,
    Side,
    index_from_bytes,
    index_to_bytes,
    metadata_from_record,
    metadata_to_record,
    read_index,
    read_metadata,
)
from dcpt_data.stores.name_table import NameTable

SHARDS, ALL = "shards.json", "index.npz"


@dataclass(frozen=True)
class Shards:
    """An opened set of shards.

    Attributes:
        metadata: What the whole is.
        index: Of all images.
        files: The shards.
        ends: Of each side, the number of images up to the end of each shard.
    """

    metadata: Metadata
    index: Index
    files: list[LmdbFile]
    ends: dict[Side, np.ndarray]


def is_sharded(path: str | Path) -> bool:
    """Whether a folder is a complete set of shards."""
    return Path(path, SHARDS).is_file()


def write_shards(folder: Path, names: list[str]) -> None:
    """Make LMDBs in a folder one set, in this order.

    Args:
        folder: Where they lie.
        names: Theirs; all are of one form and of the same sides.

    Raises:
        DataError: If one cannot be read, or is of another form or other sides than the first.
        OSError: If the index cannot be written.
    """
    metadata: list[Metadata] = []
    parts: list[Index] = []
    for name in names:
        file = LmdbFile.at(folder / name)
        with file.transaction() as transaction:
            found = read_metadata(transaction, file.path)
            if found is None:
                raise DataError(f"{file.path}: not an LMDB of this package; make it by `dcpt lmdb`")
            metadata.append(found)
            parts.append(read_index(transaction, file.path, found))
    first = metadata[0]
    for name, other, part in zip(names, metadata, parts, strict=True):
        if (other.form, list(part.sides)) != (first.form, list(parts[0].sides)):
            raise DataError(f"{folder / name}: stored as {other.form}, {', '.join(part.sides)}; not as {names[0]} is")
    sides = {side: _joined([part.sides[side] for part in parts]) for side in parts[0].sides}
    counts = {side: [len(part.sides[side].rows) for part in parts] for side in sides}
    partners = None
    if parts[0].partners is not None:
        begins = np.cumsum([0, *counts["gt"][:-1]])
        with_offsets = (
            part.partners + begin for part, begin in zip(parts, begins, strict=True) if part.partners is not None
        )
        partners = np.concatenate(list(with_offsets)).astype("<u4")
    whole = dataclasses.replace(first, images={side: len(entries.rows) for side, entries in sides.items()})
    with write_atomically(folder / ALL, durable=True) as partial:
        partial.write_bytes(index_to_bytes(Index(sides, partners)))
    record = {
        **metadata_to_record(whole),
        "shards": names,
        "ends": {side: np.cumsum(each).tolist() for side, each in counts.items()},
    }
    with write_atomically(folder / SHARDS, durable=True) as partial:
        partial.write_text(json.dumps(record), encoding="utf-8")


def _joined(parts: list[Entries]) -> Entries:
    begins = np.cumsum([0, *(len(part.names.text) for part in parts[:-1])])
    ends = np.concatenate([part.names.ends + begin for part, begin in zip(parts, begins, strict=True)])
    names = NameTable(b"".join(part.names.text for part in parts), ends)
    return Entries(names, np.concatenate([part.rows for part in parts]))


def read_shards(path: str | Path) -> Shards:
    """Open a set of shards.

    Raises:
        DataError: If a file of it is missing or damaged.
    """
    metadata, record = _read_record(path)
    try:
        data = Path(path, ALL).read_bytes()
    except OSError as error:
        raise DataError(f"{path}: its {ALL} cannot be read ({error.strerror}); copy the whole folder again") from error
    index = index_from_bytes(data, str(path), metadata)
    files = [LmdbFile.at(Path(path, name)) for name in record["shards"]]
    ends = {side: np.array(record["ends"][side], np.int64) for side in index.sides}
    if any(len(each) != len(files) or each[-1] != len(index.sides[side].rows) for side, each in ends.items()):
        raise DataError(f"{path}: {SHARDS} and {ALL} are of two sets; copy the whole folder again")
    return Shards(metadata, index, files, ends)


def read_shards_metadata(path: str | Path) -> Metadata:
    """What a set of shards is, without its index.

    Raises:
        DataError: See `read_shards`.
    """
    return _read_record(path)[0]


def _read_record(path: str | Path) -> tuple[Metadata, dict]:
    try:
        record = json.loads(Path(path, SHARDS).read_text(encoding="utf-8"))
        own = {key: record.pop(key) for key in ("shards", "ends")}
        if not own["shards"] or any(Path(name).name != name for name in own["shards"]):
            raise ValueError("'shards' are no names of folders in it")
        if not all(type(end) is int for side in record["images"] for end in own["ends"][side]):
            raise ValueError("'ends' are no numbers")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: its {SHARDS} is damaged ({error}); copy it again, or make it again") from error
    metadata = metadata_from_record(record, str(path))
    if metadata is None:
        raise DataError(f"{path}: its {SHARDS} is of another maker; make the shards by `dcpt lmdb --shards`")
    return metadata, own
