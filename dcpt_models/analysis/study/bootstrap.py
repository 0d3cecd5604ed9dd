"""Confidence intervals of means over seeds and images: percentile bootstrap (Efron and Tibshirani, 1993).

What is resampled are seeds and images at once, each as a whole ("pigeonhole bootstrap", Owen, Annals of Applied
Statistics 2007), since every image is restored by the networks of every seed: neither is new in each cell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

AVERAGE = "average"
LEVEL = 0.95
DRAWS = 10_000


class Interval(NamedTuple):
    """A mean, and the interval of its resampled values."""

    mean: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Paired:
    """Differences of two arms on a test set.

    Attributes:
        images: Names of the images.
        values: Seeds x images.
    """

    images: Sequence[str]
    values: np.ndarray


def intervals(
    differences: Mapping[str, Paired], level: float = LEVEL, draws: int = DRAWS, seed: int = 0
) -> dict[str, Interval]:
    """Intervals of the mean of each set, and of the plain mean of the sets' means.

    Each draw takes as many seeds and as many images as there are, with replacement. Seeds are drawn once for all sets,
    and so are images for sets of the same images (photographs that were degraded in several ways): what is common to
    them stays common. Sets of other images are drawn by themselves.

    Args:
        differences: Set -> differences, of the same seeds in the same order.
        level: Share of the draws that lie in the interval.
        draws: How many.
        seed: Of the draws; equal seeds give equal draws, whatever the differences.

    Returns:
        Set -> interval, and that of the mean over the sets as `average`. Its ends are percentiles, linearly
        interpolated between draws. With a single seed the interval says nothing of how much seeds matter.
    """
    rng = np.random.default_rng(seed)
    seeds = len(next(iter(differences.values())).values)
    of_seeds = _counts(rng, draws, seeds)
    of_images: dict[tuple[str, ...], np.ndarray] = {}
    means: dict[str, np.ndarray] = {}
    points: dict[str, float] = {}
    for name, one in differences.items():
        images = tuple(one.images)
        if images not in of_images:
            of_images[images] = _counts(rng, draws, len(images))
        means[name] = ((of_seeds @ one.values) * of_images[images]).sum(axis=1) / (seeds * len(images))
        points[name] = float(one.values.mean())
    means[AVERAGE] = np.mean(list(means.values()), axis=0)
    points[AVERAGE] = float(np.mean(list(points.values())))
    ends = [50 * (1 - level), 50 * (1 + level)]
    return {name: Interval(points[name], *map(float, np.percentile(means[name], ends))) for name in means}


def _counts(rng: np.random.Generator, draws: int, size: int) -> np.ndarray:
    """How often each of `size` things is drawn, draws x size."""
    return rng.multinomial(size, np.full(size, 1 / size), draws).astype(np.float64)
