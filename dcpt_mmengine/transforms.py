"""Degradations as a transform of mmcv, and what a pipeline needs beside it to end in a training sample."""

from __future__ import annotations

from typing import Any, Literal

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform

from dcpt_data.datasets.sampling import PlainKeys
from dcpt_data.degradations import check_parameters, degrade
from dcpt_data.errors import DataError
from dcpt_data.images.transforms import pad_to, random_flip, random_window
from dcpt_mmengine.registries import TRANSFORMS

Results = dict[str, Any]


class _Random(BaseTransform):
    """A transform with randomness of its own: no global generator is read or changed.

    What it draws depends on `seed` and on `epoch` and `sample_idx` of the results, if they say so (`PipelineDataset`
    does). Without an epoch each call counts as one.
    """

    NUMBER = 0  # so that two transforms of one seed draw different numbers

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.keys = PlainKeys()

    def generator(self, results: Results) -> np.random.Generator:
        """A new generator for a sample."""
        index = int(results.get("sample_idx", 0))
        key = (int(results["epoch"]), index) if "epoch" in results else self.keys(index)
        return np.random.default_rng([self.seed, self.NUMBER, *key])


@TRANSFORMS.register_module()
class Degrade(_Random):
    """Degrade an image by a degradation of this project: `dict(type="Degrade", degradation="haze", beta=[0.5, 1.5])`.

    Required keys: `img`, H x W x 3, uint8 or float32, 0 to 255. Modified: `img`, degraded, of the same type; uint8 is
    rounded and clipped. Added: `gt`, what it was; `degradation`, the name.

    Args:
        degradation: Name, or several joined by "+".
        seed: Of its randomness.
        channel_order: Of `img`; `LoadImageFromFile` gives "bgr".
        parameters: Of the degradation, of several by name.

    Raises:
        DataError: If there is no such degradation or parameter; while a sample is made, if `img` is of another kind.
    """

    NUMBER = 1

    def __init__(
        self, degradation: str, seed: int = 0, channel_order: Literal["bgr", "rgb"] = "bgr", **parameters: Any
    ) -> None:
        super().__init__(seed)
        try:
            check_parameters(degradation, parameters)
        except ValueError as error:
            raise DataError(f"Degrade: {error}") from error
        self.degradation, self.channel_order, self.parameters = degradation, channel_order, parameters

    def transform(self, results: Results) -> Results:
        """Degrade `img`."""
        clean = results["img"]
        step = -1 if self.channel_order == "bgr" else 1
        try:
            image = _colour(clean, "Degrade")[..., ::step].astype(np.float32) / np.float32(255)
            degraded = degrade(self.degradation, image, self.generator(results), **self.parameters)[..., ::step]
        except ValueError as error:
            raise DataError(f"{results.get('img_path', 'img')}: {error}") from error
        degraded = degraded * np.float32(255)
        if clean.dtype == np.uint8:
            degraded = degraded.round().clip(0, 255)
        return {
            **results,
            "img": np.ascontiguousarray(degraded.astype(clean.dtype)),
            "gt": clean,
            "degradation": self.degradation,
        }

    def __repr__(self) -> str:
        return f"{type(self).__name__}(degradation={self.degradation!r}, seed={self.seed}, {self.parameters})"


@TRANSFORMS.register_module()
class CropSquare(_Random):
    """Cut a square at random, and flip and turn it; smaller images are padded by reflection.

    Required keys: `img`; modified: `img`, `img_shape`. It stands before `Degrade`, so that both images are cut alike.

    Args:
        size: Side in pixels.
        hflip: Flip horizontally at random.
        rot: Turn by multiples of 90 degrees at random.
        seed: Of its randomness.
    """

    NUMBER = 2

    def __init__(self, size: int, hflip: bool = True, rot: bool = True, seed: int = 0) -> None:
        super().__init__(seed)
        self.size, self.hflip, self.rot = size, hflip, rot

    def transform(self, results: Results) -> Results:
        """Cut `img`."""
        rng, image = self.generator(results), _colour(results["img"], "CropSquare")
        top, left, height, width = random_window(image.shape[0], image.shape[1], self.size, rng)
        (crop,) = pad_to([image[top : top + height, left : left + width]], self.size)
        (crop,) = random_flip([crop], rng, self.hflip, self.rot)
        return {**results, "img": np.ascontiguousarray(crop), "img_shape": crop.shape[:2]}


@TRANSFORMS.register_module()
class PackPair(BaseTransform):
    """End a pipeline in what the methods of this project train on.

    Required keys: `img` and `gt`, H x W x 3, 0 to 255; `degradation`. The result has `lq` and `gt`, 3 x H x W, float32,
    RGB in [0, 1], `degradation`, `name`, `lq_path` and `gt_path`.

    Args:
        channel_order: Of `img` and `gt`.
    """

    def __init__(self, channel_order: Literal["bgr", "rgb"] = "bgr") -> None:
        self.channel_order = channel_order

    def transform(self, results: Results) -> Results:
        """Make the sample."""
        path = str(results.get("img_path", ""))
        name = path.rpartition("/")[2].rpartition(".")[0]
        pair = {"lq": self._tensor(results["img"]), "gt": self._tensor(results["gt"])}
        return {**pair, "degradation": results["degradation"], "name": name, "lq_path": path, "gt_path": path}

    def _tensor(self, image: np.ndarray) -> torch.Tensor:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB) if self.channel_order == "bgr" else image
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1), np.float32) / 255)


def _colour(image: Any, name: str) -> np.ndarray:
    if not (isinstance(image, np.ndarray) and image.ndim == 3 and image.shape[2] == 3):
        raise DataError(f"{name}: `img` must be H x W x 3; load it with LoadImageFromFile(color_type='color')")
    if image.dtype not in (np.uint8, np.float32):
        raise DataError(f"{name}: `img` must be uint8 or float32, 0 to 255, not {image.dtype}")
    return image
