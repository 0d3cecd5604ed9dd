"""The bytes of image files with all that photographs carry; `photograph_files.write_image_file` writes them."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from dcpt_data.images import png

QUALITY = 95  # of JPEG and WebP, of 100
# Tags that tifffile is given as text: description, maker, model, software, date, artist, copyright.
_TEXTS = (270, 271, 272, 305, 306, 315, 33432)
_INCH = 0.0254  # metres

Dpi = tuple[float, float] | None


def encode_eight(
    channels: np.ndarray, suffix: str, profile: bytes | None, exif: bytes | None, dpi: Dpi, lossless: bool
) -> bytes:
    """A file of 8 bits in the format of a suffix; `lossless` is of WebP."""
    arguments: dict[str, dict[str, Any]] = {
        "PNG": {"compress_level": 1},  # quickly, not smallest, as `dcpt_data.images.pixels.write_image`
        "JPEG": {"quality": QUALITY, "subsampling": 0},
        "WEBP": {"quality": QUALITY, "exact": True, "lossless": lossless},
        "TIFF": {},  # not compressed: Pillow cannot write a compressed one with EXIF
        "BMP": {},
    }
    kind = Image.registered_extensions()[suffix]
    kept: dict[str, Any] = {"icc_profile": profile, "exif": exif} if kind != "BMP" else {}
    kept["dpi"] = None if kind == "WEBP" else dpi
    given = {name: value for name, value in kept.items() if value}
    file = io.BytesIO()
    Image.fromarray(channels[..., 0] if channels.shape[2] == 1 else channels).save(
        file, kind, **arguments[kind], **given
    )
    return file.getvalue()


def encode_deep_png(channels: np.ndarray, profile: bytes | None, exif: bytes | None, dpi: Dpi) -> bytes:
    """A PNG of 16 bits (PNG specification, 3rd edition); neither Pillow nor OpenCV writes one of every kind."""
    height, width, count = channels.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[count]
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))]
    if profile:
        parts.append((b"iCCP", b"profile\0\0" + zlib.compress(profile)))
    if dpi:
        parts.append((b"pHYs", struct.pack(">IIB", *(round(one / _INCH) for one in dpi), 1)))
    if exif is not None:
        parts.append((b"eXIf", exif.removeprefix(b"Exif\0\0")))
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


def encode_deep_tiff(channels: np.ndarray, colours: int, profile: bytes | None, exif: bytes | None, dpi: Dpi) -> bytes:
    """A TIFF of 16 bits, the first `colours` of whose channels are no alpha."""
    found = Image.Exif()
    found.load(exif or b"")
    texts = [(tag, "s", 0, str(found[tag]), True) for tag in _TEXTS if tag in found]
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        channels[..., 0] if channels.shape[2] == 1 else channels,
        photometric="minisblack" if colours == 1 else "rgb",
        planarconfig=None if channels.shape[2] == 1 else "contig",
        extrasamples=None if channels.shape[2] == colours else ["unassalpha"],
        compression="zlib",
        iccprofile=profile,
        metadata=None,
        software=False,
        resolution=dpi,
        resolutionunit="inch" if dpi else None,
        extratags=texts,
    )
    return file.getvalue()
