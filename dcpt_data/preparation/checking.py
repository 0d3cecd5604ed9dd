"""Checks of data sets before training: unreadable images, wrong sizes, duplicates, test images in training sets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np

from dcpt_data.datasets.loading import image_sets_of
from dcpt_data.datasets.locating import Images, Opened, locate, open_images
from dcpt_data.datasets.options import SetOptions
from dcpt_data.errors import DataError
from dcpt_data.preparation.fingerprints import Fingerprint, copies, fingerprint
from dcpt_data.preparation.preparing import read_record
from dcpt_data.preparation.stand_ins import is_stand_in, read_manifest
from dcpt_data.sources.pairing import match_what_fits
from dcpt_data.sources.published import Part, Source, get_source, source_folder
from dcpt_data.stores.folder_store import Store
from dcpt_data.workers.parallel import each

Problem = Literal["missing", "count", "unpaired", "unreadable", "sizes", "orientations", "duplicates", "leakage"]
PROBLEMS: tuple[Problem, ...] = get_args(Problem)


@dataclass
class Finding:
    """What is known of one set of images.

    Attributes:
        name: Its name, or the option file's.
        part: Whether it is for training or for testing.
        images: Where it lies.
        expected: How many pairs (or photographs to degrade) there should be; None if that is not known.
        stand_in: It was made by `dcpt synthesize`.
        found: How many there are.
        unused: Images of the ground truth that no degraded image belongs to; they are not read.
        problems: What is wrong, a message each, by kind.
    """

    name: str
    part: Part
    images: Images
    expected: int | None = None
    stand_in: bool = False
    found: int = 0
    unused: int = 0
    problems: dict[Problem, list[str]] = field(default_factory=dict)

    def add(self, kind: Problem, message: str) -> None:
        self.problems.setdefault(kind, []).append(message)


def sets_of_sources(sources: Iterable[Source], datasets_root: str) -> list[Finding]:
    """The sets of images to check, by the names of sources."""
    found = []
    for source in sources:
        images = locate(SetOptions(source=source.name, datasets_root=datasets_root))
        found.append(_finding(source.name, source.part, images))
    return found


def sets_of_options(datasets: dict[str, dict[str, Any]]) -> list[Finding]:
    """The sets of images that an option file reads, each once, however often it is named."""
    found: dict[tuple[object, ...], Finding] = {}
    for key, images in image_sets_of(datasets):
        part: Part = "train" if key.split(":")[1].split("_")[0] == "train" else "test"
        name = images.source or key.removeprefix("datasets:")
        found.setdefault((part, images.root_gt, images.root_lq, images.lmdb), _finding(name, part, images))
    return list(found.values())


def _finding(name: str, part: Part, images: Images) -> Finding:
    source = get_source(images.source) if images.source else None
    finding = Finding(name, part, images, source.count if source else None, is_stand_in(images))
    if finding.stand_in:
        finding.expected = read_manifest(images).get("images")
    elif source and images.root_gt is not None:
        record = read_record(source_folder(images.root_gt, source))
        if source.count is None or record.get("crops") != (source.crops and [source.crops.size, source.crops.step]):
            # Who prepared them alone knows how many there are.
            finding.expected = record.get("counts", {}).get(source.name, source.count)
    return finding


def check(findings: list[Finding], quick: bool, report: Callable[[int, int], None]) -> None:
    """Find out what is wrong with sets of images, and whether one is trained on photographs that another tests on.

    Args:
        findings: The sets; what is found is added to them.
        quick: Look at names and numbers only. Otherwise every image is read.
        report: Called with how many images of how many are read.
    """
    opened = [(finding, images) for finding in findings if (images := _open(finding))]
    if quick:
        return
    prints = _Prints(images for _, images in opened)
    prints.take(report)
    for finding, images in opened:
        _compare_within(finding, images, prints)
    _compare_parts(opened, prints)


def _open(finding: Finding) -> Opened | None:
    """Open a set of images as training would, but without those that have no partner."""
    images = finding.images
    try:
        if images.lmdb is not None or images.root_lq is None:
            opened = open_images(images)
        else:
            gt = open_images(replace(images, root_lq=None)).gt
            lq = open_images(replace(images, root_gt=images.root_lq, root_lq=None)).gt
            matched = match_what_fits(list(lq.names), list(gt.names), images.pairing, lq.root, gt.root)
            for index in matched.unpaired:
                finding.add("unpaired", f"{lq.place(index)}: no ground truth in {gt.root}")
            opened = Opened(gt, lq, np.array(matched.gt, int), np.array(matched.lq, int))
            finding.unused = len(gt) - len(set(matched.gt)) if gt.root != lq.root else 0
    except DataError as error:
        finding.add("missing", str(error))
        return None
    finding.found = len(opened)
    if finding.expected is not None and finding.found != finding.expected:
        finding.add("count", f"{finding.found:,} found, {finding.expected:,} expected")
    return opened


class _Prints:
    """The fingerprints of all images of some sets, each image read once, whichever sets it is in."""

    def __init__(self, opened: Iterable[Opened]) -> None:
        self._stores: list[Store] = []
        self._number_of: dict[str, int] = {}  # of a store, by its root
        self._wanted: dict[tuple[int, int], None] = {}  # store and image, in order
        self._taken: dict[tuple[int, int], Fingerprint | str] = {}
        self._turns: dict[tuple[int, int], int] = {}  # of those that are not stored upright
        for images in opened:
            for store, indices in ((images.gt, images.gt_of), (images.lq, images.lq_of)):
                if store is not None:
                    number = self._add(store)
                    self._wanted |= dict.fromkeys((number, int(index)) for index in indices)

    def _add(self, store: Store) -> int:
        number = self._number_of.setdefault(store.root, len(self._stores))
        if number == len(self._stores):
            self._stores.append(store)
        return number

    def take(self, report: Callable[[int, int], None]) -> None:
        """Read all images, in parallel."""
        wanted = list(self._wanted)
        with each(_fingerprint_of, (self._stores,), wanted, chunk=8) as results:
            for done, (key, (result, turn)) in enumerate(zip(wanted, results, strict=True), 1):
                self._taken[key] = result
                if turn != 1:
                    self._turns[key] = turn
                report(done, len(wanted))

    def of(self, store: Store, index: int) -> Fingerprint | str:
        """An image's fingerprint, or why it cannot be read."""
        return self._taken[self._number_of[store.root], int(index)]

    def turn_of(self, store: Store, index: int) -> int:
        """The EXIF orientation with which an image is stored; 1 is upright."""
        return self._turns.get((self._number_of[store.root], int(index)), 1)


