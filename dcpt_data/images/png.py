"""The header and chunks of PNG files, and their first rows as a PNG, without decoding."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type: gray, RGB, palette, gray and alpha, RGB and alpha
_OF_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_STORED = 0  # compression level of zlib


@dataclass(frozen=True)
class Header:
    """The IHDR chunk: size in pixels, bits a sample, samples a pixel, and whether rows come interlaced."""

    height: int
    width: int
    bits: int
    channels: int
    interlaced: bool

    @property
    def row_bytes(self) -> int:
        """Bytes of one row as they are compressed: a filter's number, then the samples."""
        return 1 + (self.width * self.channels * self.bits + 7) // 8


def read_header(data: bytes) -> Header | None:
    """The header of a PNG file; None for anything else."""
    if len(data) < 33 or data[:8] != SIGNATURE or data[12:16] != b"IHDR":
        return None
    width, height, bits, colour, _, _, interlace = struct.unpack_from(">IIBBBBB", data, 16)
    if colour not in _CHANNELS or not width or not height:
        return None
    return Header(height, width, bits, _CHANNELS[colour], interlace != 0)


def is_whole(data: bytes) -> bool:
    """Whether every chunk up to the last is there and has its checksum."""
    return _chunks(data) is not None


def first_rows(data: bytes, count: int) -> bytes:
    """A PNG of the first `count` rows of another, which is far less to decode than all of it.

    Rows are compressed and filtered from the top down, so what lies below a crop need not be looked at. The rows that
    are needed are decompressed and stored again as they are; all that stands before the pixels (palette, transparency,
    colour profile) stays.

    Args:
        data: A PNG file.
        count: Number of rows.

    Returns:
        The smaller file; `data` itself where that cannot be made (interlaced, animated, damaged) or would be all of it.
    """
    header, chunks = read_header(data), _chunks(data)
    if header is None or chunks is None or header.interlaced or not 0 < count < header.height:
        return data
    before = []
    compressed = []
    for kind, begin, end in chunks:
        if kind == b"acTL":
            return data
        if kind == b"IDAT":
            compressed.append(data[begin:end])
        elif kind != b"IHDR" and not compressed:
            before.append(data[begin - 8 : end + 4])
    wanted = count * header.row_bytes
    try:
        rows = zlib.decompressobj().decompress(b"".join(compressed), wanted)
    except zlib.error:
        return data
    if len(rows) < wanted:
        return data
    ihdr = struct.pack(">II", header.width, count) + data[24:29]
    pixels = zlib.compress(rows, _STORED)
    return b"".join([SIGNATURE, _chunk(b"IHDR", ihdr), *before, _chunk(b"IDAT", pixels), _chunk(b"IEND", b"")])


def without_metadata(data: bytes) -> bytes:
    """A PNG of the same pixels, without the chunks that say something else: they may be damaged while these are not."""
    kept, position = [SIGNATURE], len(SIGNATURE)
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        end = position + 12 + length
        if data[position + 4 : position + 8] in _OF_PIXELS:
            kept.append(data[position:end])
        position = end
    return b"".join(kept)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _chunks(data: bytes) -> list[tuple[bytes, int, int]] | None:
    """(kind, begin, end of the content) of each chunk to the last; None if one is cut off or damaged."""
    found = []
    position, view = len(SIGNATURE), memoryview(data)
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        begin, end = position + 8, position + 8 + length
        if end + 4 > len(data) or struct.unpack_from(">I", data, end)[0] != zlib.crc32(view[position + 4 : end]):
            return None
        kind = data[position + 4 : begin]
        found.append((kind, begin, end))
        if kind == b"IEND":
            return found
        position = end + 4
    return None
