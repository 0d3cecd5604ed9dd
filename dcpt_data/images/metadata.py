"""EXIF and resolution of photographs, of which the valid part is kept; used by photograph_files.

A camera's mistyped tag, or a program's garbage, says nothing about the pixels. It is left out, and named.
"""

from __future__ import annotations

import io
import math
import struct
from typing import Any, NamedTuple

from PIL import ExifTags, Image

from dcpt_data.images.tiff import Tiff

JPEG_LIMIT = 65_533 - len(b"Exif\0\0")  # bytes of EXIF in a JPEG
_ORIENTATION, _PROFILE, _ACROSS, _DOWN, _UNIT = 274, 34675, 282, 283, 296
_NESTED = (int(ExifTags.IFD.Exif), int(ExifTags.IFD.GPSInfo))
_INTEROP = int(ExifTags.IFD.Interop)
# Tags of a TIFF that say how its pixels are stored. They are no properties of the photograph, and wrong in a new file.
_STORAGE = {*range(254, 260), 262, *range(263, 267), 273, *range(277, 280), 284, *range(317, 326), 330, 338, 339, 347}
_STORAGE |= {332, 333, 334, 336, *range(512, 533), 700, 33723, 34377, _PROFILE}
_INCHES = {2: 1.0, 3: 2.54}  # by unit of resolution
_MOST_DPI = 65_535  # what a JPEG can hold


class Carried(NamedTuple):
    """What is kept.

    Attributes:
        exif: All that stays true of the pixels once they are upright, with the orientation "upright"; None if nothing.
        dpi: Pixels an inch across and down of the upright image, or None.
        lost: Names of what could not be kept.
    """

    exif: bytes | None
    dpi: tuple[float, float] | None
    lost: tuple[str, ...]


def carried_by_tiff(data: bytes, tiff: Tiff) -> Carried:
    """EXIF and resolution of a TIFF, whose own tags are what other formats have in their EXIF."""
    found = Image.Exif()
    found.endian, found.bigtiff = tiff.order, tiff.big
    try:
        found.load_from_fp(io.BytesIO(data), tiff.directory)
    except Exception:  # whatever a damaged directory makes Pillow raise
        return Carried(None, None, ("EXIF",))
    across, down, unit = (_value(found, tag) for tag in (_ACROSS, _DOWN, _UNIT))
    scale = _INCHES.get(unit if isinstance(unit, int) else 2)
    dpi = None if scale is None else _resolution(across, down, scale)
    exif, lost = _sound(found, tiff.turn)
    return Carried(exif, _turned(dpi, tiff.turn), lost)


def carried_by(picture: Image.Image, turn: int) -> Carried:
    """EXIF and resolution of a picture of another format, whose orientation is `turn`."""
    dpi = picture.info.get("dpi")
    if picture.format in ("JPEG", "MPO") and picture.info.get("jfif_unit") not in (1, 2):
        dpi = None  # Pillow has it of the EXIF, where it stays
    known = _resolution(*dpi, 1) if isinstance(dpi, tuple) and len(dpi) == 2 else None
    try:
        found = picture.getexif()
        exif, lost = _sound(found, turn)
    except Exception:  # whatever garbage makes Pillow raise
        exif, lost = None, ("EXIF",)
    return Carried(exif, _turned(known, turn), lost)


def fitting(exif: bytes, limit: int) -> tuple[bytes | None, tuple[str, ...]]:
    """EXIF without its largest tags, as far as it must be to have at most `limit` bytes; and what was left out."""
    kept = Image.Exif()
    kept.load(exif)
    lost: list[str] = []
    while len(kept) and len(kept.tobytes()) > limit:
        alone = {tag: len(_alone(tag, _nested(kept, tag) if tag in _NESTED else kept[tag])) for tag in list(kept)}
        largest = max(alone, key=lambda tag: alone[tag])
        del kept[largest]
        lost.append(_name(largest))
    return (kept.tobytes() if len(kept) else None), tuple(lost)


def _sound(found: Image.Exif, turn: int) -> tuple[bytes | None, tuple[str, ...]]:
    """The tags that can be written again, and the names of the others."""
    kept, lost = Image.Exif(), []
    for tag in sorted(set(found) - _STORAGE):
        try:
            value = _nested(found, tag) if tag in _NESTED else found[tag]
        except Exception:  # whatever garbage makes Pillow raise
            lost.append(_name(tag))
            continue
        if tag in _NESTED:
            sound = {key: one for key, one in value.items() if _is_sound(tag, {key: one})}
            lost += [_name(key, tag) for key in value if key not in sound]
            if sound:
                kept[tag] = sound
        elif tag == _ORIENTATION:
            if value in range(1, 9):
                kept[tag] = 1
            else:
                lost.append(_name(tag))
        elif _is_sound(tag, value):
            kept[tag] = value
        else:
            lost.append(_name(tag))
    if turn >= 5 and _ACROSS in kept and _DOWN in kept:
        kept[_ACROSS], kept[_DOWN] = kept[_DOWN], kept[_ACROSS]
    return (kept.tobytes() if len(kept) else None), tuple(lost)


def _nested(exif: Image.Exif, tag: int) -> dict[int, Any]:
    """The tags of a directory within EXIF; its own directory of interoperability is one of them."""
    inner = dict(exif.get_ifd(tag))
    if _INTEROP in inner and not isinstance(inner[_INTEROP], dict):
        inner[_INTEROP] = dict(exif.get_ifd(_INTEROP))
    return inner


def _is_sound(tag: int, value: Any) -> bool:
    """Whether a tag can be written and read again."""
    try:
        again = Image.Exif()
        again.load(_alone(tag, value))
        return set(again.get_ifd(tag)) == set(value) if isinstance(value, dict) else again[tag] is not None
    except Exception:  # whatever a value of the wrong type makes Pillow raise
        return False


def _alone(tag: int, value: Any) -> bytes:
    one = Image.Exif()
    one[tag] = value
    return one.tobytes()


def _name(tag: int, inside: int | None = None) -> str:
    names = ExifTags.GPSTAGS if inside == ExifTags.IFD.GPSInfo else ExifTags.TAGS
    return f"EXIF {names.get(tag, f'tag {tag}')}"


def _value(found: Image.Exif, tag: int) -> Any:
    try:
        return found.get(tag)
    except Exception:  # whatever garbage makes Pillow raise
        return None


def _resolution(across: Any, down: Any, scale: float) -> tuple[float, float] | None:
    try:
        dpi = float(across) * scale, float(down) * scale
    except (TypeError, ValueError, ZeroDivisionError, OverflowError, struct.error):
        return None
    return dpi if all(math.isfinite(one) and 0 < one <= _MOST_DPI for one in dpi) else None


def _turned(dpi: tuple[float, float] | None, turn: int) -> tuple[float, float] | None:
    return (dpi[1], dpi[0]) if dpi and turn >= 5 else dpi