def _fingerprint_of(stores: list[Store], key: tuple[int, int]) -> tuple[Fingerprint | str, int]:
    """An image's fingerprint, or why it cannot be read, and the orientation with which it is stored."""
    store, index = key
    try:
        picture = stores[store].picture(index)
        return fingerprint(picture.pixels()), getattr(picture, "turn", 1)  # raw pixels of an LMDB are upright
    except DataError as error:
        return str(error), 1


def _compare_within(finding: Finding, images: Opened, prints: _Prints) -> None:
    """Find images that cannot be read, pairs of unequal sizes or orientations, and pairs that come twice."""
    first: dict[tuple[bytes, ...], str] = {}
    told: set[str] = set()  # ground truth may be of several pairs
    for index in range(len(images)):
        sides = [prints.of(images.gt, images.gt_of[index])]
        if images.lq is not None:
            sides.append(prints.of(images.lq, images.lq_of[index]))
        unreadable = [side for side in sides if isinstance(side, str)]
        for message in unreadable:
            if message not in told:
                told.add(message)
                finding.add("unreadable", message)
        readable = [side for side in sides if not isinstance(side, str)]
        if unreadable:
            continue
        lq, gt = images.places(index)
        place = lq or gt
        if readable[0].shape != readable[-1].shape:
            sizes = " and ".join(f"{width}x{height}" for height, width in (side.shape for side in readable))
            finding.add("sizes", f"{gt} and {lq} are of {sizes} pixels")
        turns = [prints.turn_of(images.gt, images.gt_of[index])]
        if images.lq is not None:
            turns.append(prints.turn_of(images.lq, images.lq_of[index]))
        if turns[0] != turns[-1]:
            finding.add(
                "orientations",
                f"{gt} has EXIF orientation {turns[0]} and {lq} has {turns[-1]}; if one was made of the other's stored "
                "pixels, give both the same",
            )
        same = first.setdefault(tuple(side.digest for side in readable), place)
        if same != place:
            finding.add("duplicates", f"{place} is {same} once more")


@dataclass(frozen=True)
class _Photograph:
    finding: Finding
    place: str
    print: Fingerprint


def _photographs(opened: list[tuple[Finding, Opened]], part: Part, prints: _Prints) -> Iterator[_Photograph]:
    """The readable ground truth of all sets of a part, each photograph of each set once."""
    for finding, images in opened:
        if finding.part == part:
            for index in dict.fromkeys(images.gt_of.tolist()):
                print_ = prints.of(images.gt, index)
                if not isinstance(print_, str):
                    yield _Photograph(finding, images.gt.place(index), print_)


def _compare_parts(opened: list[tuple[Finding, Opened]], prints: _Prints) -> None:
    """Find photographs of test sets in training sets."""
    train = list(_photographs(opened, "train", prints))
    test = list(_photographs(opened, "test", prints))
    for looked_up, known, equal in copies([one.print for one in train], [one.print for one in test]):
        one, other = test[looked_up], train[known]
        how = "has the pixels of" if equal else "looks like"
        one.finding.add("leakage", f"{one.place} {how} {other.place}, trained on in {other.finding.name}")
