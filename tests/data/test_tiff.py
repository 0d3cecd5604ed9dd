"""TIFF files of every form: training and restoring see what tifffile reads, or the reason why not."""

from __future__ import annotations

import io
import itertools
import struct

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from dcpt_data import DataError
from dcpt_data.images.photograph_files import read_image_file
from dcpt_data.images.pixels import EncodedImage, Window, read_image
from dcpt_data.images.tiff import read_tiff

DEPTHS = (np.uint8, np.uint16)


def noise(dtype: type, channels: int = 3, height: int = 37, width: int = 41) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, np.iinfo(dtype).max + 1, (height, width, channels)).astype(dtype)


def written(pixels: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **{"metadata": None, **options})
    return file.getvalue()


def by_pillow(picture: Image.Image, **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, "TIFF", **options)
    return file.getvalue()


def samples(data: bytes) -> np.ndarray:
    tiff = read_tiff(data, "a.tif")
    return np.dstack([tiff.colours, *([] if tiff.alpha is None else [tiff.alpha])])


def refusal(data: bytes) -> str:
    with pytest.raises(DataError) as caught:
        read_tiff(data, "a.tif")
    with pytest.raises(DataError) as in_training:
        EncodedImage(data, "a.tif").pixels()
    assert str(caught.value) == str(in_training.value)
    assert str(caught.value).startswith("a.tif: ")
    return str(caught.value)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", DEPTHS)
def test_every_layout_is_read_as_tifffile_reads_it(dtype, channels, planar, tmp_path):
    pixels = noise(dtype, channels)
    stored = pixels[..., 0] if channels == 1 else pixels if planar == "contig" else pixels.transpose(2, 0, 1)
    options = {"photometric": "minisblack" if channels == 1 else "rgb"}
    if channels > 1:
        options["planarconfig"] = planar
    if channels == 4:
        options["extrasamples"] = ["unassalpha"]
    forms = itertools.product(
        (False, True), ("<", ">"), (None, (16, 16)), ((None, None), ("zlib", None), ("zlib", True))
    )
    for big, order, tile, (compression, predictor) in forms:
        data = written(
            stored,
            **options,
            bigtiff=big,
            byteorder=order,
            tile=tile,
            compression=compression,
            predictor=predictor,
        )
        assert np.array_equal(samples(data), pixels), (big, order, tile, compression, predictor)
        (tmp_path / "a.tif").write_bytes(data)
        image = read_image_file(tmp_path / "a.tif")
        colours = np.broadcast_to(pixels[..., :3], (37, 41, 3))
        assert np.array_equal(image.pixels, pixels[..., :3])
        assert (image.alpha is not None) == (channels == 4)
        assert np.array_equal(read_image(tmp_path / "a.tif"), colours)
        window = EncodedImage(data, "a").pixels(Window(3, 5, 20, 30))
        assert np.array_equal(window, colours[3:23, 5:35])


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", DEPTHS)
def test_lzw_needs_no_further_package(dtype, channels):
    pixels = noise(dtype, channels, height=300)
    stored = pixels if channels == 1 else pixels[..., [2, 1, 0, 3][:channels]]
    for predictor in (1, 2):  # OpenCV compresses by LZW, in many strips
        done, data = cv2.imencode(
            ".tif", stored, [cv2.IMWRITE_TIFF_COMPRESSION, 5, cv2.IMWRITE_TIFF_PREDICTOR, predictor]
        )
        assert done
        assert np.array_equal(samples(data.tobytes()), pixels)


@pytest.mark.parametrize("tile", [None, (16, 32)])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("order", "<>")
def test_lzw_is_read_in_every_layout(order, planar, tile):
    pixels = noise(np.uint16)
    stored = pixels if planar == "contig" else pixels.transpose(2, 0, 1)
    data = written(stored, photometric="rgb", planarconfig=planar, tile=tile, byteorder=order, rowsperstrip=8)
    assert np.array_equal(samples(compressed(data, order)), pixels)


