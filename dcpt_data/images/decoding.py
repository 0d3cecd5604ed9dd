"""Decoding by Pillow and OpenCV without their limits of size; used by photograph_files, pixels and tiff."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
from PIL import Image, ImageCms

from dcpt_data.errors import DataError

_ORIENTATION = 274


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


def eight_bits(picture: Image.Image, profile: bytes | None, place: str) -> tuple[Image.Image, bytes | None]:
    """An image of mode L, LA, RGB or RGBA, and the profile that it has then.

    Raises:
        DataError: If its pixels are of another depth or kind.
    """
    see_through = "A" in picture.getbands() or "transparency" in picture.info
    if picture.mode == "CMYK":
        return rgb_of_cmyk(picture, profile), None
    if picture.mode in ("1", "L", "LA", "La"):
        return picture.convert("LA" if see_through else "L"), profile
    if picture.mode in ("P", "PA", "RGB", "RGBA", "RGBa", "YCbCr"):
        return picture.convert("RGBA" if see_through else "RGB"), profile
    raise DataError(f"{place}: pixels of mode {picture.mode} cannot be read; save it as RGB or gray with 8 or 16 bits")


def turn_of(picture: Image.Image) -> int:
    """The EXIF orientation of a picture that Pillow has opened, 1 to 8; 1 where there is none that is sound."""
    try:
        turn = picture.getexif().get(_ORIENTATION)
    except Exception:  # whatever garbage makes Pillow raise
        return 1
    return turn if isinstance(turn, int) and 1 <= turn <= 8 else 1


def upright(channels: np.ndarray, turn: int) -> np.ndarray:
    """Turn rows and columns of an image, H x W or H x W x C, as an EXIF orientation, 1 to 8, says; a view."""
    if turn >= 5:
        channels = channels.swapaxes(0, 1)
    down, right = turn in (3, 4, 7, 8), turn in (2, 3, 6, 7)
    return channels[:: -1 if down else 1, :: -1 if right else 1]
