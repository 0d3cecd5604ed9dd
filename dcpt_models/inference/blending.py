"""Between a photograph and its restoration: how strong the result is; `dcpt restore` and `dcpt app` blend so."""

from __future__ import annotations

import cv2
import numpy as np


def blend(pixels: np.ndarray, restored: np.ndarray, strength: float) -> np.ndarray:
    """The photograph, and `strength` of what the restoration changes in it.

    Args:
        pixels: The photograph, H x W x C, uint8 or uint16.
        restored: Its restoration, of the same type; larger where the network enlarges.
        strength: 0 for the photograph (enlarged as `enlarge` does), 1 for the restoration exactly.

    Returns:
        Of the shape and type of `restored`.

    Raises:
        ValueError: If `strength` is not between 0 and 1.
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"the strength must be between 0 and 1, not {strength}")
    if strength == 1:
        return restored
    original = enlarge(pixels, restored.shape[0], restored.shape[1])
    mixed = cv2.addWeighted(original.astype(np.float32), 1 - strength, restored.astype(np.float32), strength, 0)
    return mixed.reshape(restored.shape).clip(0, np.iinfo(restored.dtype).max).round().astype(restored.dtype)


def enlarge(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """An image of another size, bicubic; the same if it has that size.

    Args:
        pixels: H x W x C or H x W, uint8 or uint16.
        height: Of the result.
        width: Of the result.
    """
    if pixels.shape[:2] == (height, width):
        return pixels
    resized = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_CUBIC)
    return resized.reshape(height, width, *pixels.shape[2:])
