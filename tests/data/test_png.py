"""The first rows of a PNG as a file of their own: the same pixels, of every kind of PNG, and damage is not hidden."""

from __future__ import annotations

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from dcpt_data.errors import DataError
from dcpt_data.images import png
from dcpt_data.images.pixels import EncodedImage, Window


def encoded(pixels, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def kinds(crops):
    """PNG files of all colour types and depths, with and without what may stand before the pixels."""
    image = crops["cat"]
    alpha = np.arange(image.shape[0] * image.shape[1], dtype=np.uint32).astype(np.uint8).reshape(image.shape[:2])
    palette = io.BytesIO()
    Image.fromarray(image).quantize(17).save(palette, "PNG", transparency=3)
    bits = io.BytesIO()
    Image.fromarray(image[..., 0] > 100).save(bits, "PNG")
    _, deep = cv2.imencode(".png", image.astype(np.uint16) * 257 + 3)
    _, deep_gray = cv2.imencode(".png", image[..., 0].astype(np.uint16) * 257 + 3)
    _, unfiltered = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 0])
    return {
        "rgb": encoded(image),
        "rgb, level 0": unfiltered.tobytes(),
        "rgb, profile and text": encoded(image, icc_profile=b"profile" * 40, dpi=(72, 72)),
        "rgba": encoded(np.dstack([image, alpha])),
        "gray": encoded(image[..., 0]),
        "gray and alpha": encoded(np.dstack([image[..., 0], alpha])),
        "palette": palette.getvalue(),
        "one bit": bits.getvalue(),
        "16 bit": deep.tobytes(),
        "16 bit gray": deep_gray.tobytes(),
    }


def decode(data):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


KINDS = [
    "rgb",
    "rgb, level 0",
    "rgb, profile and text",
    "rgba",
    "gray",
    "gray and alpha",
    "palette",
    "one bit",
    "16 bit",
    "16 bit gray",
]


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_rows_are_those_of_the_whole(kinds, kind):
    data = kinds[kind]
    whole = decode(data)
    for count in (1, 2, 31, len(whole) - 1):
        part = png.first_rows(data, count)
        assert part is not data
        np.testing.assert_array_equal(decode(part), whole[:count])
        assert (png.read_header(part).height, png.read_header(part).width) == (count, whole.shape[1])
    assert png.first_rows(data, len(whole)) is data


@pytest.mark.parametrize("kind", KINDS)
def test_a_window_of_any_kind_is_that_of_the_whole(kinds, kind):
    whole = EncodedImage(kinds[kind], "a.png").pixels()
    for window in (Window(0, 0, 5, 7), Window(20, 30, 9, 8), Window(whole.shape[0] - 4, 0, 4, whole.shape[1])):
        image = EncodedImage(kinds[kind], "a.png")
        assert image.shape == whole.shape[:2]
        rows, columns = slice(window.top, window.top + window.height), slice(window.left, window.left + window.width)
        np.testing.assert_array_equal(image.pixels(window), whole[rows, columns])


def test_a_window_costs_less_to_decode_than_the_whole(kinds, monkeypatch):
    decoded = []
    original = cv2.imdecode
    monkeypatch.setattr(cv2, "imdecode", lambda *args: decoded.append(original(*args)) or decoded[-1])
    EncodedImage(kinds["rgb"], "a.png").pixels(Window(3, 40, 8, 8))
    assert [image.shape[0] for image in decoded] == [11]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_said_without_decoding_is_what_decoding_gives(kinds, kind):
    image = EncodedImage(kinds[kind], "a.png")
    pixels = image.pixels()
    assert image.inspect() == (*pixels.shape[:2], pixels.dtype)


def with_header(data, **changes):
    """The file with other values in its header, and the right checksum of it."""
    places = {"bits": 24, "colour": 25, "interlace": 28}
    changed = bytearray(data)
    for name, value in changes.items():
        changed[places[name]] = value
    changed[29:33] = struct.pack(">I", zlib.crc32(changed[12:29]))
    return bytes(changed)


def test_interlaced_and_animated_files_are_left_whole(kinds, crops):
    interlaced = with_header(kinds["rgb"], interlace=1)
    assert png.read_header(interlaced).interlaced
    assert png.first_rows(interlaced, 5) is interlaced
    frames = [Image.fromarray(crops[name]) for name in ("cat", "cup")]
    file = io.BytesIO()
    frames[0].save(file, "PNG", save_all=True, append_images=frames[1:])
    animated = file.getvalue()
    assert png.first_rows(animated, 5) is animated


@pytest.mark.parametrize("place", [0.2, 0.5, 0.9])
def test_damage_below_the_window_is_found_too(kinds, place):
    damaged = bytearray(kinds["rgb"])
    damaged[int(place * len(damaged))] ^= 255
    assert not png.is_whole(bytes(damaged)) and png.is_whole(kinds["rgb"])
    for window in (Window(0, 0, 4, 4), None):
        with pytest.raises(DataError, match=r"a\.png: (not an image|truncated)"):
            EncodedImage(bytes(damaged), "a.png").pixels(window)


@pytest.mark.parametrize("length", [0, 8, 20, 33, 60, 5000])
def test_a_cut_file_has_no_first_rows(kinds, length):
    cut = kinds["rgb"][:length]
    assert png.first_rows(cut, 3) is cut
    assert not png.is_whole(cut)
    with pytest.raises(DataError, match=r"a\.png"):
        EncodedImage(cut, "a.png").pixels(Window(0, 0, 3, 3))


def test_only_png_has_a_png_header(kinds):
    assert png.read_header(b"GIF89a" + bytes(60)) is None
    assert png.read_header(with_header(kinds["rgb"], colour=5)) is None
    header = png.read_header(kinds["16 bit"])
    assert (header.bits, header.channels, header.row_bytes) == (16, 3, 1 + 6 * header.width)
