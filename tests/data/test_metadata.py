"""Metadata that are mistyped or garbage: the photograph is read, and what is lost is named."""

from __future__ import annotations

import io
import itertools
import logging
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from dcpt_data.images.photograph_files import ImageFile, read_image_file, write_image_file
from dcpt_data.images.pixels import read_image

PIXELS = np.random.default_rng(0).integers(0, 256, (9, 14, 3)).astype(np.uint8)
TAGS = {  # tag -> whether it stands in the directory of EXIF, which the first one points to
    "Orientation": (0x112, False),
    "XResolution": (0x11A, False),
    "ResolutionUnit": (0x128, False),
    "Make": (0x10F, False),
    "ExifVersion": (0x9000, True),
    "FocalLength": (0x920A, True),
    "UserComment": (0x9286, True),
}
VALUES = {  # type -> values, as bytes
    1: [b"\6", b"\xff" * 3],
    2: [b"300\0", b"\xff\xfe\0\0\0"],
    3: [struct.pack("<H", 6), struct.pack("<3H", 1, 2, 3), struct.pack("<H", 99)],
    4: [struct.pack("<I", 2**32 - 1)],
    5: [struct.pack("<II", 1, 0), struct.pack("<II", 0, 0), struct.pack("<4I", 1, 2, 3, 4)],
    7: [b"\0\1\2\3\4\5"],
    9: [struct.pack("<i", -1)],
    10: [struct.pack("<ii", -1, 0)],
    11: [struct.pack("<f", float("nan")), struct.pack("<f", float("inf"))],
    12: [struct.pack("<d", float("nan"))],
    99: [b"\0" * 4],
}
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 9: 4, 10: 8, 11: 4, 12: 8, 99: 1}


