"""Makes LMDBs: processes read, check and encode images, this one writes them."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dcpt_common import partial_path
from dcpt_data.errors import DataError
from dcpt_data.images.pixels import PNG_LEVEL, encode_image
from dcpt_data.preparation.lmdb_plans import Part, Plan
from dcpt_data.stores.lmdb_format import ROW, SIDES, Entries, Form, Index, Side, key_of
from dcpt_data.stores.lmdb_store import ENGINE_INDEX
from dcpt_data.stores.lmdb_writer import DONE_ROW, MAP_SIZE, LmdbWriter, open_writer
from dcpt_data.workers.parallel import each

COMMIT_BYTES = 2**26  # of images in one transaction
_PROBES = 8  # images that are encoded to estimate the size of all
_MARGIN = 1.05  # of that estimate

Report = Callable[[int, int], None]


# Encoding


class Item(NamedTuple):
    """An image to encode: its side, and its position there."""

    side: Side
    position: int


class Encoded(NamedTuple):
    """What became of it: key, content and what is remembered; or the message of what is wrong with it.

    There is no content where it is that of a file: to read a file twice costs less than to hand it from one process to
    another.
    """

    key: bytes
    content: bytes
    row: np.ndarray
    problem: str = ""


def encode(parts: dict[Side, Part], form: Form, item: Item) -> Encoded:
    """Read and check one image, and bring it to its stored form."""
    part = parts[item.side]
    number = int(part.numbers[item.position])
    row = np.zeros((), DONE_ROW)
    try:
        key = key_of(part.names[item.position], item.side, len(parts))
        row["stamp"] = part.store.stamp(number)
        if form == "original":
            image = part.store.encoded(number)
            height, width, kind = image.inspect()
            content = image.data
        else:
            pixels = part.store.picture(number).pixels()
            (height, width), kind = pixels.shape[:2], pixels.dtype
            content = (
                pixels.astype(kind.newbyteorder("<"), copy=False).tobytes() if form == "raw" else encode_image(pixels)
            )
    except DataError as error:
        return Encoded(b"", b"", row, str(error))
    row["side"], row["position"] = SIDES.index(item.side), item.position
    row["row"] = (height, width, kind.itemsize, len(content), zlib.crc32(content))
    return Encoded(key, b"" if form == "original" else content, row)


def _with_content(encoded: Encoded, part: Part) -> Encoded:
    """Read again what `encode` has checked and not sent."""
    if encoded.content or encoded.problem:
        return encoded
    try:
        image = part.store.encoded(int(part.numbers[encoded.row["position"]]))
    except DataError as error:
        return encoded._replace(problem=str(error))
    if zlib.crc32(image.data) != encoded.row["row"]["checksum"]:
        return encoded._replace(problem=f"{image.place}: changed while it was read")
    return encoded._replace(content=image.data)


# Making


def create_lmdb(
    plan: Plan,
    workers: int | None = None,
    report: Report = lambda done, total: None,
    commit_bytes: int = COMMIT_BYTES,
    map_size: int = MAP_SIZE,
) -> None:
    """Make an LMDB, or resume a call that was interrupted, killed, or ran out of disk.

    It grows in the folder `.NAME.lmdb.partial` and gets its name when it is complete. What an earlier call committed is
    kept, but for images whose files have changed since.

    Args:
        plan: What to make.
        workers: Processes that read and encode; by default as many as there are cores.
        report: Called with how many images of how many are done: once at the start, then after each.
        commit_bytes: Bytes of images in one transaction.
        map_size: Bytes of the map to begin with.

    Raises:
        DataError: If the LMDB exists, the disk has too little room or becomes full, images cannot be read (all of them
            are named, after everything else is committed), or those of a pair differ in size.
    """
    out = plan.out
    if out.exists():
        raise DataError(f"{out} exists; remove it first to make it again, or check it with --verify")
    with open_writer(partial_path(out), plan.digest(), map_size) as writer:
        if not writer.complete:
            _fill(writer, plan, workers, report, commit_bytes)
            index = _index(plan, writer.done())
            _check_pairs(plan, index)
            lines = _engine_lines(plan, index)
            if lines:
                (writer.partial / ENGINE_INDEX).write_text("".join(lines), encoding="utf-8")
            writer.finish(plan.metadata, index)
        writer.publish(out)


def _fill(writer: LmdbWriter, plan: Plan, workers: int | None, report: Report, commit_bytes: int) -> None:
    stamps = {
        side: np.array([_stamp(part, int(number)) for number in part.numbers], np.int64).reshape(-1, 2)
        for side, part in plan.parts.items()
    }
    todo = _not_done(plan, stamps, writer.done())
    report(plan.count - len(todo), plan.count)
    if not todo:
        return
    _check_space(plan, todo, stamps, shutil.disk_usage(writer.partial).free)
    problems: list[str] = []
    batch: list[Encoded] = []
    pending = 0
    mean = sum(int(stamps[side][position, 0]) for side, position in todo) // len(todo)
    chunk = 8 if plan.metadata.form == "original" else min(32, 2**20 // (mean + 1) + 1)  # see `Encoded`
    with each(encode, (plan.parts, plan.metadata.form), todo, chunk, workers) as found:
        for number, (item, encoded) in enumerate(zip(todo, found, strict=True), plan.count - len(todo) + 1):
            encoded = _with_content(encoded, plan.parts[item.side])
            if encoded.problem:
                problems.append(encoded.problem)
            else:
                batch.append(encoded)
                pending += len(encoded.content)
            if pending >= commit_bytes:
                _commit(writer, batch)
                pending = 0
            report(number, plan.count)
    _commit(writer, batch)
    if problems:
        shown = "\n  ".join(problems[:20] + (["..."] if len(problems) > 20 else []))
        raise DataError(
            f"{len(problems)} of {plan.count} images cannot be stored:\n  {shown}\nFix or replace them and run the "
            f"same command again; the others are kept in {writer.partial}"
        )


def _stamp(part: Part, number: int) -> tuple[int, int]:
    """An image's stamp; of one that cannot be found none that any has, so that `encode` names it with the others."""
    try:
        return part.store.stamp(number)
    except DataError:
        return 0, -1


