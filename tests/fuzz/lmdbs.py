"""LMDBs: of this package in each form and of BasicSR, with records and indices changed, cut, removed and exchanged.

What is read must be the pixels that were stored. Bytes of raw pixels that were changed are found by the check, which
compares checksums; reading alone does not (docs/LMDB.md).
"""

from __future__ import annotations

import io
import itertools
import json
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
from harness import Family, Fault, refusal_is_clear
from hypothesis import strategies as st
from lmdb_data import make, make_for_basicsr, section, write_pairs

from dcpt_data import DataError, DegradationDataset
from dcpt_data.images.pixels import Window
from dcpt_data.stores.lmdb_format import FORMS, INDEX, METADATA
from dcpt_data.stores.lmdb_store import ENGINE_INDEX, open_lmdb, peek_metadata

SIDES = ("lq", "gt")
NUMBERS = itertools.count()
KINDS = [*FORMS, "engine"]
WILD: list[Any] = [None, True, -1, 0, 1, 10**12, 1.5, "", "raw", "x", "../x", [], [1], {}, {"gt": 1}, {"x": 2}, "dcpt"]


@dataclass(frozen=True)
class LmdbCase:
    """An LMDB.

    Attributes:
        kind: How its images are stored, or "engine" for one of BasicSR.
        changes: What is changed: of which record, and how.
    """

    kind: str
    changes: tuple[tuple[Any, ...], ...]


@cache
def images() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "a": rng.integers(0, 256, (9, 12, 3), np.uint8),
        "b/c.d": rng.integers(0, 65536, (7, 5, 3), np.uint16),
        "e": rng.integers(0, 256, (1, 1, 3), np.uint8),
    }


@cache
def base(kind: str) -> Path:
    """An LMDB of each kind, to be copied."""
    folder = Path(tempfile.mkdtemp(prefix="lmdbs"))
    pairs = write_pairs(folder / "pairs", images())
    if kind == "engine":
        path = make_for_basicsr(pairs, folder / "engine.lmdb")[0]
        with lmdb.open(str(path), map_size=2**22) as environment, environment.begin(write=True) as transaction:
            for key in [bytes(key) for key, _ in transaction.cursor() if bytes(key).startswith(b"\0")]:
                transaction.delete(key)  # what this package has added
        return path
    return make(pairs, folder / f"{kind}.lmdb", kind)


@st.composite
def cases(draw: Any) -> LmdbCase:
    kind = draw(st.sampled_from(KINDS))
    return LmdbCase(kind, tuple(draw(_changes(kind)) for _ in range(draw(st.sampled_from([0, 1, 1, 1, 1, 2])))))


@st.composite
def _changes(draw: Any, kind: str) -> tuple[Any, ...]:
    what = draw(st.sampled_from(["record", "record", "index", "index", "file", "metadata", "metadata"]))
    if what == "record":
        how = draw(st.sampled_from(["cut", "flip", "swap", "remove", "longer", "empty", "other"]))
        return what, draw(st.integers(0, 5)), how, draw(st.integers(0, 10**6)), draw(st.integers(1, 255))
    if what == "metadata" and kind != "engine":
        how = draw(st.sampled_from(["value", "value", "value", "bytes", "remove", "key"]))
        key = draw(
            st.sampled_from(["format", "version", "form", "images", "degradation", "pairing", "source", "stand_in"])
        )
        return what, how, key, draw(st.sampled_from(range(len(WILD)))), draw(st.integers(0, 200))
    if what == "index" and kind != "engine":
        name = draw(st.sampled_from(["text", "ends", "rows", "partners"]))
        how = draw(st.sampled_from(["type", "cut", "value", "value", "shape", "drop", "bytes", "pickle", "remove"]))
        return what, draw(st.sampled_from(SIDES)), name, how, draw(st.integers(0, 30)), draw(st.integers(0, 255))
    if kind == "engine" and what in ("index", "metadata"):
        line = draw(
            st.sampled_from(
                [
                    *("a.png (9,12,3) 1", "../a.png (9,12,3) 1", "a.png (0,0,3) 1", "a.png (99999999999,12,3) 1", ""),
                    *("a.png", "zz.png (9,12,3) 1", "a.png (9,12,3) 1\na.png (9,12,3) 1", "\udce9.png (9,12,3) 1"),
                    "/a.png (1,1,3) 1",
                ]
            )
        )
        return "lines", line, draw(st.sampled_from(["utf-8", "latin-1", "utf-16"])), draw(st.booleans())
    return (
        "file",
        draw(st.sampled_from(["cut", "no index", "folder", "empty", "missing"])),
        draw(st.integers(0, 100)),
        0,
    )


