"""Cropping and flipping that treat all images of a sample alike; pixels keep their type."""

from __future__ import annotations

import numpy as np

from dcpt_data.errors import DataError


def pad_to(images: list[np.ndarray], size: int) -> list[np.ndarray]:
    """Reflect images at their lower and right edge until both sides are at least `size` pixels long."""
    height, width = images[0].shape[:2]
    down, right = max(0, size - height), max(0, size - width)
    if not (down or right):
        return images
    return [np.pad(image, ((0, down), (0, right), (0, 0)), mode="reflect") for image in images]


def random_crop(images: list[np.ndarray], size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Cut one random size x size window out of all images (views, not copies).

    Raises:
        DataError: If an image is smaller than the window.
    """
    height, width = images[0].shape[:2]
    if height < size or width < size:
        raise DataError(f"an image of {height} x {width} pixels is smaller than the crop of {size}")
    top, left = int(rng.integers(height - size + 1)), int(rng.integers(width - size + 1))
    return [image[top : top + size, left : left + size] for image in images]


def random_flip(images: list[np.ndarray], rng: np.random.Generator, flip: bool, rotate: bool) -> list[np.ndarray]:
    """Mirror horizontally with probability 1/2 (`flip`) and turn by a multiple of 90 degrees (`rotate`)."""
    mirror = flip and bool(rng.integers(2))
    turns = int(rng.integers(4)) if rotate else 0
    return [np.rot90(image[:, ::-1] if mirror else image, turns) for image in images]
