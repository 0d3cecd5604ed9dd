"""Crops of equally many images of each degradation, for the study of features."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from basicsr.data import build_dataset

from dcpt_data.datasets.degradation_dataset import ImageSet
from dcpt_data.datasets.loading import check_folders
from dcpt_data.datasets.locating import Opened
from dcpt_data.datasets.mixture_dataset import DegradationMixtureDataset
from dcpt_data.datasets.options import ReadingOptions, SetOptions
from dcpt_data.degradations import degrade
from dcpt_data.errors import DataError
from dcpt_data.images.pixels import Window, to_float
from dcpt_data.images.sample_photographs import TEST, TRAIN, write_photographs
from dcpt_data.stores.folder_store import FolderStore, Picture
from dcpt_data.workers.parallel import each

FIVE = ("haze", "rain", "noise", "motion_blur", "low_light")  # of DCPT, Section 3.1


@dataclass(frozen=True)
class StudySource:
    """Where the images come from: the first of these that is given, or the photographs that scikit-image installs.

    Attributes:
        datasets: The `datasets` section of a completed option file.
        train: Whether its training sets are taken, rather than those of validation and test.
        lq: Label -> folder of images that are degraded already.
        gt: Folder of clean photographs, which are degraded.
        degradations: How; for `gt` and the installed photographs.
        tiles: Cut every image into as many crops as fit and degrade each by itself, instead of taking the centre of the
            degraded image. What scikit-image installs is always cut.
    """

    datasets: Mapping[str, dict[str, Any]] | None = None
    train: bool = False
    lq: Mapping[str, Path] | None = None
    gt: Path | None = None
    degradations: Sequence[str] = FIVE
    tiles: bool = False

    @property
    def about(self) -> str:
        """The source in words."""
        if self.datasets:
            words = f"the {'training' if self.train else 'validation and test'} sets of the option file"
        elif self.lq:
            words = ", ".join(map(str, self.lq.values()))
        else:
            words = f"{f'photographs in {self.gt}' if self.gt else 'the photographs of scikit-image'}, degraded here"
        return words + (", cut into tiles" if self.cut else "")

    @property
    def cut(self) -> bool:
        """Whether images are cut into tiles."""
        return self.tiles or not (self.datasets or self.lq or self.gt)


@dataclass(frozen=True)
class StudyCrops:
    """What is studied.

    Attributes:
        images: N x 3 x size x size, float32, RGB, in [0, 1] but for noise.
        labels: The degradation of each, those of one degradation together.
    """

    images: torch.Tensor
    labels: list[str]

    @property
    def counts(self) -> dict[str, int]:
        """Degradation -> how many there are."""
        return {name: self.labels.count(name) for name in dict.fromkeys(self.labels)}


def study_crops(
    source: StudySource,
    count: int = 100,
    size: int = 128,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> StudyCrops:
    """Choose images of each degradation at random and cut them.

    Degradations that are made of the same photographs are made of the same ones of them, so that nothing else differs
    (DCPT, A.4). They are drawn anew for every image, as in training: the published test noise is one pattern for all
    images, which would give itself away.

    Args:
        source: Where they come from.
        count: How many of each degradation; all there are, where there are fewer.
        size: Side of a crop in pixels.
        seed: Of all that is drawn.
        progress: Called with how many crops of how many are made.

    Raises:
        DataError: If folders are missing, a degradation is not known, or an image cannot be read or is smaller than a
            crop.
    """
    with _open(source) as sets:
        jobs: list[_Job] = []
        for name in dict.fromkeys(one.degradation for one in sets):
            numbers = [number for number, one in enumerate(sets) if one.degradation == name]
            found = [
                _Job(number, zlib.crc32(f"{name}/{place}/{image}/{corner}".encode()), image, *corner)
                for place, number in enumerate(numbers)
                for image in range(len(sets[number].opened))
                for corner in (_corners(sets[number], image, size) if source.cut else [()])
            ]
            chosen = np.random.default_rng(seed).permutation(len(found))[:count]
            jobs += [found[i] for i in chosen]
        images = []
        with each(_crop, (sets, size, seed), jobs) as crops:
            for crop in crops:
                images.append(crop)
                progress(len(images), len(jobs))
    return StudyCrops(torch.from_numpy(np.stack(images)), [sets[job.source].degradation for job in jobs])


@dataclass(frozen=True)
class _Set:
    """Images of one degradation, which is yet to be made of the ground truth if it is `synthesised`."""

    degradation: str
    opened: Opened
    synthesised: bool
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, images: ImageSet) -> _Set:
        return cls(images.degradation, images.opened, images.opened.lq is None, images.parameters)


@contextmanager
def _open(source: StudySource) -> Iterator[list[_Set]]:
    if source.datasets:
        yield _sets_of_options(source.datasets, source.train)
    elif source.lq:
        stores = {name: FolderStore(folder) for name, folder in source.lq.items()}
        yield [_Set(name, _alone(store), False) for name, store in stores.items()]
    elif source.gt:
        yield _sets_of_photographs(source.gt, source.degradations)
    else:
        with tempfile.TemporaryDirectory() as folder:
            write_photographs(Path(folder), {**TRAIN, **TEST})
            yield _sets_of_photographs(Path(folder), source.degradations)


def _sets_of_options(datasets: Mapping[str, dict[str, Any]], train: bool) -> list[_Set]:
    chosen = {key: section for key, section in datasets.items() if (key.split("_")[0] == "train") == train}
    check_folders(chosen)
    sets: list[_Set] = []
    for section in chosen.values():
        dataset: Any = build_dataset(section)
        parts = dataset.parts if isinstance(dataset, DegradationMixtureDataset) else [dataset.images]
        sets += [_Set.of(part) for part in parts]
    if not sets:
        raise DataError(f"the option file has no {'training' if train else 'validation or test'} sets")
    return sets


def _sets_of_photographs(folder: Path, degradations: Sequence[str]) -> list[_Set]:
    options = [SetOptions(degradation=name, dataroot_gt=str(folder)) for name in degradations]
    return [_Set.of(ImageSet(one, ReadingOptions(phase="test"))) for one in options]


def _alone(store: FolderStore) -> Opened:
    every = np.arange(len(store))
    return Opened(store, None, every, every)


class _Job(NamedTuple):
    """A crop to be made: of an image of a set, with draws of its own, at its centre unless a place is given."""

    source: int
    draws: int
    image: int
    top: int | None = None
    left: int | None = None


def _picture(one: _Set, index: int) -> Picture:
    """An image as it is read: its degraded one, if there is one."""
    return one.opened.pictures(index)[-1]


def _check_size(one: _Set, index: int, shape: tuple[int, int], size: int) -> None:
    if min(shape) < size:
        lq, gt = one.opened.places(index)
        raise DataError(
            f"{lq or gt}: {shape[1]}x{shape[0]} pixels are less than a crop of {size}; remove it, or cut smaller crops"
        )


def _corners(one: _Set, index: int, size: int) -> list[tuple[int, int]]:
    """Top and left of every tile of an image."""
    height, width = shape = _picture(one, index).shape
    _check_size(one, index, shape, size)
    return [(top, left) for top in range(0, height - size + 1, size) for left in range(0, width - size + 1, size)]


def _crop(sets: Sequence[_Set], size: int, seed: int, job: _Job) -> np.ndarray:
    """3 x size x size, float32."""
    one = sets[job.source]
    picture = _picture(one, job.image)
    height, width = shape = picture.shape
    _check_size(one, job.image, shape, size)
    centre = Window((height - size) // 2, (width - size) // 2, size, size)
    tile = None if job.top is None or job.left is None else Window(job.top, job.left, size, size)
    if not one.synthesised:
        image = to_float(picture.pixels(tile or centre))
    else:
        clean = to_float(picture.pixels(tile))
        image = degrade(one.degradation, clean, np.random.default_rng([seed, job.draws]), **one.parameters)
        if tile is None:
            image = image[centre.top : centre.top + size, centre.left : centre.left + size]
    return np.ascontiguousarray(image.transpose(2, 0, 1))