def _apply(path: Path, change: tuple[Any, ...]) -> None:
    what, *rest = change
    if what == "lines":
        line, encoding, alone = rest
        file = path / ENGINE_INDEX
        text = ("" if alone else file.read_text(encoding="utf-8")) + line
        file.write_bytes(text.encode(encoding, "replace" if encoding != "utf-8" else "surrogateescape"))
        return
    if what == "file":
        how, share, _ = rest
        data = path / "data.mdb"
        if how == "cut":
            data.write_bytes(data.read_bytes()[: data.stat().st_size * share // 100])
        elif how == "empty":
            data.write_bytes(b"")
        elif how == "missing":
            data.unlink()
        elif how == "folder":
            data.unlink()
            data.mkdir()
        else:
            (path / ENGINE_INDEX).unlink(missing_ok=True)
        return
    with lmdb.open(str(path), map_size=2**22, lock=False) as environment, environment.begin(write=True) as transaction:
        if what == "record":
            _change_record(transaction, *rest)
        elif what == "metadata":
            _change_metadata(transaction, *rest)
        else:
            _change_index(transaction, *rest)


def _change_record(transaction: lmdb.Transaction, number: int, how: str, place: int, value: int) -> None:
    keys = [bytes(key) for key, _ in transaction.cursor() if not bytes(key).startswith(b"\0")]
    if not keys:
        return
    key = keys[number % len(keys)]
    data = bytearray(transaction.get(key))
    place %= max(1, len(data))
    if how == "remove":
        transaction.delete(key)
        return
    if how == "cut":
        del data[place:]
    elif how == "flip" and data:
        data[place] ^= value
    elif how == "swap":
        data = bytearray(transaction.get(keys[(number + 1) % len(keys)]))
    elif how == "longer":
        data += bytes([value]) * 3
    elif how == "empty":
        data = bytearray()
    else:
        data = bytearray(b"no image")
    transaction.put(key, bytes(data))


def _change_metadata(transaction: lmdb.Transaction, how: str, key: str, wild: int, place: int) -> None:
    data = transaction.get(METADATA)
    if data is None:
        return
    record = json.loads(bytes(data))
    if how == "remove":
        transaction.delete(METADATA)
        return
    if how == "value":
        record[key] = WILD[wild]
    elif how == "key":
        record[f"{key}x"] = record.pop(key, None)
    text = json.dumps(record).encode()
    if how == "bytes":
        text = text[:place] + b"\xff{" + text[place:]
    transaction.put(METADATA, text)


def _change_index(transaction: lmdb.Transaction, side: str, name: str, how: str, place: int, value: int) -> None:
    data = transaction.get(INDEX)
    if data is None:
        return
    if how == "remove":
        transaction.delete(INDEX)
        return
    if how == "bytes":
        spoilt = bytearray(data)
        spoilt[place * len(spoilt) // 31] ^= value or 1
        transaction.put(INDEX, bytes(spoilt))
        return
    with np.load(io.BytesIO(bytes(data))) as file:
        arrays = {each: file[each] for each in file.files}
    key = "partners" if name == "partners" else f"{side}_{name}"
    if key not in arrays:
        return
    array = np.atleast_1d(arrays[key].copy())  # it may have been changed before
    if how == "type":
        kinds = [np.float64, np.uint8, np.int64, "S3", bool, np.complex64]
        try:
            array = array.astype(kinds[place % len(kinds)])
        except (TypeError, ValueError):
            array = np.zeros(len(array), kinds[place % len(kinds)])
    elif how == "cut":
        array = array[: place % (len(array) + 1)]
    elif how == "value" and array.dtype.names:
        array[array.dtype.names[place % 5]][place % len(array)] = [0, 1, 2, value, 2**31, 200][value % 6] % 200
    elif how == "value" and len(array):
        array[place % len(array)] = [0, 1, 127, value, 120][value % 5] if array.dtype.kind == "u" else value - 100
    elif how == "shape":
        array = [array[None], array.reshape(-1, 1), array[:0], np.array(3)][place % 4]
    elif how == "pickle":
        array = np.array([{"a": 1}], object)
    if how == "drop":
        del arrays[key]
    else:
        arrays[key] = array
    file_ = io.BytesIO()
    np.savez(file_, **arrays)
    transaction.put(INDEX, file_.getvalue())


def check(case: LmdbCase, folder: Path) -> str:
    path = folder / f"{next(NUMBERS)}.lmdb"  # a process opens each path once
    shutil.copytree(base(case.kind), path)
    for change in sorted(case.changes, key=lambda each: each[0] == "file"):  # nothing is written into a cut file
        try:
            _apply(path, change)
        except (lmdb.Error, OSError, ValueError, zipfile.BadZipFile):  # an earlier change has left nothing to change
            return "nothing"
    outcomes = {_outcome(lambda: peek_metadata(path), path, case)}
    contents: list[Any] = []
    outcomes.add(_outcome(lambda: contents.append(open_lmdb(path)), path, case))
    if contents:
        for side, store in contents[0].sides.items():
            if len(store) > 20:
                raise Fault(f"there are {len(store)} images")
            for index in range(len(store)):
                outcomes.add(_outcome(lambda i=index, s=store, w=side: _read(s, i, w, case), path, case))
    outcomes.add(_outcome(lambda: _trained(path, case), path, case))
    if "nothing" in outcomes:
        return "nothing"
    if not case.changes and outcomes != {"right"}:
        raise Fault("refuses a sound LMDB")
    return "refused" if "refused" in outcomes else "right"


def _outcome(read: Any, path: Path, case: LmdbCase) -> str:
    try:
        read()
    except DataError as error:
        refusal_is_clear(str(error), path.name)
        if "already open in this process" in str(error):  # py-lmdb takes a new file for a damaged one it had refused
            return "nothing"
        if not case.changes:
            raise Fault(f"refuses a sound LMDB: {error}") from error
        return "refused"
    return "right"


def _wanted(name: str, side: str) -> np.ndarray | None:
    image = images().get(name.rpartition(".")[0])
    return None if image is None else image if side == "gt" else image // 2


def _read(store: Any, index: int, side: str, case: LmdbCase) -> None:
    name = store.names[index]
    picture = store.picture(index)
    whole = picture.pixels()
    height, width = picture.shape
    window = Window(height // 2, width // 2, max(1, height // 3), max(1, width // 3))
    part = store.picture(index).pixels(window)
    if not np.array_equal(
        part, whole[window.top : window.top + window.height, window.left : window.left + window.width]
    ):
        raise Fault("a window is not what is there in the whole")
    store.stamp(index)
    checked = _checked(store, index)
    wanted = _wanted(name, side)
    if any(change[0] == "index" for change in case.changes):
        return  # names and numbers may be others, and sound
    if checked and wanted is not None and not np.array_equal(whole, wanted):
        exchanged = any(change[0] == "record" for change in case.changes) and case.kind == "engine"
        if not exchanged:  # BasicSR stores no checksums
            raise Fault("wrong pixels, and the check finds nothing")
    if not checked and not case.changes:
        raise Fault("the check refuses a sound record")


def _checked(store: Any, index: int) -> bool:
    try:
        store.check(index)
    except DataError as error:
        refusal_is_clear(str(error))
        return False
    return True


def _trained(path: Path, case: LmdbCase) -> None:
    """Read it as a data set of a run does."""
    where = {"dataroot_gt": str(path), "io_backend": {"type": "lmdb"}} if case.kind == "engine" else {"lmdb": str(path)}
    dataset = DegradationDataset(section("val", degradation="rain" if case.kind != "engine" else "noise", **where))
    for index in range(min(4, len(dataset))):
        item = dataset[index]
        if item["lq"].shape[0] != 3 or not bool(item["gt"].isfinite().all()):
            raise Fault("no image in the data set")


LMDBS = Family("lmdbs", cases, check, lambda: [base(kind) for kind in KINDS])
