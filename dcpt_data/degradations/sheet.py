"""A labelled sheet of degradations of one photograph."""

from collections.abc import Callable

import cv2
import numpy as np

from dcpt_data.degradations.composition import degrade
from dcpt_data.degradations.registry import Image
from dcpt_data.images.pixels import to_float, to_uint8

WIDTH = 256  # pixels of a tile
_COLUMNS, _GAP, _CAPTION = 4, 6, 26  # pictures in a row, and pixels around and above each
Restore = Callable[[Image], Image]


def contact_sheet(photograph: np.ndarray, names: list[str], seed: int, restore: Restore | None = None) -> np.ndarray:
    """Draws a photograph as it is, and with each of several degradations as in training.

    The photograph is reduced to the width of a tile first, so that sizes in pixels look as in a crop.

    Args:
        photograph: H x W x 3, RGB, uint8 or uint16.
        names: Degradations as ``degrade`` takes them.
        seed: Each degradation draws from a generator seeded with it and its place.
        restore: What restores an image H x W x 3 in [0, 1]; its result is drawn to the right of each, with the PSNR
            before and after above.

    Returns:
        The sheet, RGB, uint8.

    Raises:
        ValueError: A degradation is unknown.
    """
    size = WIDTH, max(1, round(photograph.shape[0] * WIDTH / photograph.shape[1]))
    clean = np.asarray(cv2.resize(to_float(photograph), size, interpolation=cv2.INTER_AREA), np.float32)
    images = {"clean": clean}
    for place, name in enumerate(names):
        images[name] = degrade(name, clean, np.random.default_rng([seed, place]))
    if restore is None:
        tiles = [_tile(image, caption) for caption, image in images.items()]
    else:
        tiles = [tile for name, image in images.items() for tile in _pair(name, image, restore(image), clean)]
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % _COLUMNS)
    return np.vstack([np.hstack(tiles[i : i + _COLUMNS]) for i in range(0, len(tiles), _COLUMNS)])


def _pair(name: str, image: Image, restored: Image, clean: Image) -> list[np.ndarray]:
    before, after = (_psnr(x, clean) for x in (image, restored))
    said = f"{name} {before:.1f} dB" if np.isfinite(before) else name
    return [_tile(image, said), _tile(restored, f"restored {after:.1f} dB")]


def _psnr(image: Image, clean: Image) -> float:
    """In dB, of images in [0, 1]; infinite for equal ones."""
    error = float(np.square(image.clip(0, 1) - clean, dtype=np.float64).mean())
    return float(-10 * np.log10(error)) if error else float("inf")


def _tile(image: Image, caption: str) -> np.ndarray:
    height, width = image.shape[:2]
    tile = np.full((height + _CAPTION + _GAP, width + 2 * _GAP, 3), 255, np.uint8)
    tile[_CAPTION : _CAPTION + height, _GAP : _GAP + width] = to_uint8(image)
    place = _GAP, _CAPTION - 8
    cv2.putText(tile, caption, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return tile