def compressed(data: bytes, order: str) -> bytes:
    """The same TIFF with each strip or tile compressed by libtiff's LZW."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        width = page.tilewidth if page.is_tiled else page.imagewidth
        row = width * 2 * (1 if page.planarconfig == 2 else 3)
        parts = []
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
            rows = np.frombuffer(data[offset : offset + count], np.uint8).reshape(-1, row)
            packed = by_pillow(Image.fromarray(rows), compression="tiff_lzw", tiffinfo={278: len(rows)})
            with tifffile.TiffFile(io.BytesIO(packed)) as one:
                (begin,), (size,) = one.pages.first.dataoffsets, one.pages.first.databytecounts
            parts.append(packed[begin : begin + size])
        tags = {259: [5]}
        starts = np.cumsum([len(data), *(len(part) for part in parts)])[:-1]
        tags[324 if page.is_tiled else 273] = [int(start) for start in starts]
        tags[325 if page.is_tiled else 279] = [len(part) for part in parts]
        changed = bytearray(data + b"".join(parts))
        for code, values in tags.items():
            tag = page.tags[code]
            form = {3: "H", 4: "I"}[tag.dtype] * len(values)
            struct.pack_into(order + form, changed, tag.valueoffset, *values)
    return bytes(changed)


def test_the_least_value_is_white():
    for dtype in DEPTHS:
        pixels = noise(dtype, 1)
        data = written(pixels[..., 0], photometric="miniswhite")
        assert np.array_equal(samples(data), np.iinfo(dtype).max - pixels)


@pytest.mark.parametrize("dtype", DEPTHS)
def test_colours_that_alpha_was_multiplied_into_are_divided_again(dtype):
    most = np.iinfo(dtype).max
    straight = np.array([[[most, most // 2, 0], [most, 10, 0], [9, 8, 7]]], dtype)
    alpha = np.array([[most, most // 5, 0]], dtype)
    multiplied = np.round(straight * (alpha[..., None] / most)).astype(dtype)
    multiplied[0, 2] = 9, 8, 7  # where nothing is seen, what is stored stays
    data = written(np.dstack([multiplied, alpha]), photometric="rgb", extrasamples=["assocalpha"])
    tiff = read_tiff(data, "a")
    assert np.array_equal(tiff.alpha, alpha)
    assert np.abs(tiff.colours.astype(int) - straight).max() <= 3
    assert np.array_equal(tiff.colours[0, 2], (9, 8, 7))
    data = written(np.dstack([multiplied, alpha]), photometric="rgb", extrasamples=["unassalpha"])
    assert np.array_equal(read_tiff(data, "a").colours, multiplied)


@pytest.mark.parametrize("dtype", DEPTHS)
def test_samples_that_are_no_colour(dtype, tmp_path):
    pixels = noise(dtype, 5)
    data = written(pixels, photometric="rgb", extrasamples=["unspecified", "unassalpha"])
    tiff = read_tiff(data, "a")
    assert np.array_equal(tiff.colours, pixels[..., :3])
    assert np.array_equal(tiff.alpha, pixels[..., 4])
    assert tiff.others == 1
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(DataError, match="1 samples a pixel that are neither colour nor transparency"):
        read_image_file(tmp_path / "a.tif")


def test_gray_with_alpha_of_16_bits(tmp_path):
    pixels = noise(np.uint16, 2)
    data = written(pixels, photometric="minisblack", planarconfig="contig", extrasamples=["unassalpha"])
    (tmp_path / "a.tif").write_bytes(data)
    image = read_image_file(tmp_path / "a.tif")
    assert np.array_equal(image.pixels, pixels[..., :1])
    assert np.array_equal(image.alpha, pixels[..., 1])
    assert np.array_equal(read_image(tmp_path / "a.tif"), np.repeat(pixels[..., :1], 3, axis=2))


@pytest.mark.parametrize(
    ("mode", "compression"),
    [
        ("1", None),
        ("1", "group4"),
        ("L", "jpeg"),
        ("L", "packbits"),
        ("P", None),
        ("P", "tiff_lzw"),
        ("RGB", "jpeg"),
        ("RGB", "zstd"),
        ("RGB", "tiff_lzma"),
        ("RGBA", "tiff_lzw"),
        ("LA", "tiff_deflate"),
        ("CMYK", None),
        ("CMYK", "tiff_lzw"),
        ("YCbCr", None),
    ],
)
def test_what_pillow_writes_has_the_colours_that_pillow_reads(mode, compression):
    source = Image.fromarray(noise(np.uint8)).convert(mode)
    data = by_pillow(source, compression=compression)
    if compression is None:  # Pillow 12 does not read every file of these that it has written
        expected = np.asarray(source.convert("RGB"))
    else:
        with Image.open(io.BytesIO(data)) as picture:
            expected = np.asarray(picture.convert("RGB"))
    assert np.array_equal(EncodedImage(data, "a").pixels(), expected)


@pytest.mark.parametrize("scale", [1, 256, 257])
def test_a_palette_may_be_written_in_any_of_three_ways(scale):
    indices = noise(np.uint8, 1)[..., 0]
    palette = np.arange(768, dtype=np.uint16).reshape(3, 256) // 3
    data = written(indices, photometric="palette", colormap=palette * np.uint16(scale))
    assert np.array_equal(samples(data), palette.T[indices])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (lambda: written(np.zeros((4, 4), np.float32)), "pixels are float32"),
        (lambda: written(np.zeros((4, 4), np.int16)), "pixels are int16"),
        (lambda: written(np.zeros((4, 4), np.uint32)), "of 32 bits"),
        (lambda: written(np.zeros((4, 4, 3), np.uint8), photometric="cielab"), "colours of kind CIELAB"),
        (lambda: written(np.zeros((4, 4, 4), np.uint16), photometric="separated"), "inks other than CMYK of 8 bits"),
        (lambda: written(np.zeros((3, 4, 4, 3), np.uint8), photometric="rgb"), "holds 3 images"),
        (lambda: written(np.zeros((3, 4, 4, 3), np.uint8), photometric="rgb", metadata={}), "holds 3 images"),
        (lambda: written(np.zeros((3, 4, 4, 3), np.uint8), imagej=True, metadata={}), "holds 3 images"),
        (lambda: written(np.zeros((3, 4, 4), np.uint8), photometric="minisblack", metadata={}), "holds 3"),
        (
            lambda: written(np.zeros((3, 16, 16), np.uint8), photometric="minisblack", tile=(3, 16, 16)),
            "holds 3 images",
        ),
    ],
)
def test_what_is_not_read_is_refused_with_the_reason(data, reason):
    assert reason in refusal(data())


def test_a_reduced_copy_is_no_further_image():
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(noise(np.uint8), photometric="rgb", metadata=None)
        writer.write(noise(np.uint8)[::4, ::4], photometric="rgb", metadata=None, subfiletype=1)
    assert np.array_equal(samples(file.getvalue()), noise(np.uint8))


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
def test_a_cut_tiff_is_refused(share, compression):
    whole = written(noise(np.uint16), photometric="rgb", compression=compression, rowsperstrip=5)
    assert "truncated" in refusal(whole[: int(share * len(whole))])


def test_strips_that_are_not_there_are_refused():
    data = bytearray(written(noise(np.uint8), photometric="rgb", rowsperstrip=5, compression="zlib"))
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
        tag = file.pages.first.tags[279]
    struct.pack_into("<I" if tag.dtype == 4 else "<H", data, tag.valueoffset, 0)
    assert "truncated" in refusal(bytes(data))


@pytest.mark.parametrize(
    "text", ['{"shape": [40, 60', '{"shape": "x"}', "ImageJ=1.11a\nimages=l\n", "<OME><garbage", "\udce9"]
)
def test_descriptions_that_are_garbage_describe_nothing(text):
    data = written(noise(np.uint8), photometric="rgb", description="d" * 40)
    begin = data.index(b"d" * 40)
    data = data[:begin] + text.encode("utf-8", "surrogateescape").ljust(40, b"\0") + data[begin + 40 :]
    assert np.array_equal(samples(data), noise(np.uint8))


@pytest.mark.parametrize("channels", [2, 3])
def test_samples_of_a_single_bit_whose_order_nobody_knows_are_refused(channels):
    pixels = noise(np.uint8, channels) > 127  # which tifffile packs by sample, and reads by pixel
    kind = "rgb" if channels == 3 else "minisblack"
    assert "samples a pixel of 1 bit" in refusal(written(pixels, photometric=kind, planarconfig="contig"))
    alone = written(pixels[..., 0], photometric="minisblack")
    assert np.array_equal(samples(alone)[..., 0], pixels[..., 0] * np.uint8(255))


@pytest.mark.parametrize("compression", ["tiff_lzw", "zstd", "tiff_adobe_deflate", "packbits"])
def test_a_compressed_picture_of_single_bits_needs_no_further_package(compression):
    bits = noise(np.uint8, 1)[..., 0] > 127
    data = by_pillow(Image.fromarray(bits), compression=compression)
    assert np.array_equal(samples(data)[..., 0], bits * np.uint8(255))
