"""TIFF files: the one reader of them, for training (pixels) and for restoring (photograph_files).

tifffile reads the structure and most of the pixels. Where it lacks a codec (without `imagecodecs`), libtiff, which is
part of Pillow, undoes the compression. What neither reads without doubt is refused with the reason.
"""

from __future__ import annotations

import io
import struct
from typing import NamedTuple

import numpy as np
import tifffile
from PIL import Image

from dcpt_data.errors import DataError
from dcpt_data.images.decoding import open_picture, rgb_of_cmyk
from dcpt_data.images.headers import refuse_several

_MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two of a BigTIFF
_MIN_IS_WHITE, _MIN_IS_BLACK, _RGB, _PALETTE, _SEPARATED, _YCBCR = 0, 1, 2, 3, 5, 6
_COLOURS = {_MIN_IS_WHITE: 1, _MIN_IS_BLACK: 1, _RGB: 3, _PALETTE: 1, _SEPARATED: 4, _YCBCR: 3}
_ASSOCIATED, _UNASSOCIATED = 1, 2  # kinds of extra samples: alpha that is multiplied into the colours, and is not
_NONE, _LZW, _ZSTD = 1, 5, 50000
_BY_PILLOW = {2, 3, 4, 6, 7}  # fax and JPEG: whole pictures, and the same whether imagecodecs is there or not
_TILED, _APART = 322, 2
_ORIENTATION, _INK_SET, _PROFILE, _FILL_ORDER = 274, 332, 34675, 266
_REDUCED_OR_MASK = 1 | 4  # bits of NewSubfileType
_SHORT, _LONG = 3, 4


class Tiff(NamedTuple):
    """A decoded TIFF, as it is stored.

    Attributes:
        colours: H x W x 3, RGB, or H x W x 1, gray; uint8 or uint16; no alpha is multiplied into them.
        alpha: H x W of the same depth, or None.
        turn: Its orientation, 1 to 8, which is yet to be applied.
        profile: The ICC profile of these colours, or None.
        others: Samples of each pixel that are neither colour nor alpha, such as a scanner's infrared.
        order: Byte order, "<" or ">".
        big: Whether it is a BigTIFF.
        directory: Where the directory of its tags begins.
    """

    colours: np.ndarray
    alpha: np.ndarray | None
    turn: int
    profile: bytes | None
    others: int
    order: str
    big: bool
    directory: int


def is_tiff(data: bytes) -> bool:
    """Whether these are the first bytes of a TIFF or BigTIFF."""
    return data[:4] in _MARKS


def read_tiff(data: bytes, place: str) -> Tiff:
    """Decode a TIFF of 8 or 16 bits (or fewer: 1, 2 and 4 become 8).

    Gray, RGB, palette, CMYK and YCbCr, contiguous or planar, in strips or tiles, compressed or not, are read. Gray
    whose least value is white is inverted; colours that were multiplied by alpha are divided by it again.

    Args:
        data: The whole file.
        place: What names it in messages.

    Raises:
        DataError: If it is damaged, holds several images, or is of a kind that is not read; the message says which.
    """
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            refuse_several(_count(file), place)
            page = file.pages.first
            _refuse_unknown(page, place)
            return _read(data, page, place)
    except DataError:
        raise
    except MemoryError as error:
        raise DataError(f"{place}: decoded, it is larger than the memory that is free; is it damaged?") from error
    except Exception as error:  # decoders of damaged files raise nearly anything: struct.error, IndexError, zlib.error
        raise DataError(f"{place}: damaged or truncated TIFF ({error}); copy it again or remove it") from error


def _count(file: tifffile.TiffFile) -> int:
    """Pictures that are no reduced copies or masks of another."""
    pages = [page for page in file.pages if not (getattr(page, "subfiletype", 0) or 0) & _REDUCED_OR_MASK]
    return max(len(pages), _described(file), file.pages.first.imagedepth)


