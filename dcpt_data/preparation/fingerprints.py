"""Fingerprints of photographs, which find copies: a digest of the pixels, and a thumbnail that survives resizing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

from dcpt_data.images.pixels import to_float

SIDE = 16  # of a thumbnail, in pixels
# Of the thumbnails of different photographs: 0.885 at most among 414 (BSD400 and Set14). Of a photograph and its copy:
# 0.993 at least after JPEG of quality 50, halving, or noise of sigma 25; 0.985 for 413 of 414 after JPEG quality 10.
SAME = 0.985
_LEAST_CONTRAST = 0.01  # standard deviation of a thumbnail in [0, 1]; below it there is nothing to compare
ROWS = 512  # of a block of comparisons


class Fingerprint(NamedTuple):
    """A photograph to be compared with others.

    Attributes:
        digest: Of all pixels, type and shape; equal for equal decoded images, whatever their files.
        thumbnail: float32 of `SIDE` x `SIDE` values with mean 0 and length 1; zeros if there is too little contrast.
        shape: Height and width in pixels.
    """

    digest: bytes
    thumbnail: np.ndarray
    shape: tuple[int, int]


def fingerprint(image: np.ndarray) -> Fingerprint:
    """The fingerprint of H x W x 3, RGB, uint8 or uint16 pixels."""
    digest = hashlib.blake2b(f"{image.dtype} {image.shape}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image).data)
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = to_float(cv2.resize(gray, (SIDE, SIDE), interpolation=cv2.INTER_AREA)).ravel()
    thumbnail = small - small.mean()
    length = float(np.linalg.norm(thumbnail))
    scale = 1 / length if length >= _LEAST_CONTRAST * SIDE else 0
    return Fingerprint(digest.digest(), thumbnail * np.float32(scale), image.shape[:2])


def copies(known: list[Fingerprint], looked_up: list[Fingerprint]) -> Iterator[tuple[int, int, bool]]:
    """Photographs that are among others as well.

    Copies that were encoded again, resized, or made brighter or darker are found; mirrored or cropped ones are not.

    Args:
        known: Where to look.
        looked_up: What to look for.

    Yields:
        Of each one found: its index in `looked_up`, that of the most similar in `known`, and whether the pixels are
        equal.
    """
    if not known or not looked_up:
        return
    by_digest = {print_.digest: index for index, print_ in reversed(list(enumerate(known)))}
    thumbnails = np.stack([print_.thumbnail for print_ in known])
    for begin in range(0, len(looked_up), ROWS):
        block = looked_up[begin : begin + ROWS]
        likeness = np.stack([print_.thumbnail for print_ in block]) @ thumbnails.T
        for offset, (print_, best) in enumerate(zip(block, likeness.argmax(axis=1), strict=True)):
            if print_.digest in by_digest:
                yield begin + offset, by_digest[print_.digest], True
            elif likeness[offset, best] >= SAME:
                yield begin + offset, int(best), False
