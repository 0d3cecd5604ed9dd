"""Image files with all that they hold: alpha channel, depth, gray or colour, orientation, EXIF and colour profile.

`dcpt_data.images.pixels` reads RGB pixels for training; this module keeps everything else of a photograph as well.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from dcpt_common import write_atomically
from dcpt_data.errors import DataError
from dcpt_data.images import png
from dcpt_data.images.decoding import decode_by_opencv, eight_bits, open_picture, turn_of, upright
from dcpt_data.images.encoders import encode_deep_png, encode_deep_tiff, encode_eight
from dcpt_data.images.headers import KNOWN, Facts, look, refuse_several
from dcpt_data.images.metadata import JPEG_LIMIT, Carried, carried_by, carried_by_tiff, fitting
from dcpt_data.images.pixels import IMAGE_SUFFIXES
from dcpt_data.images.tiff import Tiff, is_tiff, read_tiff

# What each kind of file can hold, besides 8-bit RGB.
DEEP = frozenset({".png", ".tif", ".tiff"})
WITH_ALPHA = frozenset({".png", ".tif", ".tiff", ".webp"})
# Pixels of the longest side, where the format or its encoder has a limit that photographs reach.
LONGEST = {".webp": 16_383, ".jpg": 65_500, ".jpeg": 65_500}


@dataclass(frozen=True)
class ImageFile:
    """One decoded image, upright.

    Attributes:
        pixels: H x W x 3, RGB, or H x W x 1, gray; uint8 or uint16.
        alpha: H x W of the same depth, not multiplied into the colours; None if there is none.
        profile: The ICC colour profile, or None.
        exif: What the camera and others wrote down, with the orientation "upright"; None if there is nothing.
        dpi: Pixels an inch across and down, or None.
        lossless: Whether it came from a WebP of exact pixels, and is to be written so if it becomes one.
        lost: Names of what the file carried and could not be kept, such as "EXIF XResolution".
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    profile: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None
    lossless: bool = False
    lost: tuple[str, ...] = ()


