"""The photographs that scikit-image installs: what the demo and the tests are made from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from skimage import data

from dcpt_data.images.pixels import write_image

LARGEST = 640  # pixels; larger photographs are reduced, so that reading them does not hold up what is small

TRAIN: dict[str, Callable[[], np.ndarray]] = {
    **{name: getattr(data, name) for name in ("brick", "camera", "chelsea", "coins", "grass", "gravel", "rocket")},
    "motorcycle": lambda: data.stereo_motorcycle()[0],
}
# Photographs of science, for more colours than the others have.
SCIENCE: dict[str, Callable[[], np.ndarray]] = {
    name: getattr(data, name) for name in ("hubble_deep_field", "immunohistochemistry", "retina")
}
TEST: dict[str, Callable[[], np.ndarray]] = {name: getattr(data, name) for name in ("astronaut", "coffee")}


def load(photograph: Callable[[], np.ndarray], largest: int = LARGEST) -> np.ndarray:
    """One of the photographs as H x W x 3, RGB, uint8, at most `largest` pixels long."""
    image = photograph()
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    factor = largest / max(image.shape[:2])
    if factor < 1:
        size = (round(image.shape[1] * factor), round(image.shape[0] * factor))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(image[..., :3])


def write_photographs(folder: Path, photographs: dict[str, Callable[[], np.ndarray]], largest: int = LARGEST) -> None:
    """Write photographs, at most `largest` pixels long, as PNG files named after them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, photograph in photographs.items():
        write_image(folder / f"{name}.png", load(photograph, largest))


def write_tiles(
    folder: Path, photographs: dict[str, Callable[[], np.ndarray]], size: int, largest: int = LARGEST
) -> None:
    """Write photographs, at most `largest` pixels long, cut into whole size x size tiles, as PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, photograph in photographs.items():
        image = load(photograph, largest)
        rows, columns = image.shape[0] // size, image.shape[1] // size
        for row in range(rows):
            for column in range(columns):
                top, left = row * size, column * size
                tile = image[top : top + size, left : left + size]
                write_image(folder / f"{name}_{row}_{column}.png", tile)
