"""The format of this package's LMDBs: images, their index, and metadata.

An LMDB holds the images of one data set, of one side (`gt`, or `lq` where BasicSR is to read it) or of two. An image's
key is its name without suffix, after `lq/` or `gt/` where there are two sides. All are stored in one form:

* `raw`: pixels, H x W x 3, RGB, uint8 or uint16 (little-endian), row by row;
* `png`: a PNG file of these pixels;
* `original`: the bytes of the image's own file.

Two more records begin with a zero byte, which no file name has: the metadata, in JSON, and the index, tables in NumPy's
npz format, which open in milliseconds where 72,135 lines of text would take seconds.
"""

from __future__ import annotations

import dataclasses
import io
import json
from dataclasses import dataclass
from typing import Any, Literal, get_args

import lmdb
import numpy as np

from dcpt_data.errors import DataError
from dcpt_data.images.pixels import stem
from dcpt_data.sources.pairing import Rule
from dcpt_data.stores.name_table import NameTable, refuse_paths

FORMAT, VERSION = "dcpt", 1
METADATA, INDEX = b"\0metadata", b"\0index"
BEGUN, DONE = b"\0begun", b"\0done/%08d"  # what was begun, and how far it is: see lmdb_writer
LONGEST_KEY = 511  # bytes; LMDB's own limit

Form = Literal["raw", "png", "original"]
FORMS: tuple[Form, ...] = get_args(Form)
Side = Literal["lq", "gt"]
SIDES: tuple[Side, ...] = get_args(Side)

ROW = np.dtype(
    [
        ("height", "<u4"),  # pixels
        ("width", "<u4"),
        ("depth", "u1"),  # bytes of one value of one pixel, 1 or 2
        ("size", "<u8"),  # bytes of the record
        ("checksum", "<u4"),  # CRC-32 of the record
    ]
)


@dataclass(frozen=True)
class Metadata:
    """What a whole data set is.

    Attributes:
        form: How its images are stored.
        images: Number of images of each side.
        degradation: The class label; None if its maker named none.
        pairing: The rule by which images were paired; None without pairs.
        source: The data set's name in sources.yml; None for one's own images.
        about: The data set in words.
        stand_in: Whether it was made from a stand-in of `dcpt synthesize`, not from what was published.
    """

    form: Form
    images: dict[Side, int]
    degradation: str | None = None
    pairing: Rule | None = None
    source: str | None = None
    about: str = "your own images"
    stand_in: bool = False


@dataclass(frozen=True)
class Entries:
    """The images of one side: names with suffix as the files had them, and an array of `ROW` as long."""

    names: NameTable
    rows: np.ndarray


@dataclass(frozen=True)
class Index:
    """The images of each side, and for each degraded one the number of its ground truth (None without pairs)."""

    sides: dict[Side, Entries]
    partners: np.ndarray | None = None


def key_of(name: str, side: Side, sides: int) -> bytes:
    """The key of an image in an LMDB of one or two sides.

    Raises:
        DataError: If the name is too long for one.
    """
    key = (f"{side}/{stem(name)}" if sides > 1 else stem(name)).encode("utf-8", "surrogateescape")
    if len(key) > LONGEST_KEY:
        raise DataError(f"'{name}' is longer than the {LONGEST_KEY} bytes that a key of an LMDB may have; rename it")
    return key


def write_records(transaction: lmdb.Transaction, metadata: Metadata, index: Index) -> None:
    """Put both records; with them an LMDB is complete."""
    transaction.put(INDEX, index_to_bytes(index))
    transaction.put(METADATA, json.dumps(metadata_to_record(metadata)).encode())


def metadata_to_record(metadata: Metadata) -> dict[str, Any]:
    """Metadata as plain values, with format and version."""
    return {"format": FORMAT, "version": VERSION, **dataclasses.asdict(metadata)}


def index_to_bytes(index: Index) -> bytes:
    """An index as a file of NumPy."""
    arrays: dict[str, np.ndarray] = {}
    for side, entries in index.sides.items():
        text = np.frombuffer(entries.names.text, np.uint8)
        arrays |= {f"{side}_text": text, f"{side}_ends": entries.names.ends, f"{side}_rows": entries.rows}
    if index.partners is not None:
        arrays["partners"] = index.partners
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]  # taken for the option that comes before them
    return file.getvalue()


def read_metadata(transaction: lmdb.Transaction, path: str) -> Metadata | None:
    """The metadata; None if there are none, as in LMDBs of other makers.

    Raises:
        DataError: If the LMDB is not complete, of another version, or its metadata are damaged.
    """
    data = transaction.get(METADATA)
    if data is None:
        if transaction.get(BEGUN) is not None:
            raise DataError(f"{path}: is not complete; give the command that began it again")
        return None
    try:
        record = json.loads(bytes(data))
    except ValueError as error:
        raise DataError(f"{path}: its metadata are damaged ({error}); copy it again, or make it again") from error
    return metadata_from_record(record, path)