def read_image_file(path: str | Path) -> ImageFile:
    """Read a PNG, JPEG, BMP, TIFF or WebP file and turn it as its EXIF orientation says.

    A palette is resolved, CMYK becomes RGB (sRGB, if the file has a profile). EXIF that is mistyped or garbage is left
    out, with a warning, and named in the result's `lost`.

    Raises:
        DataError: If the file is missing, damaged, no image of 8 or 16 bits, larger than memory, or holds several
            images.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
        image = _of_tiff(path, data, read_tiff(data, str(path))) if is_tiff(data) else _of_all_others(path, data)
    except OSError as error:
        if isinstance(error, Image.UnidentifiedImageError):
            known = ", ".join(sorted(IMAGE_SUFFIXES))
            raise DataError(f"{path}: not an image, or of a kind that cannot be read; known are {known}") from error
        how = (
            f"cannot be read ({error.strerror})" if error.strerror else f"damaged or truncated ({error}); copy it again"
        )
        raise DataError(f"{path}: {how}") from error
    except DataError:
        raise
    except MemoryError as error:
        raise DataError(f"{path}: decoded, it is larger than the memory that is free") from error
    except Exception as error:  # decoders of damaged files raise nearly anything: SyntaxError, struct.error, EOFError
        raise DataError(f"{path}: damaged or truncated ({error}); copy it again or remove it") from error
    if image.lost:
        logging.getLogger("basicsr").warning(f"{path}: {', '.join(image.lost)} cannot be understood and is left out")
    return image


def _of_tiff(path: Path, data: bytes, tiff: Tiff) -> ImageFile:
    if tiff.others:
        raise DataError(
            f"{path}: has {tiff.others} samples a pixel that are neither colour nor transparency and would be lost; "
            "save it without them"
        )
    carried = carried_by_tiff(data, tiff)
    return _image(tiff.colours, tiff.alpha, tiff.turn, tiff.profile, carried, False)


def _of_all_others(path: Path, data: bytes) -> ImageFile:
    """Read what is no TIFF; of a PNG whose further chunks are damaged, the pixels alone."""
    try:
        return _of_others(path, data, look(data))
    except (DataError, MemoryError):
        raise
    except Exception:  # decoders of damaged files raise nearly anything
        bare = png.without_metadata(data) if data.startswith(png.SIGNATURE) else data
        if bare == data:
            raise
        return replace(_of_others(path, bare, look(data)), lost=("metadata",))


def _of_others(path: Path, data: bytes, facts: Facts) -> ImageFile:
    refuse_several(facts.frames, str(path))
    with open_picture(data) as picture:
        if picture.format != "MPO":  # see `headers.look`
            refuse_several(getattr(picture, "n_frames", 1), str(path))
        turn = facts.turn if data.startswith(KNOWN) else turn_of(picture)
        carried = carried_by(picture, turn)
        profile = picture.info.get("icc_profile")
        picture.load()  # refuses a truncated file, which OpenCV would fill with gray
        header = png.read_header(data)
        if header is not None and header.bits == 16:  # of which Pillow drops the lower half in colour images
            channels = _decode_deep(path, data, header)
        else:
            eight, profile = eight_bits(picture, profile, str(path))
            channels = np.asarray(eight)
            channels = channels[..., None] if channels.ndim == 2 else channels
    colours = 1 if channels.shape[2] < 3 else 3
    alpha = channels[..., colours] if channels.shape[2] > colours else None
    return _image(channels[..., :colours], alpha, turn, profile, carried, facts.lossless)


def _image(
    colours: np.ndarray, alpha: np.ndarray | None, turn: int, profile: bytes | None, carried: Carried, lossless: bool
) -> ImageFile:
    """The upright image of what is stored."""
    pixels = np.ascontiguousarray(upright(colours, turn))
    alpha = None if alpha is None else upright(alpha, turn).copy()
    return ImageFile(pixels, alpha, profile, carried.exif, carried.dpi, lossless, carried.lost)


def _decode_deep(path: Path, data: bytes, header: png.Header) -> np.ndarray:
    channels = decode_by_opencv(data)
    if channels is None or channels.dtype != np.uint16:
        raise DataError(f"{path}: pixels of this kind cannot be read; save it with 8 or 16 bits, whole numbers")
    if channels.ndim == 2:
        return channels[..., None]
    if header.channels == 2:  # gray and alpha, which OpenCV gives as blue, green, red, alpha
        return channels[..., [0, -1]]
    return channels[..., [2, 1, 0, 3][: channels.shape[2]]]


def check_format(image: ImageFile, path: Path) -> None:
    """Refuse to write an image in a format, named by the suffix of a path, that would lose something of it.

    Raises:
        DataError: Saying what would be lost and which formats keep it, or that the suffix names none.
    """
    suffix = path.suffix.lower()
    if suffix not in IMAGE_SUFFIXES:
        raise DataError(f"{path}: images can be written as {', '.join(sorted(IMAGE_SUFFIXES))}")
    for lost, there, formats in (
        ("8 of its 16 bits", image.pixels.dtype == np.uint16, DEEP),
        ("its transparency", image.alpha is not None, WITH_ALPHA),
    ):
        if there and suffix not in formats:
            raise DataError(f"{path}: {suffix} would lose {lost}; write it as {', '.join(sorted(formats))}")
    height, width, _ = image.pixels.shape
    if max(height, width) > LONGEST.get(suffix, max(height, width)):
        raise DataError(
            f"{path}: {suffix} holds at most {LONGEST[suffix]:,} pixels a side, and these are {width:,} x {height:,}; "
            "write it as .png or .tif"
        )


def write_image_file(path: str | Path, image: ImageFile) -> tuple[str, ...]:
    """Write an image in the format that the suffix names, with all that it carries; the file is whole or not there.

    JPEG and WebP are written with quality 95, JPEG without subsampling of colours, a WebP exact if `image.lossless`.
    BMP holds neither profile nor EXIF; a TIFF of 16 bits holds the texts of the EXIF alone (maker, model, date, artist,
    copyright, ...); a JPEG 64 kB of EXIF, and what is larger is left out with a warning.

    Returns:
        Names of what was left out because the format cannot hold it.

    Raises:
        DataError: If the format would lose depth or alpha, has no room for so many pixels, or the file cannot be
            written.
    """
    path = Path(path)
    check_format(image, path)
    lost: tuple[str, ...] = ()
    if image.exif is not None and path.suffix.lower() in (".jpg", ".jpeg") and len(image.exif) > JPEG_LIMIT:
        exif, lost = fitting(image.exif, JPEG_LIMIT)
        image = replace(image, exif=exif)
        logging.getLogger("basicsr").warning(f"{path}: {', '.join(lost)} is more than a JPEG holds and is left out")
    try:
        data = _encode(image, path.suffix.lower())
        path.parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(path) as unfinished:
            unfinished.write_bytes(data)
    except MemoryError as error:
        raise DataError(f"{path}: cannot be written; the memory that is free is too little to encode it") from error
    except Exception as error:  # encoders raise nearly anything at what they have no room for: struct.error, ValueError
        raise DataError(f"{path}: cannot be written ({getattr(error, 'strerror', None) or error})") from error
    return lost


def _encode(image: ImageFile, suffix: str) -> bytes:
    alpha = [] if image.alpha is None else [image.alpha[..., None]]
    channels = np.concatenate([image.pixels, *alpha], axis=2)
    if channels.dtype == np.uint8:
        return encode_eight(channels, suffix, image.profile, image.exif, image.dpi, image.lossless)
    if suffix == ".png":
        return encode_deep_png(channels, image.profile, image.exif, image.dpi)
    return encode_deep_tiff(channels, image.pixels.shape[2], image.profile, image.exif, image.dpi)
