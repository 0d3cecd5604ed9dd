"""Image files with all that they hold: alpha channel, depth, gray or colour, orientation, EXIF and colour profile.

`dcpt_data.images.pixels` reads what a network sees; this module reads and writes what the owner of a photograph wants
back.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from PIL import Image, ImageCms, ImageOps

from dcpt_common import write_atomically
from dcpt_data.errors import DataError
from dcpt_data.images import png
from dcpt_data.images.pixels import IMAGE_SUFFIXES

# What each kind of file can hold, besides 8-bit RGB.
DEEP = frozenset({".png", ".tif", ".tiff"})
WITH_ALPHA = frozenset({".png", ".tif", ".tiff", ".webp"})

_ORIENTATION, _PROFILE = 274, 34675
# Tags of a TIFF that say how its pixels are stored. They are no properties of the photograph, and wrong in a new file.
_STORAGE = {*range(254, 260), 262, *range(263, 267), 273, *range(277, 280), 284, *range(317, 326), 330, 338, 339, 347}
_STORAGE |= {*range(512, 533), 700, 33723, 34377, _PROFILE}
# Tags that tifffile is given as text: description, maker, model, software, date, artist, copyright.
_TEXTS = (270, 271, 272, 305, 306, 315, 33432)

_QUALITY = 95  # of JPEG and WebP, of 100


@dataclass(frozen=True)
class ImageFile:
    """One decoded image, upright.

    Attributes:
        pixels: H x W x 3, RGB, or H x W x 1, gray; uint8 or uint16.
        alpha: H x W of the same depth, not multiplied into the colours; None if there is none.
        profile: The ICC colour profile, or None.
        exif: What the camera and others wrote down, with the orientation "upright"; None if there is nothing.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    profile: bytes | None = None
    exif: bytes | None = None


def read_image_file(path: str | Path) -> ImageFile:
    """Read a PNG, JPEG, BMP, TIFF or WebP file and turn it as its EXIF orientation says.

    A palette is resolved, CMYK becomes RGB (sRGB, if the file has a profile).

    Raises:
        DataError: If the file is missing, damaged, no image of 8 or 16 bits, or holds several images.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        with _of_any_size(), Image.open(io.BytesIO(data)) as picture:
            return _decode(path, data, picture)
    except Image.UnidentifiedImageError as error:
        known = ", ".join(sorted(IMAGE_SUFFIXES))
        raise DataError(f"{path}: not an image, or of a kind that cannot be read; known are {known}") from error
    except (DataError, MemoryError):
        raise
    except Exception as error:  # decoders of damaged files raise nearly anything: SyntaxError, struct.error, EOFError
        raise DataError(f"{path}: damaged or truncated ({error}); copy it again or remove it") from error


@contextmanager
def _of_any_size() -> Iterator[None]:
    """Pillow takes a large panorama for an attack; here the files are the user's own."""
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _decode(path: Path, data: bytes, picture: Image.Image) -> ImageFile:
    # The second picture of an MPO, which cameras write as .jpg, is a small or a stereoscopic one of the same scene.
    if getattr(picture, "n_frames", 1) > 1 and picture.format != "MPO":
        raise DataError(f"{path}: holds {picture.n_frames} images; save the one that is meant as a file")  # type: ignore[attr-defined]
    turn, exif = _exif(picture)
    profile = picture.info.get("icc_profile")
    picture.load()  # refuses a truncated file, which OpenCV would fill with gray; Pillow turns a TIFF here
    if _is_deep(picture, data):
        channels = _decode_deep(path, data)
        channels = channels if picture.format == "TIFF" else _upright(channels, turn)  # OpenCV turned a TIFF as well
    else:
        eight, profile = _eight_bits(path, ImageOps.exif_transpose(picture), profile)
        channels = np.asarray(eight)
        channels = channels[..., None] if channels.ndim == 2 else channels
    colours = 1 if channels.shape[2] < 3 else 3
    alpha = channels[..., colours].copy() if channels.shape[2] > colours else None
    return ImageFile(np.ascontiguousarray(channels[..., :colours]), alpha, profile, exif)


def _exif(picture: Image.Image) -> tuple[int, bytes | None]:
    """The orientation, 1 to 8, and all of the EXIF that stays true of the pixels once they are upright."""
    found = picture.getexif()
    kept = Image.Exif()
    kept.load(found.tobytes())
    for tag in _STORAGE & set(kept):
        del kept[tag]
    if _ORIENTATION in kept:
        kept[_ORIENTATION] = 1
    return found.get(_ORIENTATION, 1), kept.tobytes() if len(kept) else None


def _is_deep(picture: Image.Image, data: bytes) -> bool:
    """Whether pixels have 16 bits, of which Pillow drops the lower half in colour images."""
    if picture.format == "TIFF":
        return 16 in picture.tag_v2.get(258, ())  # type: ignore[attr-defined]
    header = png.read_header(data)
    return header is not None and header.bits == 16


def _decode_deep(path: Path, data: bytes) -> np.ndarray:
    channels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if channels is None or channels.dtype != np.uint16:
        raise DataError(f"{path}: pixels of this kind cannot be read; save it with 8 or 16 bits, whole numbers")
    if channels.ndim == 2:
        return channels[..., None]
    header = png.read_header(data)
    if header is not None and header.channels == 2:  # gray and alpha, which OpenCV gives as blue, green, red, alpha
        return channels[..., [0, -1]]
    return channels[..., [2, 1, 0, 3][: channels.shape[2]]]


