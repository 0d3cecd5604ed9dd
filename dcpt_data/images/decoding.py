"""Decoding by Pillow and OpenCV without their limits of size; used by photograph_files, pixels and tiff."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
from PIL import Image, ImageCms


@contextmanager
def open_picture(data: bytes) -> Iterator[Image.Image]:
    """Open an image of any size; by default, Pillow refuses large ones as decompression bombs.

    Raises:
        Exception: Nearly any; decoders of damaged files raise SyntaxError, struct.error, EOFError and others.
    """
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        with Image.open(io.BytesIO(data)) as picture:
            yield picture
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def decode_by_opencv(data: bytes) -> np.ndarray | None:
    """Pixels as they are stored, blue first; None if OpenCV cannot decode them, or finds more than it allows."""
    if not data:
        return None
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:  # at sizes beyond its limits, which damaged headers name as well
        return None


def rgb_of_cmyk(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """The colours of printing inks: in sRGB by their profile, by the plain formula without one."""
    if profile:
        try:
            given, srgb = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
            return ImageCms.profileToProfile(picture, given, srgb, outputMode="RGB") or picture.convert("RGB")
        except (ImageCms.PyCMSError, OSError):  # a damaged profile says nothing
            pass
    return picture.convert("RGB")


def upright(channels: np.ndarray, turn: int) -> np.ndarray:
    """Turn rows and columns of an image, H x W or H x W x C, as an EXIF orientation, 1 to 8, says; a view."""
    if turn >= 5:
        channels = channels.swapaxes(0, 1)
    down, right = turn in (3, 4, 7, 8), turn in (2, 3, 6, 7)
    return channels[:: -1 if down else 1, :: -1 if right else 1]
