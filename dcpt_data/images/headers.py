"""EXIF orientation and number of frames from the headers of image files; used by pixels and photograph_files.

Nothing is decoded, so that an ordinary file costs some microseconds.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from dcpt_data.errors import DataError
from dcpt_data.images.png import SIGNATURE

JPEG = b"\xff\xd8\xff"
KNOWN = (SIGNATURE, JPEG, b"RIFF")  # how files begin of which `look` knows all; others are read by Pillow alone
_RAW_EXIF = b"Raw profile type exif\0"  # a text of PNG in which ImageMagick keeps EXIF
_ORIENTATION, _SHORT, _LONG = 274, 3, 4
_START_OF_SCAN, _END = 0xDA, 0xD9


class Facts(NamedTuple):
    """What a file says of itself.

    Attributes:
        turn: The EXIF orientation, 1 to 8; 1, upright, where there is none or none that can be understood.
        frames: How many pictures follow each other.
        lossless: Whether it is a WebP whose pixels are exact.
    """

    turn: int = 1
    frames: int = 1
    lossless: bool = False


def look(data: bytes) -> Facts:
    """Look at a PNG, JPEG or WebP file; of any other kind, upright and one frame is said."""
    try:
        if data.startswith(SIGNATURE):
            return _look_at_png(data)
        if data.startswith(JPEG):
            # The further pictures of an MPO, which cameras write as .jpg, are small or stereoscopic ones of the scene.
            return Facts(_orientation_in(_exif_of_jpeg(data)))
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _look_at_webp(data)
    except (struct.error, IndexError, ValueError, zlib.error):  # what is damaged says nothing
        pass
    return Facts()


def refuse_several(frames: int, place: str) -> None:
    """Refuse a file of several pictures, of which one would be taken silently.

    Raises:
        DataError: If there is more than one.
    """
    if frames > 1:
        raise DataError(f"{place}: holds {frames} images; save the one that is meant as a file")


def _look_at_png(data: bytes) -> Facts:
    turn = frames = 1
    position = len(SIGNATURE)
    while position + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        kind, begin = data[position + 4 : position + 8], position + 8
        if kind == b"acTL":
            (frames,) = struct.unpack_from(">I", data, begin)
        elif kind == b"eXIf":
            turn = _orientation_in(data[begin : begin + length])
        elif kind in (b"tEXt", b"zTXt") and data.startswith(_RAW_EXIF, begin) and turn == 1:
            text = data[begin + len(_RAW_EXIF) : begin + length]
            turn = _orientation_in(_unhex(text if kind == b"tEXt" else zlib.decompress(text[1:])))
        position = begin + length + 4
    return Facts(turn, frames)


def _unhex(text: bytes) -> bytes:
    """What ImageMagick wrote: a line with a name, one with a length, then hexadecimal digits."""
    return bytes.fromhex(b"".join(text.split()[2:]).decode("ascii"))


def _exif_of_jpeg(data: bytes) -> bytes:
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # filling
            position += 1
            continue
        if marker in (_START_OF_SCAN, _END):
            break
        (length,) = struct.unpack_from(">H", data, position + 2)
        if marker == 0xE1 and data.startswith(b"Exif\0\0", position + 4):
            return data[position + 4 : position + 2 + length]
        position += 2 + length
    return b""


def _look_at_webp(data: bytes) -> Facts:
    turn, frames, lossless = 1, 0, False
    for kind, begin, length in _riff(data):
        if kind == b"EXIF":
            turn = _orientation_in(data[begin : begin + length])
        elif kind == b"ANMF":
            frames += 1
        elif kind == b"VP8L":
            lossless = True
    return Facts(turn, max(frames, 1), lossless)


def _riff(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, begin of the content and its length, of each chunk."""
    position = 12
    while position + 8 <= len(data):
        (length,) = struct.unpack_from("<I", data, position + 4)
        yield data[position : position + 4], position + 8, length
        position += 8 + length + length % 2


def _orientation_in(exif: bytes) -> int:
    """The orientation that an EXIF block names; it must be a whole number from 1 to 8, as the standard has it."""
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return 1
    (position,) = struct.unpack_from(f"{order}I", exif, 4)
    (count,) = struct.unpack_from(f"{order}H", exif, position)
    for entry in range(position + 2, position + 2 + 12 * count, 12):
        tag, kind, values = struct.unpack_from(f"{order}HHI", exif, entry)
        if tag == _ORIENTATION:
            if kind not in (_SHORT, _LONG) or values != 1:
                return 1
            (turn,) = struct.unpack_from(f"{order}{'H' if kind == _SHORT else 'I'}", exif, entry + 8)
            return turn if 1 <= turn <= 8 else 1
    return 1