def metadata_from_record(record: Any, path: str) -> Metadata | None:
    """Metadata from what `metadata_to_record` has made; None if it is of another maker.

    Raises:
        DataError: If it is damaged, or of another version.
    """
    try:
        if record.pop("format") != FORMAT:
            return None
        version = record.pop("version")
        if version == VERSION:
            return _sound(Metadata(**record))
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: its metadata are damaged ({error}); copy it again, or make it again") from error
    raise DataError(
        f"{path}: its format has version {version}, and this package reads version {VERSION}; make it again with "
        "`dcpt lmdb`, or install the version of the package that made it"
    )


def _sound(metadata: Metadata) -> Metadata:
    """Metadata, if each value is of its kind.

    Raises:
        ValueError: Saying which is not.
    """
    images, pairing = metadata.images, metadata.pairing
    counts = images.values() if isinstance(images, dict) else ()
    rule = pairing.items() if isinstance(pairing, dict) else [(str(pairing), pairing)]
    sound = {
        "form": metadata.form in FORMS,
        "images": bool(counts) and set(images) <= set(SIDES) and all(type(n) is int and n >= 0 for n in counts),
        "degradation": isinstance(metadata.degradation, str | None),
        "pairing": pairing is None or all(isinstance(each, str) for pair in rule for each in pair),
        "source": isinstance(metadata.source, str | None),
        "about": isinstance(metadata.about, str),
        "stand_in": isinstance(metadata.stand_in, bool),
    }
    wrong = next((name for name, right in sound.items() if not right), None)
    if wrong:
        raise ValueError(f"'{wrong}' is {getattr(metadata, wrong)!r:.60}")
    return metadata


def read_index(transaction: lmdb.Transaction, path: str, metadata: Metadata) -> Index:
    """The index.

    Raises:
        DataError: If it is missing or damaged, or a name in it leads out of a folder.
    """
    data = transaction.get(INDEX)
    if data is None:
        raise DataError(f"{path}: its index is missing; copy it again, or make it again")
    return index_from_bytes(data, path, metadata)


def index_from_bytes(data: bytes | memoryview, path: str, metadata: Metadata) -> Index:
    """The index of a file of NumPy.

    Raises:
        DataError: See `read_index`.
    """
    try:
        with np.load(io.BytesIO(data)) as file:
            arrays = {name: file[name] for name in file.files}
        sides: dict[Side, Entries] = {}
        for side in SIDES:
            if f"{side}_rows" in arrays:
                names = NameTable(arrays[f"{side}_text"].tobytes(), arrays[f"{side}_ends"])
                sides[side] = Entries(names, arrays[f"{side}_rows"])
                _refuse_unsound_names(side, sides[side])
                refuse_paths(names, path)
        index = Index(sides, arrays.get("partners"))
        _refuse_unsound(index, metadata)
    except DataError:
        raise
    except Exception as error:  # NumPy and zipfile raise nearly anything at damaged files: ValueError, zlib.error
        raise DataError(f"{path}: its index is damaged ({error}); copy it again, or make it again") from error
    return index


def _refuse_unsound_names(side: Side, entries: Entries) -> None:
    """Refuse a table of names whose ends are no places in its text, one after the other.

    Raises:
        ValueError: Saying so.
    """
    text, ends = entries.names.text, entries.names.ends
    if ends.dtype.kind not in "iu" or ends.ndim != 1:
        raise ValueError(f"'{side}' has names of another kind")
    if len(ends) and (int(ends[-1]) != len(text) or int(ends[0]) < 1 or bool((ends[1:] <= ends[:-1]).any())):
        raise ValueError(f"the names of '{side}' end at other places than they should")


def _refuse_unsound(index: Index, metadata: Metadata) -> None:
    """Refuse numbers in an index that lead nowhere, or to bytes that are no image of that size.

    Raises:
        ValueError: Saying which.
    """
    found = {side: len(entries.rows) for side, entries in index.sides.items() if entries.rows.ndim == 1}
    if found != metadata.images:
        raise ValueError(f"it has {found} images, and there are {metadata.images}")
    for side, entries in index.sides.items():
        rows = entries.rows
        if rows.dtype != ROW or rows.shape != entries.names.ends.shape:
            raise ValueError(f"'{side}' has sizes of another kind")
        pixels = rows["height"].astype(np.uint64) * rows["width"] * 3 * rows["depth"]
        if not (pixels.all() and (rows["depth"] <= 2).all()):
            raise ValueError(f"an image of '{side}' has no pixels, or is of another depth than 8 or 16 bit")
        if metadata.form == "raw" and bool((pixels != rows["size"]).any()):
            raise ValueError(f"an image of '{side}' has another number of bytes than of pixels")
    partners = index.partners
    if partners is None:
        return
    if len(index.sides) < 2 or partners.dtype.kind not in "iu" or partners.shape != index.sides["lq"].rows.shape:
        raise ValueError("its pairs are not those of its degraded images")
    if bool((partners >= len(index.sides["gt"].rows)).any() or (partners < 0).any()):
        raise ValueError("a degraded image belongs to a ground truth that is not there")
