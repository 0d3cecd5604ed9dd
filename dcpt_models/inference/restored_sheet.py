"""A picture of a restoration: the photograph, what was made of it, and the place that changed most at full size."""

from __future__ import annotations

import cv2
import numpy as np

from dcpt_models.inference.blending import enlarge
from dcpt_models.inference.diagnosis_sheet import DARK, LINE, MARGIN, write_text

LONGEST = 900  # pixels of the longer side of each photograph in the picture
DETAIL = 320  # pixels of the sides of the details


def draw_pair(pixels: np.ndarray, restored: np.ndarray, caption: str) -> np.ndarray:
    """Draw a photograph beside its restoration.

    Args:
        pixels: The photograph, H x W x 3, RGB, uint8.
        restored: Its restoration; larger where the network enlarges.
        caption: The line above.

    Returns:
        RGB, uint8. Below the two there is the detail that changed most, if they had to be reduced to fit.
    """
    original = enlarge(pixels, restored.shape[0], restored.shape[1])
    rows = [_pair(original, restored, LONGEST)]
    if max(restored.shape[:2]) > LONGEST:
        top, left = most_changed(original, restored, DETAIL)
        part = slice(top, top + DETAIL), slice(left, left + DETAIL)
        rows.append(_pair(original[part], restored[part], LONGEST))
    width = max(row.shape[1] for row in rows)
    title = np.full((LINE + MARGIN, width, 3), 255, np.uint8)
    write_text(title, caption, MARGIN, 0, DARK)
    white = (255, 255, 255)
    padded = [cv2.copyMakeBorder(r, 0, MARGIN, 0, width - r.shape[1], cv2.BORDER_CONSTANT, value=white) for r in rows]
    return np.vstack([title, *padded])


def _pair(original: np.ndarray, restored: np.ndarray, longest: int) -> np.ndarray:
    factor = min(1.0, longest / max(original.shape[:2]))
    size = (max(1, round(original.shape[1] * factor)), max(1, round(original.shape[0] * factor)))
    left, right = (cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in (original, restored))
    return np.hstack([left, np.full((size[1], MARGIN, 3), 255, np.uint8), right])


def most_changed(original: np.ndarray, restored: np.ndarray, side: int) -> tuple[int, int]:
    """Top and left of the square of `side` pixels in which two images of one size, uint8, differ most.

    The square is as small as the image where that is smaller.
    """
    change = cv2.absdiff(original, restored).sum(2, dtype=np.float32)
    sums = cv2.integral(change)
    high, wide = (min(side, length) for length in change.shape)
    inside = sums[high:, wide:] - sums[:-high, wide:] - sums[high:, :-wide] + sums[:-high, :-wide]
    top, left = np.unravel_index(int(inside.argmax()), inside.shape)
    return int(top), int(left)