def _upright(channels: np.ndarray, turn: int) -> np.ndarray:
    """Turn H x W x C as an EXIF orientation, 1 to 8, says."""
    if turn >= 5:
        channels = channels.swapaxes(0, 1)
    down, right = turn in (3, 4, 7, 8), turn in (2, 3, 6, 7)
    return channels[:: -1 if down else 1, :: -1 if right else 1]


def _eight_bits(path: Path, picture: Image.Image, profile: bytes | None) -> tuple[Image.Image, bytes | None]:
    """An image of mode L, LA, RGB or RGBA, and the profile that it has then."""
    see_through = "A" in picture.getbands() or "transparency" in picture.info
    if picture.mode == "CMYK":
        return _rgb_of_cmyk(picture, profile), None
    if picture.mode in ("1", "L", "LA", "La"):
        return picture.convert("LA" if see_through else "L"), profile
    if picture.mode in ("P", "PA", "RGB", "RGBA", "RGBa", "YCbCr"):
        return picture.convert("RGBA" if see_through else "RGB"), profile
    raise DataError(f"{path}: pixels of mode {picture.mode} cannot be read; save it as RGB or gray with 8 or 16 bits")


def _rgb_of_cmyk(picture: Image.Image, profile: bytes | None) -> Image.Image:
    if profile:
        try:
            given, srgb = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
            return ImageCms.profileToProfile(picture, given, srgb, outputMode="RGB") or picture.convert("RGB")
        except (ImageCms.PyCMSError, OSError):  # a damaged profile says nothing
            pass
    return picture.convert("RGB")


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


def write_image_file(path: str | Path, image: ImageFile) -> None:
    """Write an image in the format that the suffix names, with its profile and EXIF; the file is whole or not there.

    JPEG and WebP are written with quality 95, JPEG without subsampling of colours. BMP holds neither profile nor EXIF;
    a TIFF of 16 bits holds the texts of the EXIF alone (maker, model, date, artist, copyright, ...).

    Raises:
        DataError: If the format would lose depth or alpha, or the file cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    check_format(image, path)
    alpha = [] if image.alpha is None else [image.alpha[..., None]]
    channels = np.concatenate([image.pixels, *alpha], axis=2)
    if channels.dtype == np.uint8:
        data = _encode(channels, suffix, image)
    else:
        data = _deep_png(channels, image) if suffix == ".png" else _deep_tiff(channels, image)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(path) as unfinished:
            unfinished.write_bytes(data)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror})") from error


def _encode(channels: np.ndarray, suffix: str, image: ImageFile) -> bytes:
    arguments: dict[str, dict[str, Any]] = {
        "PNG": {"compress_level": 1},  # quickly, not smallest, as `dcpt_data.images.pixels.write_image`
        "JPEG": {"quality": _QUALITY, "subsampling": 0},
        "WEBP": {"quality": _QUALITY, "exact": True},
        "TIFF": {},  # not compressed: Pillow cannot write a compressed one with EXIF
        "BMP": {},
    }
    kind = Image.registered_extensions()[suffix]
    kept: dict[str, Any] = {}
    if image.profile:
        kept["icc_profile"] = image.profile
    if image.exif is not None:
        kept["exif"] = image.exif
    file = io.BytesIO()
    Image.fromarray(channels[..., 0] if channels.shape[2] == 1 else channels).save(
        file, kind, **arguments[kind], **({} if kind == "BMP" else kept)
    )
    return file.getvalue()


def _deep_png(channels: np.ndarray, image: ImageFile) -> bytes:
    """A PNG of 16 bits (PNG specification, 3rd edition); neither Pillow nor OpenCV writes one of every kind."""
    height, width, count = channels.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[count]
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))]
    if image.profile:
        parts.append((b"iCCP", b"profile\0\0" + zlib.compress(image.profile)))
    if image.exif is not None:
        parts.append((b"eXIf", image.exif.removeprefix(b"Exif\0\0")))
    rows = channels.astype(">u2").reshape(height, -1).view(np.uint8)
    filtered = np.full((height, rows.shape[1] + 1), 2, np.uint8)  # filter 2: difference to the row above
    filtered[0, 1:] = rows[0]
    filtered[1:, 1:] = rows[1:] - rows[:-1]
    parts += [(b"IDAT", zlib.compress(filtered.tobytes(), 1)), (b"IEND", b"")]
    chunks = (
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in parts
    )
    return png.SIGNATURE + b"".join(chunks)


def _deep_tiff(channels: np.ndarray, image: ImageFile) -> bytes:
    exif = Image.Exif()
    exif.load(image.exif or b"")
    texts = [(tag, "s", 0, str(exif[tag]), True) for tag in _TEXTS if tag in exif]
    colours = image.pixels.shape[2]
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        channels[..., 0] if channels.shape[2] == 1 else channels,
        photometric="minisblack" if colours == 1 else "rgb",
        planarconfig=None if channels.shape[2] == 1 else "contig",
        extrasamples=None if image.alpha is None else ["unassalpha"],
        compression="zlib",
        iccprofile=image.profile,
        metadata=None,
        software=False,
        extratags=texts,
    )
    return file.getvalue()
