"""Images of one degradation, each with its ground truth: pairs, or synthesised from clean photographs."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from basicsr.utils.registry import DATASET_REGISTRY
from torch.utils.data import Dataset

from dcpt_data.datasets.locating import locate, open_images
from dcpt_data.datasets.options import LoaderOptions, ReadingOptions, SetOptions, pick
from dcpt_data.datasets.sampling import PlainKeys, SampleKey
from dcpt_data.degradations import degrade, degrade_for_evaluation
from dcpt_data.errors import DataError
from dcpt_data.images.pixels import stem, to_float
from dcpt_data.images.transforms import pad_to, random_flip, random_gray, random_window
from dcpt_data.stores.folder_store import Picture
from dcpt_data.workers.once import Once

Sample = dict[str, Any]
Pair = tuple[Path | None, Path]  # degraded (none to synthesise it), ground truth


class ImageSet:
    """The samples of one degradation, without augmentation options: what a data set and a mixture share.

    Args:
        options: The images, by `source` or folders.
        reading: Size of crops, flips and the like.

    Raises:
        DataError: If folders are missing or empty, images have no partner, or an LMDB cannot be read.
    """

    def __init__(self, options: SetOptions, reading: ReadingOptions) -> None:
        images = locate(options, reading.io_backend)
        self.degradation, self.parameters, self.reading = images.degradation, options.parameters, reading
        self.opened = open_images(images)
        if options.limit is not None:
            self.opened = self.opened.spread(options.limit)
        self._first_too_small = Once()

    def __len__(self) -> int:
        return len(self.opened)

    @property
    def pairs(self) -> list[Pair]:
        """Where each sample's images lie: the degraded one (None to synthesise it) and the ground truth."""
        places = (self.opened.places(index) for index in range(len(self)))
        return [(None if lq is None else Path(lq), Path(gt)) for lq, gt in places]

    def sample(self, index: int, rng: np.random.Generator, gt_size: int | None = None) -> Sample:
        """Read one sample; `rng` decides crop, flips and a synthesised degradation while training.

        Args:
            index: Number of the sample, from 0.
            rng: The source of randomness.
            gt_size: Side of the crop, if it is another than the options say.

        Raises:
            DataError: If an image cannot be read; the message names the file or key, and the data set.
        """
        try:
            return self._sample(index, rng, gt_size or self.reading.gt_size)
        except DataError as error:
            raise DataError(f"data set '{self.reading.name}': {error}") from error

    def _sample(self, index: int, rng: np.random.Generator, gt_size: int) -> Sample:
        lq_place, gt_place = self.opened.places(index)
        pictures = self.opened.pictures(index)
        shapes = [picture.shape for picture in pictures]
        if shapes[0] != shapes[-1]:
            sizes = " and ".join(f"{width}x{height}" for height, width in shapes)
            raise DataError(f"{gt_place} and {lq_place} are no pair: their sizes are {sizes}")
        if self.reading.phase == "train":
            images = self._augment(pictures, gt_place, rng, gt_size)
        else:
            images = [picture.pixels() for picture in pictures]
        name = self.opened.name(index)
        if lq_place is not None:
            gt, lq = (_to_tensor(image) for image in images)
        else:
            clean = to_float(images[0])
            gt, lq = (_to_tensor(image) for image in (clean, self._synthesise(clean, name, rng)))
        return {
            "lq": lq,
            "gt": gt,
            "degradation": self.degradation,
            "name": stem(name),
            "lq_path": lq_place or gt_place,
            "gt_path": gt_place,
        }

    def _augment(self, pictures: list[Picture], place: str, rng: np.random.Generator, size: int) -> list[np.ndarray]:
        shape = pictures[0].shape
        if min(shape) < size:
            self._warn_of_size(place, shape, size)
        window = random_window(*shape, size, rng)
        images = pad_to([picture.pixels(window) for picture in pictures], size)
        images = random_flip(images, rng, self.reading.use_hflip, self.reading.use_rot)
        return random_gray(images, rng, self.reading.gray)

    def _warn_of_size(self, place: str, shape: tuple[int, int], size: int) -> None:
        if not self._first_too_small():
            return
        logging.getLogger("basicsr").warning(
            f"{place}: {shape[1]}x{shape[0]} pixels are less than the crop of {size}; such images of "
            f"'{self.reading.name}' are padded by reflection"
        )

    def _synthesise(self, gt: np.ndarray, key: str, rng: np.random.Generator) -> np.ndarray:
        if self.reading.phase == "train":
            return degrade(self.degradation, gt, rng, **self.parameters)
        return degrade_for_evaluation(self.degradation, gt, key, **self.parameters)


def _to_tensor(image: np.ndarray) -> torch.Tensor:
    """H x W x 3 pixels, whole numbers or floats -> 3 x H x W, float32."""
    planes = np.ascontiguousarray(image.transpose(2, 0, 1))
    return torch.from_numpy(planes if planes.dtype == np.float32 else to_float(planes))


@DATASET_REGISTRY.register()
class DegradationDataset(Dataset):
    """Images of one degradation with their ground truth.

    A sample is a dict: `lq` and `gt`, float32 C x H x W, RGB, [0, 1] (noise is not clipped); `degradation`, its name;
    `lq_path` and `gt_path`.

    Args:
        opt: The data set's section of an option file; see `DegradationDataset.Options`.
    """

    @dataclass(kw_only=True)
    class Options(SetOptions, ReadingOptions, LoaderOptions):
        """Options of this data set."""

    def __init__(self, opt: dict[str, Any]) -> None:
        self.opt = opt
        self.keys = PlainKeys()
        self.images = ImageSet(SetOptions(**pick(SetOptions, opt)), ReadingOptions(**pick(ReadingOptions, opt)))

    @classmethod
    def image_sets(cls, opt: dict[str, Any]) -> dict[str, SetOptions]:
        """The sets of images that an option file's section asks for, by name, without opening them."""
        return {opt.get("name", "?"): SetOptions(**pick(SetOptions, opt))}

    def counts(self) -> dict[str, int]:
        """Samples of one epoch, by degradation."""
        return {self.images.degradation: len(self)}

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: int | SampleKey) -> Sample:
        epoch, index, *crop = self.keys(key)
        return self.images.sample(index, np.random.default_rng([self.images.reading.seed, epoch, index]), *crop)
