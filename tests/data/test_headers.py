"""Orientation and frames: one rule for training, restoring, LMDBs and tools, in every format."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
import tifffile
from orientations import STORED
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from dcpt_data import DataError
from dcpt_data.images.headers import look
from dcpt_data.images.photograph_files import read_image_file
from dcpt_data.images.pixels import EncodedImage, Window, read_image

ORIENTATION = 274
KINDS = ("jpg", "png", "webp", "tif", "png after", "png of ImageMagick", "webp and profile")


@pytest.fixture
def upright():
    image = np.zeros((24, 40, 3), np.uint8)
    image[:12, :10] = (250, 60, 20)
    image[12:, :10] = (40, 90, 250)
    return image


def exif(turn: int) -> Image.Exif:
    made = Image.Exif()
    made[ORIENTATION] = turn
    return made


def turned(upright: np.ndarray, kind: str, turn: int) -> bytes:
    """A file of the pixels as they are stored for an orientation, and of what says so."""
    stored = np.ascontiguousarray(STORED[turn](upright))
    file = io.BytesIO()
    if kind == "tif":
        tifffile.imwrite(file, stored, photometric="rgb", extratags=[(ORIENTATION, "H", 1, turn, True)])
        return file.getvalue()
    options: dict = {"exif": exif(turn)}
    form = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[kind.split()[0]]
    if kind == "png of ImageMagick":
        content = exif(turn).tobytes()
        text = PngInfo()
        text.add_text("Raw profile type exif", f"\nexif\n{len(content):8}\n{content.hex()}\n", zip=True)
        options = {"pnginfo": text}
    if kind == "webp and profile":
        options["icc_profile"] = b"profile"
    if form == "WEBP":
        options["lossless"] = True
    if form == "JPEG":
        options |= {"quality": 100, "subsampling": 0}
    Image.fromarray(stored).save(file, form, **options)
    data = file.getvalue()
    if kind == "png after":  # the chunk may stand behind the pixels
        begin = data.index(b"eXIf") - 4
        end = begin + 12 + int.from_bytes(data[begin : begin + 4], "big")
        mark = data.index(b"IEND") - 4
        data = data[:begin] + data[end:mark] + data[begin:end] + data[mark:]
    return data


@pytest.mark.parametrize("turn", STORED)
@pytest.mark.parametrize("kind", KINDS)
def test_training_sees_what_restoring_sees(upright, kind, turn, tmp_path):
    data = turned(upright, kind, turn)
    image = EncodedImage(data, "a")
    assert image.turn == turn
    assert image.shape == upright.shape[:2]
    assert EncodedImage(data, "a").inspect() == (*upright.shape[:2], np.uint8)
    slack = 12 if kind == "jpg" else 0
    assert np.abs(image.pixels().astype(int) - upright).max() <= slack
    window = EncodedImage(data, "a").pixels(Window(4, 5, 9, 20))
    assert np.array_equal(window, image.pixels()[4:13, 5:25])
    (tmp_path / "a").write_bytes(data)
    restored = read_image_file(tmp_path / "a")
    assert np.array_equal(restored.pixels, image.pixels())


@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
def test_what_is_damaged_or_mistyped_is_upright(upright, kind):
    data = turned(upright, kind, 6)
    begin = data.index(b"MM\0*") if b"MM\0*" in data else data.index(b"II*\0")
    for position, byte in ((begin, 0), (begin + 4, 255), (begin + 9, 255), (begin + 13, 1), (begin + 19, 77)):
        changed = bytearray(data)
        changed[position] = byte
        assert look(bytes(changed)).turn in (1, 6)
        assert look(bytes(changed[: position + 1])).turn == 1
    mistyped = bytearray(data)
    place = data.index(b"\x01\x12\x00\x03", begin)
    mistyped[place + 3] = 1  # a byte where the standard has a short
    assert look(bytes(mistyped)).turn == 1


def several(form: str) -> bytes:
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue", "green")]
    file = io.BytesIO()
    frames[0].save(file, form, save_all=True, append_images=frames[1:])
    return file.getvalue()


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF", "GIF"])
def test_several_frames_are_refused_in_training_as_in_restoring(form, tmp_path):
    data = several(form)
    (tmp_path / "a.png").write_bytes(data)
    reason = r"a\.png: holds 3 images; save the one that is meant as a file"
    for read in (read_image, read_image_file, lambda path: EncodedImage(data, str(path)).inspect()):
        with pytest.raises(DataError, match=reason):
            read(tmp_path / "a.png")
    with pytest.raises(DataError, match=reason):
        EncodedImage(data, str(tmp_path / "a.png")).pixels(Window(0, 0, 2, 2))


def test_the_first_picture_of_an_mpo_is_taken(tmp_path):
    (tmp_path / "a.jpg").write_bytes(several("MPO"))
    with Image.open(tmp_path / "a.jpg") as picture:
        assert picture.format == "MPO"
        assert picture.n_frames == 3
    for pixels in (read_image(tmp_path / "a.jpg"), read_image_file(tmp_path / "a.jpg").pixels):
        assert np.abs(pixels.astype(int) - (255, 0, 0)).max() < 5


def test_ordinary_files_are_looked_at_without_decoding(monkeypatch, upright):
    files = [turned(upright, kind, 6) for kind in ("jpg", "png", "webp")]
    monkeypatch.setattr(cv2, "imdecode", None)
    monkeypatch.setattr(Image, "open", None)
    assert [look(data).turn for data in files] == [6, 6, 6]
