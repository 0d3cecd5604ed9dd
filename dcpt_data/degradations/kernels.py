"""Blur kernels: float32, of odd sides, with their centre of mass in the middle, and a sum of 1."""

import numpy as np
import numpy.typing as npt

from dcpt_data.degradations.registry import Image


def gaussian(sigma: float) -> Image:
    """Returns a Gaussian of a standard deviation in pixels as a column, k x 1; it reaches to four of them."""
    reach = int(np.ceil(4 * sigma))
    distance = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (distance / max(sigma, 1e-6)) ** 2)
    return (weights / weights.sum()).astype(np.float32)[:, None]


def disk(radius: float) -> Image:
    """Returns a disk of a radius in pixels, k x k; pixels on its edge weigh nearly as much as lies within it."""
    reach = int(np.ceil(radius))
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    weights = (radius + 0.5 - np.hypot(rows, columns)).clip(0, 1)
    return (weights / weights.sum()).astype(np.float32)


def along(path: npt.NDArray[np.float64]) -> Image:
    """Spreads each point of a path over its four nearest pixels, which keeps the path's centroid.

    Args:
        path: Points (x, y) in pixels from the middle, N x 2, that are passed at equal intervals of time.
    """
    radius = int(np.ceil(np.abs(path).max())) + 1
    side = 2 * radius + 1
    corner = np.floor(path).astype(int)
    right, down = (path - corner).T
    index = (corner[:, 1] + radius) * side + corner[:, 0] + radius
    indices = np.concatenate([index, index + 1, index + side, index + side + 1])
    weights = np.concatenate([(1 - right) * (1 - down), right * (1 - down), (1 - right) * down, right * down])
    kernel = np.bincount(indices, weights, side * side).reshape(side, side)
    return (kernel / len(path)).astype(np.float32)
