"""Images of one degradation, each with its ground truth: pairs from folders, or synthesised from clean photographs."""

from __future__ import annotations

import logging
import multiprocessing
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from basicsr.utils.registry import DATASET_REGISTRY
from torch.utils.data import Dataset

from dcpt_data.degradations import DEGRADATIONS, check_parameters, degrade, evaluation_noise
from dcpt_data.errors import DataError
from dcpt_data.images import list_images, read_image, to_float
from dcpt_data.options import LoaderOptions, ReadingOptions, SetOptions, pick
from dcpt_data.pairing import Rule, find_pairs
from dcpt_data.sampling import SampleKey
from dcpt_data.sources import get_source
from dcpt_data.transforms import pad_to, random_crop, random_flip

Sample = dict[str, Any]
Pair = tuple[Path | None, Path]  # degraded (none to synthesise it), ground truth


@dataclass(frozen=True)
class Images:
    """A resolved `SetOptions`: the degradation and the folders."""

    degradation: str
    root_gt: Path
    root_lq: Path | None
    pairing: Rule
    about: str


def locate(options: SetOptions) -> Images:
    """Fill in what a `source` says, and check that what remains names a set of images.

    Raises:
        DataError: If the degradation or the ground truth is not known, or synthesis cannot make the degradation.
    """
    source = get_source(options.source) if options.source else None
    base = Path(options.datasets_root, source.folder) if source else Path()
    degradation = options.degradation or (source.degradation if source else None)
    root_gt = options.dataroot_gt or (str(base / source.gt) if source else None)
    root_lq = options.dataroot_lq
    if root_lq is None and source and source.lq and options.dataroot_gt is None:
        root_lq = str(base / source.lq)
    if not degradation or not root_gt:
        raise DataError("a data set needs a `source`, or `degradation` and `dataroot_gt` (and `dataroot_lq` for pairs)")
    if root_lq is None:
        try:
            check_parameters(degradation, options.parameters)
        except ValueError as error:
            raise DataError(f"'{degradation}' cannot be synthesised ({error}); give `dataroot_lq` for pairs") from error
    elif options.parameters:
        raise DataError(f"`parameters` are for synthesised degradations, but '{root_lq}' has degraded images already")
    pairing = options.pairing or (source.pairing if source else "same")
    about = f"{source.about}; {source.where}" if source else "your own folder"
    return Images(degradation, Path(root_gt), Path(root_lq) if root_lq else None, pairing, about)


class ImageSet:
    """The samples of one degradation, without augmentation options: what a data set and a mixture share.

    Args:
        options: Which images.
        reading: How they are read.

    Raises:
        DataError: If folders are missing or empty, or images have no partner.
    """

    def __init__(self, options: SetOptions, reading: ReadingOptions) -> None:
        images = locate(options)
        self.degradation, self.root_gt = images.degradation, images.root_gt
        self.parameters, self.reading = options.parameters, reading
        self.pairs: list[Pair]
        if images.root_lq is None:
            self.pairs = [(None, path) for path in list_images(images.root_gt)]
        else:
            self.pairs = [*find_pairs(images.root_lq, images.root_gt, images.pairing)]
        if options.limit is not None:
            self.pairs = _spread(self.pairs, options.limit)
        # Shared by the workers, so that a data set warns once and not once a worker.
        self._warned_of_size = multiprocessing.Value("b", False)

    def __len__(self) -> int:
        return len(self.pairs)

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """Read one sample; `rng` decides crop, flips and a synthesised degradation while training."""
        lq_path, gt_path = self.pairs[index]
        paths = [gt_path] if lq_path is None else [gt_path, lq_path]
        images = [read_image(path) for path in paths]
        if lq_path is not None and images[0].shape != images[1].shape:
            sizes = " and ".join(f"{image.shape[1]}x{image.shape[0]}" for image in images)
            raise DataError(f"{gt_path} and {lq_path} are no pair: their sizes are {sizes}")
        if self.reading.phase == "train":
            images = self._augment(images, gt_path, rng)
        else:
            name = gt_path.relative_to(self.root_gt).as_posix()
            rng = np.random.default_rng(zlib.crc32(name.encode()))
        gt = to_float(images[0])
        lq = to_float(images[1]) if lq_path is not None else self._synthesise(gt, rng)
        return {
            "lq": _to_tensor(lq),
            "gt": _to_tensor(gt),
            "degradation": self.degradation,
            "name": gt_path.relative_to(self.root_gt).with_suffix("").as_posix(),
            "lq_path": str(lq_path or gt_path),
            "gt_path": str(gt_path),
        }

    def _augment(self, images: list[np.ndarray], path: Path, rng: np.random.Generator) -> list[np.ndarray]:
        size = self.reading.gt_size
        if min(images[0].shape[:2]) < size:
            self._warn_of_size(path, images[0].shape)
            images = pad_to(images, size)
        images = random_crop(images, size, rng)
        return random_flip(images, rng, self.reading.use_hflip, self.reading.use_rot)

    def _warn_of_size(self, path: Path, shape: tuple[int, ...]) -> None:
        with self._warned_of_size.get_lock():
            if self._warned_of_size.value:
                return
            self._warned_of_size.value = True
        logging.getLogger("basicsr").warning(
            f"{path}: {shape[1]}x{shape[0]} pixels are less than the crop of {self.reading.gt_size}; such images of "
            f"'{self.reading.name}' are padded by reflection"
        )

    def _synthesise(self, gt: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        sigma = {**(DEGRADATIONS["noise"].__kwdefaults__ or {}), **self.parameters}["sigma"]
        if self.reading.phase != "train" and self.degradation == "noise" and isinstance(sigma, (int, float)):
            noisy = evaluation_noise(gt, sigma)
            return noisy.clip(0, 1) if self.parameters.get("clip") else noisy
        return degrade(self.degradation, gt, rng, **self.parameters)


def _spread(pairs: list[Pair], limit: int) -> list[Pair]:
    """At most `limit` of the pairs, evenly spread."""
    if limit < 1:
        raise DataError(f"limit must be 1 or more, not {limit}")
    step = max(1.0, len(pairs) / limit)
    return [pairs[int(i * step)] for i in range(min(limit, len(pairs)))]


def _to_tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


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
        epoch, index = key if isinstance(key, tuple) else (0, key)
        return self.images.sample(index, np.random.default_rng([self.images.reading.seed, epoch, index]))
