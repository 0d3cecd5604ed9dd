"""Data to try an option file on where its own are not there: a few stand-ins of the right size; `dcpt plan` uses it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from basicsr.utils.registry import DATASET_REGISTRY

from dcpt_data.datasets.locating import Images, locate, open_images
from dcpt_data.datasets.options import ReadingOptions, SetOptions, pick
from dcpt_data.images.pixels import write_image
from dcpt_data.images.sample_photographs import TEST, load
from dcpt_data.preparation.lmdb_creation import create_lmdb
from dcpt_data.preparation.lmdb_plans import plan_source
from dcpt_data.preparation.stand_ins import Plan, synthesise
from dcpt_data.sources.published import get_source, sharing

LOOKED_AT = 16  # images of a set that is there, whose sizes stand for all
BYTES = 3  # of a pixel in an LMDB of raw pixels


@dataclass(frozen=True)
class Usual:
    """What is supposed of a set that is not there and of which nothing is published.

    Attributes:
        size: Width and height in pixels.
        count: Images.
    """

    size: tuple[int, int] = (640, 480)
    count: int = 1000


@dataclass(frozen=True)
class TrialSet:
    """A set of images of an option file.

    Attributes:
        name: Its place in the option file, `datasets:train:haze`.
        is_train: Whether it is trained on.
        images: How many it has; if it is not there, how many it would have.
        size: Width and height of its images in pixels; their mean where they differ.
        there: Whether its images are there. If not, it is tried on stand-ins.
        supposed: Whether number or size are neither counted nor known for certain of what is published.
        lmdb_bytes: What it takes as an LMDB of raw pixels.
    """

    name: str
    is_train: bool
    images: int
    size: tuple[int, int]
    there: bool
    supposed: bool
    lmdb_bytes: int


def trial_data(datasets: dict[str, Any], folder: Path, usual: Usual) -> tuple[dict[str, Any], list[TrialSet]]:
    """The `datasets` section with stand-ins for the images that are not there, and what is known of all sets.

    In a mixture a stand-in is repeated as often as makes it as large a share as the set that it stands for.

    Args:
        datasets: The section, completed.
        folder: An empty folder for the stand-ins.
        usual: What is supposed where nothing is known.

    Raises:
        DataError: If images that are there cannot be opened, or a source is not known.
    """
    maker, found, result = _Maker(folder), [], {}
    for key, section in datasets.items():
        kind = DATASET_REGISTRY.get(section["type"])
        if not hasattr(kind, "image_sets"):
            result[key] = section  # of the engine's own: it says itself what it misses
            continue
        backend = ReadingOptions(**pick(ReadingOptions, section)).io_backend
        parts = section.get("sets")
        changed: dict[str, Any] = {}
        for name, options in kind.image_sets(section).items():
            images = locate(options, backend)
            place = f"datasets:{key}:{name}" if parts else f"datasets:{key}"
            there = all(root.is_dir() for root in (images.lmdb, images.root_gt, images.root_lq) if root is not None)
            looked = (_look_at if there else _suppose)(images, options, usual)
            found.append(TrialSet(place, key == "train", there=there, **looked))
            own = parts[name] if parts else section
            changed[name] = own if there else maker.stand_in(own, images, found[-1], backend.type == "lmdb")
        result[key] = {**section, "sets": changed} if parts else next(iter(changed.values()))
    maker.make()
    return result, found


def _look_at(images: Images, options: SetOptions, usual: Usual) -> dict[str, Any]:
    opened = open_images(images)
    if options.limit is not None:
        opened = opened.spread(options.limit)
    some = opened.spread(LOOKED_AT)
    sides = np.array([some.pictures(index)[-1].shape for index in range(len(some))])
    pixels = float(sides.prod(axis=1).mean())
    photographs = len(np.unique(opened.gt_of))
    count = photographs + (len(opened) if opened.lq is not None else 0)
    height, width = sides.mean(axis=0)
    return {
        "images": len(opened),
        "size": (round(width), round(height)),
        "supposed": False,
        "lmdb_bytes": round(BYTES * pixels * count),
    }


def _suppose(images: Images, options: SetOptions, usual: Usual) -> dict[str, Any]:
    source = get_source(images.source) if images.source else None
    known = source is not None and not (options.dataroot_gt or options.dataroot_lq)
    published = source.count if source and known else None
    count = published or usual.count
    size = (source.size or source.size_about if source and known else None) or usual.size
    photographs = (source.photographs if source and known else None) or count
    paired = images.root_lq is not None or (images.lmdb is not None and (source is None or source.lq is not None))
    stored = photographs + (count if paired else 0)
    return {
        "images": min(count, options.limit or count),
        "size": size,
        "supposed": published is None or source is None or source.size is None,
        "lmdb_bytes": BYTES * size[0] * size[1] * stored,
    }


class _Maker:
    """Collects the stand-ins that are needed and makes them together, since some share a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder / "datasets"
        self.sources: dict[str, tuple[int, int]] = {}
        self.stored: set[str] = set()
        self.own: list[Callable[[], None]] = []

    def stand_in(self, section: dict[str, Any], images: Images, known: TrialSet, as_lmdb: bool) -> dict[str, Any]:
        """The section of a set, read from stand-ins that `make` will make."""
        changed = dict(section)
        if "type" not in section:  # a part of a mixture
            changed["repeat_ratio"] = max(1, round(known.images * section.get("repeat_ratio", 1) / len(TEST)))
        if images.source and not (section.get("dataroot_gt") or section.get("dataroot_lq")):
            self.sources[images.source] = known.size
            if as_lmdb or images.lmdb is not None:
                self.stored.add(images.source)
            if images.lmdb is not None and "lmdb" in section:
                changed["lmdb"] = str(self.root / "lmdb" / f"{images.source}.lmdb")
            return {**changed, "datasets_root": str(self.root)}
        for key in ("source", "lmdb", "pairing", "dataroot_lq"):
            changed.pop(key, None)
        home = self.folder / f"own{len(self.own)}"
        changed.update(degradation=images.degradation, dataroot_gt=str(home / "gt"))
        sides = ["gt"]
        if images.root_lq is not None or (images.lmdb is not None and not section.get("parameters")):
            changed["dataroot_lq"] = str(home / "lq")
            sides.append("lq")

        def make() -> None:
            for side in sides:
                _write_photographs(home / side, known.size)

        self.own.append(make)
        return changed

    def make(self) -> None:
        """Write all that were asked for."""
        for make in self.own:
            make()
        for sharer in sharing(get_source(name) for name in self.sources).values():
            size = self.sources[sharer[0].name]
            photographs = self.folder / "photographs" / "x".join(map(str, size))
            if not photographs.is_dir():
                _write_photographs(photographs, size)
            plan = Plan(sharer[0].folder, sharer, sorted(photographs.iterdir()))
            synthesise([plan], self.root, 0, lambda *_: None)
        for name in sorted(self.stored):
            for stored in plan_source(name, self.root, "raw"):
                create_lmdb(stored)


def _write_photographs(folder: Path, size: tuple[int, int]) -> None:
    folder.mkdir(parents=True)
    for name, photograph in TEST.items():
        write_image(folder / f"{name}.png", cv2.resize(load(photograph), size, interpolation=cv2.INTER_CUBIC))
