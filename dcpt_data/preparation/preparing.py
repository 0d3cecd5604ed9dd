"""Places a data set found in an unpacked archive where option files expect it."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from dcpt_common import partial_path, write_atomically
from dcpt_data.errors import DataError
from dcpt_data.images.pixels import list_names, read_image, write_image
from dcpt_data.preparation.archives import Recognised
from dcpt_data.sources.pairing import find_pairs
from dcpt_data.sources.published import Crops, Source, known_sources, sharing
from dcpt_data.workers.parallel import each

RECORD = "prepared.json"
Mode = Literal["hardlink", "symlink", "copy"]
MODES: tuple[Mode, ...] = get_args(Mode)
Report = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Prepared:
    """A data set in its place.

    Attributes:
        source: The published data set.
        folder: Where it lies.
        count: Pairs, or photographs to degrade.
        kept: It was there already, from an earlier call.
    """

    source: Source
    folder: Path
    count: int
    kept: bool


def problems(found: Iterable[Recognised]) -> dict[str, list[str]]:
    """What speaks against preparing data sets as they were found: kind of problem -> messages."""
    said: dict[str, list[str]] = {"count": [], "unpaired": []}
    for one in found:
        name, expected = one.source.name, expected_photographs(one.source)
        if one.unpaired:
            shown = ", ".join(str(path) for path in one.unpaired[:3]) + (", ..." if len(one.unpaired) > 3 else "")
            said["unpaired"].append(f"{name}: {len(one.unpaired)} degraded images have no ground truth ({shown})")
        if expected is not None and one.count != expected:
            said["count"].append(f"{name}: {one.count:,} found in {one.root}, {expected:,} are expected")
    return {kind: messages for kind, messages in said.items() if messages}


def expected_photographs(source: Source) -> int | None:
    """How many an archive holds; of crops, that is what the source of the whole photographs says."""
    whole = [other for other in known_sources().values() if not other.crops and other.layouts == source.layouts]
    return whole[0].count if source.crops and whole else source.count


def prepare(found: list[Recognised], root: Path, mode: Mode, crops: Crops | None, report: Report) -> list[Prepared]:
    """Put data sets below `root`, in parallel. A folder appears under its name only once it is whole.

    What an earlier, interrupted call has done is kept, and nothing that is there is replaced.

    Args:
        found: What to prepare; sources that share a folder together.
        root: The data sets' root.
        mode: How files get there. Crops are always written anew.
        crops: How to cut instead of what a source says; only for sources that are cut at all.
        report: Called with how many files of how many are done over all folders, and the folder below the root.

    Returns:
        What is there now, in the order of `found`.

    Raises:
        DataError: If a folder exists that was made otherwise, files cannot be linked, or an image cannot be read.
    """
    plans = [
        _Plan([one for one in found if one.source.folder == folder], root / folder, mode, crops)
        for folder in sharing(one.source for one in found)
    ]
    for plan in plans:
        plan.refuse_other()
    todo = [plan for plan in plans if not plan.is_there]
    total, done = sum(len(plan.files) for plan in todo), 0
    made: dict[str, Prepared] = {}
    for plan in plans:
        kept = plan.is_there
        if not kept:
            done = plan.carry_out(report, done, total)
        counts = read_record(plan.final)["counts"]
        for one in plan.found:
            made[one.source.name] = Prepared(one.source, plan.final, counts[one.source.name], kept)
    return [made[one.source.name] for one in found]


def read_record(folder: Path) -> dict[str, Any]:
    """What stands beside a prepared data set: its sources and how many pairs each has; empty if it was not prepared."""
    file = folder / RECORD
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


class _Plan:
    """The files of one folder, and where each comes from."""

    def __init__(self, found: list[Recognised], final: Path, mode: Mode, crops: Crops | None) -> None:
        self.found, self.final, self.mode = found, final, mode
        self.crops = (crops or found[0].source.crops) if found[0].source.crops else None
        self.partial = partial_path(final)
        self.files: dict[str, Path] = {}
        for one in found:
            for folder, files in ((one.source.gt, one.gt), (one.source.lq, one.lq)):
                for name, path in files.items():
                    self.files[f"{folder}/{name}{path.suffix.lower()}"] = path
        self.record = self._record()

    def _record(self) -> dict[str, Any]:
        listed = "\n".join(f"{name} {path.stat().st_size}" for name, path in sorted(self.files.items()))
        return {
            "sources": sorted(one.source.name for one in self.found),
            "crops": [self.crops.size, self.crops.step] if self.crops else None,
            "files": hashlib.sha256(listed.encode("utf-8", "surrogateescape")).hexdigest(),
        }

    @property
    def is_there(self) -> bool:
        """Whether the folder holds this very plan."""
        return self._is_of(self.final)

    def _is_of(self, folder: Path) -> bool:
        there = read_record(folder)
        return {key: there.get(key) for key in self.record} == self.record

    def refuse_other(self) -> None:
        if self.final.exists() and not self.is_there:
            made = "from other files or in another way" if read_record(self.final) else "by something else"
            raise DataError(f"{self.final} exists and was made {made}; remove it or choose another --root")

    def carry_out(self, report: Report, done: int, total: int) -> int:
        """Make the folder; returns how many files are done now."""
        if self.partial.exists() and not self._is_of(self.partial):
            shutil.rmtree(self.partial)
        self.partial.mkdir(parents=True, exist_ok=True)
        self._write_record(self.record)
        for folder in {os.path.dirname(name) for name in self.files}:  # noqa: PTH120 - of strings, 70,000 of them
            (self.partial / folder).mkdir(parents=True, exist_ok=True)
        files = list(self.files.items())
        if self.crops:
            results = each(_cut, (self.partial, self.crops), files)
        else:
            self._check_space()
            results = each(_place, (self.partial, self.mode), files, chunk=64)
        with results as finished:
            for _ in finished:
                done += 1
                report(done, total, self.found[0].source.folder)
        self._write_record({**self.record, "counts": self._counts()})
        self.partial.rename(self.final)
        return done

    def _check_space(self) -> None:
        needed = sum(path.stat().st_size for path in self.files.values()) if self.mode == "copy" else 0
        free = shutil.disk_usage(self.partial).free
        if needed > free:
            raise DataError(
                f"{self.final}: {needed / 2**30:.1f} GiB are needed, {free / 2**30:.1f} GiB are free; give --mode "
                "hardlink or symlink"
            )

    def _counts(self) -> dict[str, int]:
        """Pairs of each source, as a data set will find them."""
        counts = {}
        for one in self.found:
            gt, lq = self.partial / one.source.gt, self.partial / (one.source.lq or ".")
            pairs = list_names(gt) if one.source.lq is None else find_pairs(lq, gt, one.source.pairing)
            counts[one.source.name] = len(pairs)
        return counts

    def _write_record(self, record: dict[str, Any]) -> None:
        with write_atomically(self.partial / RECORD) as unfinished:
            unfinished.write_text(json.dumps(record, indent=1), encoding="utf-8")


def _place(folder: Path, mode: Mode, item: tuple[str, Path]) -> None:
    """Bring one file to its place. What has its name there is whole."""
    name, path = item
    target = folder / name
    if os.path.lexists(target):
        return
    try:
        if mode == "hardlink":
            os.link(path, target)
        elif mode == "symlink":
            target.symlink_to(path)
        else:
            with write_atomically(target) as unfinished:
                shutil.copyfile(path, unfinished)
    except OSError as error:
        if mode == "hardlink" and error.errno in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP):
            raise DataError(
                f"{path} cannot be linked to from {folder.parent} ({error.strerror}); give --mode symlink, or --mode "
                "copy"
            ) from error
        raise


def _cut(folder: Path, crops: Crops, item: tuple[str, Path]) -> None:
    """Cut one photograph into crops, NAME_s001.png and so on, row by row."""
    name, path = item
    target = (folder / name).with_suffix("")
    if Path(f"{target}_s001.png").exists():  # the last that is written
        return
    image = read_image(path)
    height, width = image.shape[:2]
    corners = [(top, left) for top in starts(height, crops) for left in starts(width, crops)]
    for number, (top, left) in reversed(list(enumerate(corners, 1))):
        with write_atomically(f"{target}_s{number:03}.png", suffix=".png") as unfinished:
            write_image(unfinished, image[top : top + crops.size, left : left + crops.size])


def starts(length: int, crops: Crops) -> list[int]:
    """Where the crops along one side begin: a step apart, and the last at the very end.

    A photograph shorter than a crop is one crop of its own length.
    """
    last = max(0, length - crops.size)
    return [*range(0, last, crops.step), last]