def directory(entries: list[tuple[int, int, bytes]], begin: int) -> bytes:
    found, values = struct.pack("<H", len(entries)), b""
    beyond = begin + 2 + 12 * len(entries) + 4
    for tag, kind, value in sorted(entries):
        place = value.ljust(4, b"\0")
        if len(value) > 4:
            place = struct.pack("<I", beyond + len(values))
            values += value
        found += struct.pack("<HHI", tag, kind, len(value) // SIZES[kind]) + place
    return found + bytes(4) + values


def exif_with(tag: int, kind: int, value: bytes, inside: bool) -> bytes:
    """EXIF of a maker and one more tag of any type."""
    maker = (0x10F, 2, b"Maker\0")
    if not inside:
        entries = [one for one in (maker, (0x131, 2, b"Program\0")) if one[0] != tag]
        return b"II*\0\x08\0\0\0" + directory([*entries, (tag, kind, value)], 8)
    first = directory([maker, (0x8769, 4, struct.pack("<I", 8 + 2 + 24 + 4 + 6))], 8)
    return b"II*\0\x08\0\0\0" + first + directory([(tag, kind, value)], 8 + len(first))


def file_with(exif: bytes, suffix: str) -> bytes:
    file = io.BytesIO()
    options = {"lossless": True, "exif": exif} if suffix == ".webp" else {}
    if suffix == ".jpg":
        options = {"exif": b"Exif\0\0" + exif, "quality": 100, "subsampling": 0}
    Image.fromarray(PIXELS).save(file, Image.registered_extensions()[suffix], **options)
    data = file.getvalue()
    if suffix == ".png":
        mark = data.index(b"IDAT") - 4
        chunk = struct.pack(">I", len(exif)) + b"eXIf" + exif + struct.pack(">I", zlib.crc32(b"eXIf" + exif))
        data = data[:mark] + chunk + data[mark:]
    return data


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("name", TAGS)
def test_no_tag_of_the_wrong_type_makes_a_photograph_unreadable(name, suffix, tmp_path):
    tag, inside = TAGS[name]
    for kind, value in ((kind, value) for kind, values in VALUES.items() for value in values):
        exif = exif_with(tag, kind, value, inside)
        file = tmp_path / f"a{suffix}"
        file.write_bytes(file_with(exif, suffix))
        image = read_image_file(file)
        turned = image.pixels.shape != PIXELS.shape
        assert turned == (tag == 0x112 and kind == 3 and value == struct.pack("<H", 6)), (kind, value)
        assert np.array_equal(read_image(file).shape, image.pixels.shape)
        for wanted in (".jpg", ".png", ".webp", ".tif"):  # what is kept can be written
            write_image_file(tmp_path / f"b{wanted}", image)
            assert read_image_file(tmp_path / f"b{wanted}").lost == ()
        if name != "Make" and image.exif is not None:  # the sound tags beside it are kept
            kept = Image.Exif()
            kept.load(image.exif)
            assert kept[0x10F] == "Maker"


def test_what_is_lost_is_named(tmp_path, caplog):
    file = tmp_path / "a.jpg"
    file.write_bytes(file_with(exif_with(0x11A, 11, struct.pack("<f", float("nan")), False), ".jpg"))
    with caplog.at_level(logging.WARNING, "basicsr"):
        logging.getLogger("basicsr").addHandler(caplog.handler)
        image = read_image_file(file)
        logging.getLogger("basicsr").removeHandler(caplog.handler)
    assert image.lost == ("EXIF XResolution",)
    assert f"{file}: EXIF XResolution cannot be understood and is left out" in caplog.text
    file.write_bytes(file_with(exif_with(0x112, 1, b"\6", False), ".jpg"))
    image = read_image_file(file)
    assert image.lost == ("EXIF Orientation",)
    assert image.pixels.shape == PIXELS.shape


@pytest.mark.parametrize("garbage", [b"", b"\0" * 40, b"II*\0" + b"\xff" * 60, b"garbage" * 9, bytes(range(256))])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_garbage_is_left_out(suffix, garbage, tmp_path):
    file = tmp_path / f"a{suffix}"
    file.write_bytes(file_with(garbage, suffix))
    image = read_image_file(file)
    assert image.exif is None
    assert image.pixels.shape == PIXELS.shape
    assert read_image(file).shape == PIXELS.shape


def test_cut_exif_is_left_out(tmp_path):
    whole = exif_with(0x920A, 5, struct.pack("<II", 50, 1), True)
    for length, suffix in itertools.product(range(0, len(whole), 3), (".jpg", ".png", ".webp")):
        (tmp_path / "a").write_bytes(file_with(whole[:length], suffix))
        assert read_image_file(tmp_path / "a").pixels.shape == PIXELS.shape


@pytest.mark.parametrize("big", [False, True], ids=["classic", "BigTIFF"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_tiff_keeps_its_texts_and_resolution(big, dtype, tmp_path):
    file = tmp_path / "a.tif"
    pixels = PIXELS.astype(dtype)
    texts = [(271, "s", 0, "Maker", True), (282, "f", 1, float("nan"), True)]
    tifffile.imwrite(file, pixels, photometric="rgb", bigtiff=big, extratags=texts[:1], resolution=(300, 200))
    image = read_image_file(file)
    assert image.dpi == (300, 200)
    for suffix in (".png", ".tif", ".jpg") if dtype == np.uint8 else (".png", ".tif"):
        write_image_file(tmp_path / f"b{suffix}", image)
        again = read_image_file(tmp_path / f"b{suffix}")
        kept = Image.Exif()
        kept.load(again.exif)
        assert kept[271] == "Maker"
        assert again.dpi == pytest.approx((300, 200), rel=1e-3)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
def test_resolution_is_kept(suffix, dtype, tmp_path):
    if suffix != ".png" and dtype == np.uint16:
        return
    write_image_file(tmp_path / f"a{suffix}", ImageFile(PIXELS.astype(dtype), dpi=(300, 240)))
    with Image.open(tmp_path / f"a{suffix}") as picture:
        assert picture.info["dpi"] == pytest.approx((300, 240), rel=1e-3)
    image = read_image_file(tmp_path / f"a{suffix}")
    assert image.dpi == pytest.approx((300, 240), rel=1e-3)


def test_resolution_is_turned_with_the_pixels(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(PIXELS).save(tmp_path / "a.jpg", exif=exif, dpi=(300, 240))
    assert read_image_file(tmp_path / "a.jpg").dpi == (240, 300)


def test_a_lossless_webp_stays_lossless(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.webp", lossless=True)
    image = read_image_file(tmp_path / "a.webp")
    write_image_file(tmp_path / "b.webp", image)
    assert np.array_equal(read_image_file(tmp_path / "b.webp").pixels, PIXELS)
    Image.fromarray(PIXELS).save(tmp_path / "c.webp", quality=90)
    assert not read_image_file(tmp_path / "c.webp").lossless


def test_a_tag_that_is_too_large_for_a_jpeg_is_left_out(tmp_path):
    texts = [(271, "s", 0, "Maker", True), (50000, "B", 100_000, bytes(100_000), True)]
    tifffile.imwrite(tmp_path / "a.tif", PIXELS, photometric="rgb", extratags=texts)
    image = read_image_file(tmp_path / "a.tif")
    assert write_image_file(tmp_path / "b.jpg", image) == ("EXIF tag 50000",)
    kept = Image.Exif()
    kept.load(read_image_file(tmp_path / "b.jpg").exif)
    assert kept[271] == "Maker"
    assert write_image_file(tmp_path / "b.png", image) == ()


def text_chunk(kind: bytes, content: bytes, checksum: int | None = None) -> bytes:
    checksum = zlib.crc32(kind + content) if checksum is None else checksum
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


@pytest.mark.parametrize(
    "chunk",
    [
        text_chunk(b"zTXt", b"Title\0\0" + zlib.compress(bytes(3_000_000))),  # Pillow takes it for an attack
        text_chunk(b"zTXt", b"Title\0\0garbage"),
        text_chunk(b"tEXt", b"Title\0text", checksum=1),
        text_chunk(b"iTXt", b"Title\0\1\7"),
        text_chunk(b"pHYs", b"\0"),
        text_chunk(b"iCCP", b"profile\0\0garbage"),
        text_chunk(b"eXIf", b"II*\0", checksum=1),
        text_chunk(b"gAMA", b"\0\1"),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_damaged_chunks_beside_the_pixels_of_a_png_are_left_out(chunk, dtype, tmp_path):
    file = tmp_path / "a.png"
    pixels = PIXELS.astype(dtype)
    write_image_file(file, ImageFile(pixels))
    data = file.read_bytes()
    mark = data.index(b"IDAT") - 4
    file.write_bytes(data[:mark] + chunk + data[mark:])
    image = read_image_file(file)
    assert np.array_equal(image.pixels, pixels)
    assert np.array_equal(read_image(file), pixels)
    assert image.lost in ((), ("metadata",))