def _commit(writer: LmdbWriter, batch: list[Encoded]) -> None:
    if batch:
        writer.commit([(one.key, one.content) for one in batch], np.stack([one.row for one in batch]))
    batch.clear()


def _not_done(plan: Plan, stamps: dict[Side, np.ndarray], done: np.ndarray) -> list[Item]:
    todo = []
    for side in plan.parts:
        known = np.zeros_like(stamps[side])
        mine = done[done["side"] == SIDES.index(side)]
        known[mine["position"]] = mine["stamp"]
        todo += [Item(side, int(position)) for position in np.flatnonzero((known != stamps[side]).any(axis=1))]
    return todo


def _check_space(plan: Plan, todo: list[Item], stamps: dict[Side, np.ndarray], free: int) -> None:
    """Refuse what the disk has no room for, as far as a few images tell."""
    read, stored = 0, 0
    for item in todo[:: -(-len(todo) // _PROBES)]:
        encoded = encode(plan.parts, plan.metadata.form, item)
        if not encoded.problem:
            read += int(stamps[item.side][item.position, 0])
            stored += int(encoded.row["row"]["size"])
    if not read:
        return
    files = sum(int(stamps[side][position, 0]) for side, position in todo)
    pages = 4096 * len(todo)
    needed = int(files * stored / read * _MARGIN) + pages
    if needed > free:
        smaller = ""
        if plan.metadata.form != "original" and files + pages < needed:
            smaller = f"; --form original takes {_gigabytes(files + pages)}"
        raise DataError(
            f"{plan.out}: about {_gigabytes(needed)} are needed and {_gigabytes(free)} are free on its disk; make "
            f"room, or choose another place{smaller}"
        )


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


def _index(plan: Plan, done: np.ndarray) -> Index:
    sides = {}
    for side, part in plan.parts.items():
        rows = np.zeros(len(part.numbers), ROW)
        mine = done[done["side"] == SIDES.index(side)]
        rows[mine["position"]] = mine["row"]
        sides[side] = Entries(part.names, rows)
    return Index(sides, plan.partners)


def _check_pairs(plan: Plan, index: Index) -> None:
    if plan.partners is None:
        return
    lq, gt = index.sides["lq"].rows, index.sides["gt"].rows[plan.partners]
    wrong = np.flatnonzero((lq["height"] != gt["height"]) | (lq["width"] != gt["width"]))
    if len(wrong):
        names = [index.sides["lq"].names[int(number)] for number in wrong[:3]] + (["..."] if len(wrong) > 3 else [])
        first = lq[wrong[0]], gt[wrong[0]]
        sizes = " and ".join(f"{row['width']}x{row['height']}" for row in first)
        raise DataError(
            f"{plan.parts['lq'].store.root}: {len(wrong)} images differ in size from their ground truth "
            f"({', '.join(names)}; the first two are {sizes}); fix them and run the same command again"
        )


def _engine_lines(plan: Plan, index: Index) -> list[str]:
    """The lines of BasicSR's own index; none where its convention has no words for the form or for a name."""
    if plan.metadata.form == "raw":
        return []
    lines = []
    for side, entries in index.sides.items():
        for name, row in zip(entries.names, entries.rows, strict=True):
            key = key_of(name, side, len(index.sides)).decode("utf-8", "surrogateescape")
            if "." in key or not key.isascii():
                return []
            lines.append(f"{key}{Path(name).suffix} ({row['height']},{row['width']},3) {PNG_LEVEL}\n")
    return lines
