"""Cropping, padding and flipping, the same for all images of a sample; pixels keep their type."""

from __future__ import annotations

import cv2
import numpy as np

from dcpt_data.images.pixels import Window


def pad_to(images: list[np.ndarray], size: int) -> list[np.ndarray]:
    """Reflect images at their lower and right edge until both sides are at least `size` pixels long."""
    height, width = images[0].shape[:2]
    down, right = max(0, size - height), max(0, size - width)
    if not (down or right):
        return images
    return [np.pad(image, ((0, down), (0, right), (0, 0)), mode="reflect") for image in images]


def random_window(height: int, width: int, size: int, rng: np.random.Generator) -> Window:
    """A random size x size window of an image; of a side that is shorter, all of it (see `pad_to`)."""
    top = int(rng.integers(max(height - size, 0) + 1))
    left = int(rng.integers(max(width - size, 0) + 1))
    return Window(top, left, min(size, height), min(size, width))


def random_flip(images: list[np.ndarray], rng: np.random.Generator, flip: bool, rotate: bool) -> list[np.ndarray]:
    """Mirror horizontally with probability 1/2 (`flip`) and turn by a multiple of 90 degrees (`rotate`)."""
    mirror = flip and bool(rng.integers(2))
    turns = int(rng.integers(4)) if rotate else 0
    return [np.rot90(image[:, ::-1] if mirror else image, turns) for image in images]


def random_gray(images: list[np.ndarray], rng: np.random.Generator, share: float) -> list[np.ndarray]:
    """Make RGB images gray with a probability: three equal channels, the luma of ITU-R BT.601."""
    if not share or rng.random() >= share:
        return images
    return [cv2.cvtColor(cv2.cvtColor(np.ascontiguousarray(i), cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB) for i in images]
