"""Reading and writing image files as RGB arrays, at the depth they are stored in."""

from __future__ import annotations

import io
import os
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from dcpt_data.errors import DataError

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
_DEEP_SUFFIXES = frozenset({".png", ".tif", ".tiff"})  # OpenCV would clip 16-bit pixels to white in the others


def read_image(path: str | Path) -> np.ndarray:
    """Read a photograph.

    Grayscale is repeated to three channels, an alpha channel is left out, 16-bit files keep their depth.

    Args:
        path: A PNG, JPEG, BMP, TIFF or WebP file.

    Returns:
        H x W x 3, RGB, uint8 or uint16.

    Raises:
        DataError: If the file is missing, truncated, or no image of 8 or 16 bits.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    if image is None:
        raise DataError(f"{path}: not an image, or damaged beyond decoding; replace or remove it")
    _refuse_truncated(path, data)
    if image.dtype not in (np.uint8, np.uint16):
        raise DataError(f"{path}: pixels are {image.dtype}; 8-bit and 16-bit images can be read")
    if image.ndim == 2:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    if image.shape[2] == 2:  # gray with alpha
        return cv2.cvtColor(image[..., 0], cv2.COLOR_GRAY2RGB)
    if image.shape[2] == 4 and image.dtype == np.uint8 and data[:4] in (b"II*\0", b"MM\0*"):
        # OpenCV has multiplied the colours of a TIFF by its alpha, which cannot be undone.
        with Image.open(io.BytesIO(data)) as tiff:
            return np.array(tiff.convert("RGB"))
    return cv2.cvtColor(image, cv2.COLOR_BGRA2RGB if image.shape[2] == 4 else cv2.COLOR_BGR2RGB)


def _refuse_truncated(path: Path, data: bytes) -> None:
    """OpenCV fills what is missing of a truncated file with gray and says nothing; Pillow refuses it."""
    tail = data[-1024:]
    complete = {".png": b"IEND", ".jpg": b"\xff\xd9", ".jpeg": b"\xff\xd9"}.get(path.suffix.lower(), b"")
    if complete in tail:
        return
    try:
        with Image.open(path) as image:
            image.load()
    except (OSError, SyntaxError) as error:
        raise DataError(f"{path}: truncated ({error}); copy or download it again") from error


def to_float(image: np.ndarray) -> np.ndarray:
    """uint8 or uint16 pixels -> float32 in [0, 1]."""
    return image.astype(np.float32) / np.float32(np.iinfo(image.dtype).max)


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Float pixels in [0, 1] (clipped to it) -> uint8, rounded to the nearest."""
    return (image.clip(0, 1) * 255).round().astype(np.uint8)


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Write H x W x 3 RGB pixels, uint8 or uint16, in the format that the suffix names; a PNG quickly, not smallest.

    Raises:
        DataError: If the file cannot be written, or the format cannot hold the pixels.
    """
    path = Path(path)
    suffixes = _DEEP_SUFFIXES if image.dtype == np.uint16 else IMAGE_SUFFIXES
    if path.suffix.lower() not in suffixes:
        raise DataError(f"{path}: {image.dtype} pixels can be written as {', '.join(sorted(suffixes))}")
    parameters = [cv2.IMWRITE_PNG_COMPRESSION, 1] if path.suffix.lower() == ".png" else []
    _, data = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), parameters)
    try:
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror})") from error


def list_images(folder: str | Path) -> list[Path]:
    """All image files below a folder, in sorted order; hidden files and folders are passed over.

    Raises:
        DataError: If the folder is missing or holds no image.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    found: list[Path] = []
    for home, inner, files in os.walk(folder, followlinks=True):
        inner[:] = [name for name in inner if not name.startswith(".")]
        found += [
            Path(home, name)
            for name in files
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - 10x
        ]
    if not found:
        raise DataError(f"{folder}: no images in this folder; it should hold {', '.join(sorted(IMAGE_SUFFIXES))} files")
    return sorted(found)