def _described(file: tifffile.TiffFile) -> int:
    """Pictures of the first page by its description: ImageJ and tifffile store stacks of them behind one directory."""
    try:
        images = int((file.imagej_metadata or {}).get("images", 1)) if file.is_imagej else 1
        sizes = [int(np.prod(one["shape"], dtype=np.int64)) for one in file.shaped_metadata or ()]
    except Exception:  # garbage describes nothing
        return 1
    return max(images, *(size // max(1, file.pages.first.size) for size in sizes), 1)


def _refuse_unknown(page: tifffile.TiffPage, place: str) -> None:
    kind = page.photometric
    if kind not in _COLOURS:
        raise DataError(
            f"{place}: colours of kind {getattr(kind, 'name', kind)} cannot be read; save it as RGB or gray"
        )
    bits = {page.bitspersample} if isinstance(page.bitspersample, int) else set(page.bitspersample)
    whole = page.sampleformat == 1
    if not whole or not (bits == {16} or (len(bits) == 1 and bits <= {1, 2, 4, 8})):
        form = page.dtype if page.dtype is not None and not whole else f"of {', '.join(map(str, sorted(bits)))} bits"
        raise DataError(f"{place}: pixels are {form}; 8-bit and 16-bit images can be read")
    if page.samplesperpixel < _COLOURS[kind]:
        raise DataError(f"{place}: has {page.samplesperpixel} samples a pixel where {_COLOURS[kind]} are needed")
    inks = page.tags.get(_INK_SET)
    if kind == _SEPARATED and (bits != {8} or (inks is not None and inks.value != 1)):
        raise DataError(f"{place}: printing inks other than CMYK of 8 bits cannot be read; save it as RGB")
    if not page.imagewidth or not page.imagelength:
        raise DataError(f"{place}: has no pixels; copy it again or remove it")


def _read(data: bytes, page: tifffile.TiffPage, place: str) -> Tiff:
    tag = page.tags.get(_PROFILE)
    profile = bytes(tag.value) if tag is not None and isinstance(tag.value, bytes) else None
    turn, order, big = _turn(page), str(page.parent.byteorder), bool(page.parent.is_bigtiff)
    _refuse_truncated(data, page, place)
    if page.bitspersample < 8 and page.samplesperpixel > 1 and page.planarconfig != _APART:
        raise DataError(  # programs pack them in different orders, and nothing in the file says which
            f"{place}: has {page.samplesperpixel} samples a pixel of {page.bitspersample} bit; save it with 8 bits"
        )
    samples = _samples(data, page)
    if samples is None:
        colours, alpha = _by_pillow(data, page, profile, place)
        profile = None if page.photometric == _SEPARATED else profile
        return Tiff(colours, alpha, 1, profile, 0, order, big, page.offset)
    count = _COLOURS[page.photometric]
    alpha, associated = _alpha(samples, page, count)
    colours = samples[..., :count]
    if page.photometric == _PALETTE:
        colours = _look_up(colours[..., 0], page)
    else:
        colours, alpha = _to_bytes(colours, page), None if alpha is None else _to_bytes(alpha, page)
        if page.photometric == _MIN_IS_WHITE:
            colours = np.iinfo(colours.dtype).max - colours
    if associated and alpha is not None:
        colours = _divided(colours, alpha)
    if page.photometric == _SEPARATED:
        colours = np.asarray(rgb_of_cmyk(Image.fromarray(np.ascontiguousarray(colours), "CMYK"), profile))
        profile = None
    if page.photometric == _YCBCR:
        colours = np.asarray(Image.fromarray(np.ascontiguousarray(colours), "YCbCr").convert("RGB"))
    others = samples.shape[2] - count - (alpha is not None)
    return Tiff(colours, alpha, turn, profile, others, order, big, page.offset)


def _turn(page: tifffile.TiffPage) -> int:
    tag = page.tags.get(_ORIENTATION)
    if tag is None or tag.dtype not in (_SHORT, _LONG) or tag.count != 1 or not 1 <= tag.value <= 8:
        return 1
    return int(tag.value)


def _refuse_truncated(data: bytes, page: tifffile.TiffPage, place: str) -> None:
    """What is missing would be filled with zeros by tifffile, silently."""
    wanted = int(np.prod(page.chunked, dtype=np.int64))
    spans = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    missing = wanted - len(spans) + sum(not offset or not count for offset, count in spans)
    cut = any(offset + count > len(data) for offset, count in spans)
    stored = sum(count for _, count in spans)
    row = (page.imagewidth * page.samplesperpixel * page.bitspersample + 7) // 8 if not page.is_subsampled else 0
    if missing > 0 or cut or (page.compression == _NONE and stored < row * page.imagelength):
        raise DataError(f"{place}: truncated (not all of its {wanted} parts are there); copy or download it again")


def _samples(data: bytes, page: tifffile.TiffPage) -> np.ndarray | None:
    """H x W x samples as stored; None if Pillow is to decode the whole picture."""
    # Of what is not compressed, Pillow 12 cannot read its own files.
    plain = page.compression == _NONE and not page.is_subsampled and page.bitspersample == 8
    if (page.photometric == _YCBCR and not plain) or page.compression in _BY_PILLOW:
        return None
    if page.compression in (_LZW, _ZSTD):
        return _unpacked(data, page) if page.bitspersample in (8, 16) else None
    if page.compression in tifffile.TIFF.DECOMPRESSORS and page.bitspersample in (1, 8, 16):
        pixels = page.asarray()
        if page.axes == "SYX":
            return np.moveaxis(pixels, 0, -1)
        return pixels.reshape(page.imagelength, page.imagewidth, -1)
    return None


def _alpha(samples: np.ndarray, page: tifffile.TiffPage, count: int) -> tuple[np.ndarray | None, bool]:
    """The samples that are alpha, if there are, and whether it is multiplied into the colours."""
    extra = samples.shape[2] - count
    kinds = [int(kind) for kind in page.extrasamples][:extra]
    if extra == 1 and not kinds:  # programs that say nothing of a fourth sample mean alpha
        kinds = [_UNASSOCIATED]
    for number, kind in enumerate(kinds):
        if kind in (_ASSOCIATED, _UNASSOCIATED):
            return samples[..., count + number], kind == _ASSOCIATED
    return None, False


def _look_up(indices: np.ndarray, page: tifffile.TiffPage) -> np.ndarray:
    table = np.asarray(page.colormap).T
    # Values are of 16 bits. Some programs write them with 8, as libtiff knows too.
    return (table if table.max() < 256 else table >> 8).astype(np.uint8)[indices]


def _to_bytes(samples: np.ndarray, page: tifffile.TiffPage) -> np.ndarray:
    if samples.dtype == np.uint16:
        return samples.astype(np.uint16, copy=False)
    if page.bitspersample == 8:
        return samples
    return samples.astype(np.uint8) * np.uint8(255 // (2**page.bitspersample - 1))


def _divided(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Colours as they were before they were multiplied by alpha; where nothing can be seen, as they are stored."""
    most = int(np.iinfo(colours.dtype).max)
    share = alpha[..., None].astype(np.uint64)
    divided = (colours.astype(np.uint64) * np.uint64(most) + share // np.uint64(2)) // np.maximum(share, np.uint64(1))
    return np.where(share > 0, np.minimum(divided, np.uint64(most)), colours).astype(colours.dtype)


def _by_pillow(
    data: bytes, page: tifffile.TiffPage, profile: bytes | None, place: str
) -> tuple[np.ndarray, np.ndarray | None]:
    """Colours and alpha as libtiff decodes them; Pillow has turned them already."""
    name = getattr(page.compression, "name", page.compression)
    if page.bitspersample == 16:
        raise DataError(
            f"{place}: compression {name} of 16 bits needs a further package; pip install imagecodecs, or save it "
            "without compression"
        )
    if any(page.extrasamples) and page.photometric != _RGB:
        raise DataError(f"{place}: compression {name} beside alpha cannot be read; save it without compression")
    with open_picture(data) as picture:
        picture.load()
        if picture.mode == "CMYK":
            picture = rgb_of_cmyk(picture, profile)
        see_through = picture.mode in ("RGBA", "RGBa")
        kind = "L" if picture.mode in ("1", "L") else "RGBA" if see_through else "RGB"
        if picture.mode not in ("1", "L", "P", "RGB", "RGBA", "RGBa", "YCbCr"):
            raise DataError(f"{place}: pixels of mode {picture.mode} cannot be read; save it as RGB or gray")
        pixels = np.asarray(picture.convert(kind))
    if see_through:
        return pixels[..., :3], pixels[..., 3]
    return pixels.reshape(*pixels.shape[:2], -1), None


# LZW and Zstandard


def _unpacked(data: bytes, page: tifffile.TiffPage) -> np.ndarray:
    """Samples, H x W x S, of a TIFF whose compression tifffile undoes only with a further package.

    libtiff is given the same bytes under a directory that speaks of single bytes; what it gives back are the samples as
    they were before they were compressed, of which the differences ("predictor") are then summed up here.
    """
    apart = page.planarconfig == _APART and page.samplesperpixel > 1
    planes, samples = (page.samplesperpixel, 1) if apart else (1, page.samplesperpixel)
    each = len(page.dataoffsets) // planes
    kind = np.dtype(f"{page.parent.byteorder}u{page.bitspersample // 8}")
    found = []
    for plane in range(planes):
        part = slice(plane * each, (plane + 1) * each)
        rows = _plane(data, page, page.dataoffsets[part], page.databytecounts[part], samples * kind.itemsize)
        values = rows.view(kind).astype(kind.newbyteorder("="))
        found.append(_summed(values.reshape(page.imagelength, page.imagewidth, samples), page))
    return np.concatenate(found, axis=2)


def _plane(
    data: bytes, page: tifffile.TiffPage, offsets: tuple[int, ...], counts: tuple[int, ...], pixel: int
) -> np.ndarray:
    """H x (bytes of a row) of one plane, `pixel` bytes a pixel."""
    order = page.parent.byteorder
    fill = page.tags.get(_FILL_ORDER)
    directory = {
        256: [page.imagewidth * pixel],
        257: [page.imagelength],
        258: [8],
        259: [int(page.compression)],
        262: [_MIN_IS_BLACK],
    }
    directory |= {_FILL_ORDER: [fill.value if fill is not None else 1], 277: [1]}
    if page.is_tiled:
        directory |= {_TILED: [page.tilewidth * pixel], 323: [page.tilelength], 324: [*offsets], 325: [*counts]}
    else:
        directory |= {273: [*offsets], 278: [min(page.rowsperstrip, page.imagelength)], 279: [*counts]}
    begin = len(data) + len(data) % 2
    beyond = begin + 2 + 12 * len(directory) + 4  # where values that take more than four bytes go
    entries, values = struct.pack(f"{order}H", len(directory)), b""
    for tag, numbers in sorted(directory.items()):
        packed = struct.pack(f"{order}{len(numbers)}I", *numbers)
        place = packed
        if len(packed) > 4:
            place = struct.pack(f"{order}I", beyond + len(values))
            values += packed
        entries += struct.pack(f"{order}HHI", tag, _LONG, len(numbers)) + place
    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", begin)
    file = b"".join([header, data[8:], bytes(begin - len(data)), entries, bytes(4), values])
    with open_picture(file) as picture:
        return np.array(picture)


def _summed(values: np.ndarray, page: tifffile.TiffPage) -> np.ndarray:
    """Undo the predictor: a sample is stored as its difference to the pixel before it in the strip or tile."""
    if page.predictor == 1:
        return values
    if page.predictor != 2:
        raise ValueError(f"predictor {page.predictor} of whole numbers")
    step = page.tilewidth if page.is_tiled else page.imagewidth
    parts = [
        np.cumsum(values[:, left : left + step], axis=1, dtype=values.dtype) for left in range(0, page.imagewidth, step)
    ]
    return np.concatenate(parts, axis=1)
