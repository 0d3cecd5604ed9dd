"""Image files of every kind that data sets hold, and those that must be refused with their path."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from PIL import Image

from dcpt_data.errors import DataError
from dcpt_data.images.pixels import list_images, read_image, to_float, to_uint8, write_image

INSTALLED = Path(skimage.data.__file__).parent  # files as cameras and other programs wrote them


@pytest.fixture
def image(crops):
    return crops["face"]


@pytest.fixture
def deep(image):
    """16-bit pixels that 8 bits cannot hold."""
    low = np.random.default_rng(0).integers(0, 256, image.shape, np.uint16)
    return image.astype(np.uint16) * 256 + low


def saved(image, path, mode=None, **options):
    Image.fromarray(image, mode).save(path, **options)
    return path


def refusal(path):
    with pytest.raises(DataError) as caught:
        read_image(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


# Reading and writing


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".tif", ".tiff", ".bmp"])
def test_8_bit_round_trip_is_exact(image, tmp_path, suffix):
    write_image(tmp_path / f"a{suffix}", image)
    read = read_image(tmp_path / f"a{suffix}")
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, image)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff"])
def test_16_bit_round_trip_keeps_the_depth(deep, tmp_path, suffix):
    write_image(tmp_path / f"a{suffix}", deep)
    read = read_image(tmp_path / f"a{suffix}")
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, deep)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp"])
def test_lossy_round_trip_is_close(image, tmp_path, suffix):
    write_image(tmp_path / f"a{suffix}", image)
    read = read_image(tmp_path / f"a{suffix}")
    assert read.shape == image.shape
    # With red and blue exchanged the mean error of this photograph is above 30.
    assert np.abs(read.astype(int) - image).mean() < 5


@pytest.mark.parametrize("suffix", [".jpg", ".bmp", ".webp"])
def test_16_bit_pixels_are_not_written_where_they_would_be_clipped(deep, tmp_path, suffix):
    with pytest.raises(DataError, match=r"uint16 pixels can be written as \.png"):
        write_image(tmp_path / f"a{suffix}", deep)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.foo", "a"])
def test_writing_names_a_suffix_that_is_not_known(image, tmp_path, name):
    with pytest.raises(DataError, match=r"can be written as \.bmp, .*\.png") as caught:
        write_image(tmp_path / name, image)
    assert str(tmp_path / name) in str(caught.value)


def test_writing_into_a_missing_folder_names_the_file(image, tmp_path):
    path = tmp_path / "missing" / "a.png"
    with pytest.raises(DataError, match="No such file") as caught:
        write_image(path, image)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".webp"])
def test_channels_are_in_the_order_red_green_blue(tmp_path, suffix):
    colours = np.zeros((8, 24, 3), np.uint8)
    for channel in range(3):
        colours[:, 8 * channel : 8 * channel + 8, channel] = 200
    options = {"lossless": True} if suffix == ".webp" else {}
    np.testing.assert_array_equal(read_image(saved(colours, tmp_path / f"a{suffix}", **options)), colours)


# Kinds of pixels


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_grayscale_becomes_three_equal_channels(image, tmp_path, suffix):
    gray = image[..., 0]
    read = read_image(saved(gray, tmp_path / f"a{suffix}"))
    assert read.shape == image.shape
    for channel in range(3):
        np.testing.assert_array_equal(read[..., channel], gray)


def test_grayscale_jpeg_has_three_equal_channels(image, tmp_path):
    read = read_image(saved(image[..., 0], tmp_path / "a.jpg", quality=95))
    assert read.shape == image.shape
    assert (read == read[..., :1]).all()


def test_16_bit_grayscale_keeps_the_depth(deep, tmp_path):
    read = read_image(saved(deep[..., 0], tmp_path / "a.png"))
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, np.repeat(deep[..., :1], 3, axis=2))


def test_black_and_white_png(image, tmp_path):
    bits = Image.fromarray(image).convert("1")
    bits.save(tmp_path / "a.png")
    expected = np.asarray(bits.convert("RGB"))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), expected)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_alpha_is_left_out_and_changes_no_colour(image, tmp_path, suffix):
    # Where alpha is 0 as well: a viewer would show nothing there, but the pixels are what was stored.
    alpha = np.random.default_rng(0).integers(0, 256, image.shape[:2], np.uint8)
    alpha[:20] = 0
    np.testing.assert_array_equal(read_image(saved(np.dstack([image, alpha]), tmp_path / f"a{suffix}")), image)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_gray_with_alpha(image, tmp_path, suffix):
    gray, alpha = image[..., 0], image[..., 1]
    path = tmp_path / f"a{suffix}"
    Image.merge("LA", [Image.fromarray(gray), Image.fromarray(alpha)]).save(path)
    np.testing.assert_array_equal(read_image(path), np.repeat(gray[..., None], 3, axis=2))


def test_16_bit_alpha_is_left_out(deep, tmp_path):
    bgra = np.dstack([deep[..., ::-1], deep[..., 0]])
    cv2.imwrite(str(tmp_path / "a.png"), bgra)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), deep)


@pytest.mark.parametrize("options", [{}, {"transparency": 0}], ids=["opaque", "transparent"])
def test_palette_png_has_the_colours_of_its_palette(image, tmp_path, options):
    palette = Image.fromarray(image).convert("P")
    palette.save(tmp_path / "a.png", **options)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.asarray(palette.convert("RGB")))


def test_floating_point_pixels_are_refused(image, tmp_path):
    path = saved(image[..., 0].astype(np.float32), tmp_path / "a.tif")
    assert "pixels are float32" in refusal(path)


def test_a_suffix_that_does_not_fit_the_content_is_no_matter(image, tmp_path):
    saved(image, tmp_path / "a.png").rename(tmp_path / "a.jpg")
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg"), image)


# Damage


@pytest.mark.parametrize("share", [0.01, 0.3, 0.7, 0.99])
@pytest.mark.parametrize("name", ["coffee.png", "rocket.jpg"])
def test_a_cut_file_is_refused(tmp_path, name, share):
    data = (INSTALLED / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(data[: int(share * len(data))])
    assert "truncated" in refusal(path) or "damaged" in refusal(path)
    # The whole file must be readable, or the test would hold for any file.
    path.write_bytes(data)
    assert read_image(path).shape[2] == 3


@pytest.mark.parametrize("name", ["coffee.png", "rocket.jpg"])
def test_a_cut_file_is_refused_where_the_decoder_fills_it_with_gray(tmp_path, monkeypatch, name):
    # OpenCV 4 does, OpenCV 5 refuses the file itself.
    data = (INSTALLED / name).read_bytes()
    path = tmp_path / name
    monkeypatch.setattr(cv2, "imdecode", lambda *_: np.full((8, 8, 3), 128, np.uint8))
    path.write_bytes(data[: len(data) // 2])
    assert "truncated" in refusal(path)
    path.write_bytes(data)
    assert (read_image(path) == 128).all()


def test_a_size_beyond_the_limits_of_the_decoder_is_refused(image, tmp_path):
    path = saved(image, tmp_path / "a.bmp")
    data = bytearray(path.read_bytes())
    data[18:22] = (2**29).to_bytes(4, "little")  # the width
    path.write_bytes(data)
    assert "damaged" in refusal(path)


def test_an_empty_file_is_refused(tmp_path):
    path = tmp_path / "a.png"
    path.touch()
    assert "not an image" in refusal(path)


def test_text_is_refused(tmp_path):
    path = tmp_path / "a.png"
    path.write_text("404: Not Found\n" * 100)
    assert "not an image" in refusal(path)


def test_a_missing_file_is_refused(tmp_path):
    assert "No such file" in refusal(tmp_path / "a.png")


def test_a_folder_is_refused(tmp_path):
    (tmp_path / "a.png").mkdir()
    assert "cannot be read" in refusal(tmp_path / "a.png")


@pytest.mark.parametrize("extra", [1, 2000, 20000])
def test_bytes_after_the_end_of_a_jpeg_are_no_damage(tmp_path, extra):
    # Some cameras append a preview or their own records.
    whole = INSTALLED / "rocket.jpg"
    path = tmp_path / "a.jpg"
    path.write_bytes(whole.read_bytes() + bytes(extra))
    np.testing.assert_array_equal(read_image(path), read_image(whole))


# Values


def test_to_float_maps_each_depth_to_0_to_1():
    for dtype in (np.uint8, np.uint16):
        greatest = np.iinfo(dtype).max
        values = to_float(np.array([0, 1, greatest - 1, greatest], dtype))
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, np.float32([0, 1, greatest - 1, greatest]) / np.float32(greatest))
        assert values[0] == 0 and values[-1] == 1


def test_to_uint8_inverts_to_float():
    levels = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(to_uint8(to_float(levels)), levels)


def test_to_uint8_rounds_and_clips():
    values = np.array([-0.5, 0.49 / 255, 0.51 / 255, 99.6 / 255, 254.6 / 255, 1.5], np.float32)
    np.testing.assert_array_equal(to_uint8(values), [0, 0, 1, 100, 255, 255])
    assert to_uint8(values).dtype == np.uint8


def test_16_bits_are_brought_to_the_nearest_8():
    np.testing.assert_array_equal(to_uint8(to_float(np.array([0, 128, 129, 65535], np.uint16))), [0, 0, 1, 255])


# Folders


def touched(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_list_images_reads_nested_folders_in_sorted_order(tmp_path):
    names = ["b.png", "a/2.jpg", "a/1.TIF", "a/deep/er/0.bmp", "c.d/x.jpeg", "c.webp", "a.tiff"]
    touched(tmp_path, *names, "notes.txt", "a/Thumbs.db", "png", "e.png.part")
    found = list_images(tmp_path)
    assert found == sorted(tmp_path / name for name in names)


def test_list_images_passes_over_what_is_hidden(tmp_path):
    touched(tmp_path, "a.png", "._a.png", ".b.png", ".trash/c.png", "d/.partial/e.png", ".png")
    assert list_images(tmp_path) == [tmp_path / "a.png"]


def test_list_images_follows_linked_folders(tmp_path):
    touched(tmp_path, "elsewhere/a.png", "root/b.png")
    (tmp_path / "root" / "linked").symlink_to(tmp_path / "elsewhere")
    assert list_images(tmp_path / "root") == [tmp_path / "root/b.png", tmp_path / "root/linked/a.png"]


@pytest.mark.parametrize("content", [[], ["readme.txt"], [".hidden/a.png"]])
def test_a_folder_without_images_is_refused(tmp_path, content):
    touched(tmp_path, *content)
    with pytest.raises(DataError, match="no images") as caught:
        list_images(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="no such folder") as caught:
        list_images(tmp_path / "nowhere")
    assert str(tmp_path / "nowhere") in str(caught.value)


def test_a_folder_that_lies_in_itself_is_read_once(tmp_path):
    touched(tmp_path, "a.png", "b/c.png")
    for link in ("s1", "b/s2", "0"):
        (tmp_path / link).symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "again").symlink_to(tmp_path / "b")
    assert list_images(tmp_path) == [tmp_path / "a.png", tmp_path / "b/c.png"]


def test_of_several_links_to_a_folder_the_first_is_taken(tmp_path):
    touched(tmp_path, "elsewhere/x/a.png", "root/b.png")
    for link in ("z", "deep/y", "m"):
        (tmp_path / "root" / link).parent.mkdir(exist_ok=True)
        (tmp_path / "root" / link).symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root" / "nowhere").symlink_to(tmp_path / "missing")
    assert list_images(tmp_path / "root") == [tmp_path / "root/b.png", tmp_path / "root/m/x/a.png"]
