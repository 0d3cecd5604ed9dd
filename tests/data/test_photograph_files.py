"""Image files as their owners want them back: every kind, with alpha, depth, orientation, profile and EXIF."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from orientations import STORED
from PIL import Image, ImageCms

from dcpt_data import DataError
from dcpt_data.images.photograph_files import ImageFile, check_format, read_image_file, write_image_file
from dcpt_data.images.pixels import Window, open_image, read_image

MAKER, ORIENTATION, EXIF_IFD, GPS_IFD, FOCAL_LENGTH = 271, 274, 0x8769, 0x8825, 37386
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def exif(orientation: int = 1) -> bytes:
    made = Image.Exif()
    made[MAKER] = "Maker"
    made[ORIENTATION] = orientation
    made.get_ifd(EXIF_IFD)[FOCAL_LENGTH] = 50.0
    made.get_ifd(GPS_IFD)[1] = "N"
    return made.tobytes()


def opened(data: bytes | None) -> Image.Exif:
    assert data is not None
    found = Image.Exif()
    found.load(data)
    return found


def picture(dtype: type, channels: int, alpha: bool, rng: np.random.Generator) -> ImageFile:
    top = np.iinfo(dtype).max + 1
    pixels = rng.integers(0, top, (9, 14, channels)).astype(dtype)
    return ImageFile(pixels, rng.integers(0, top, (9, 14)).astype(dtype) if alpha else None)


def stacked(image: ImageFile) -> np.ndarray:
    return np.dstack([image.pixels, *([] if image.alpha is None else [image.alpha])])


@pytest.mark.parametrize("alpha", [False, True], ids=["opaque", "alpha"])
@pytest.mark.parametrize("channels", [1, 3], ids=["gray", "rgb"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", [".png", ".tiff", ".bmp"])
def test_what_is_written_is_read_again(suffix, dtype, channels, alpha, tmp_path):
    image = picture(dtype, channels, alpha, np.random.default_rng(0))
    file = tmp_path / f"image{suffix}"
    if suffix == ".bmp" and (alpha or dtype == np.uint16):
        with pytest.raises(DataError, match=r"would lose .*\.png"):
            write_image_file(file, image)
        assert not list(tmp_path.iterdir())
        return
    write_image_file(file, image)
    if suffix == ".tiff":
        assert np.array_equal(tifffile.imread(file).reshape(9, 14, -1), stacked(image))
    again = read_image_file(file)
    assert again.pixels.dtype == dtype
    assert np.array_equal(again.pixels, image.pixels)
    assert (again.alpha is None) == (image.alpha is None)
    assert image.alpha is None or np.array_equal(again.alpha, image.alpha)
    seen = read_image(file)  # as training reads it
    assert seen.dtype == dtype
    assert np.array_equal(seen, np.broadcast_to(image.pixels, (9, 14, 3)))
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_lossy_formats_lose_little(suffix, crops, tmp_path):
    cat = crops["cat"]
    write_image_file(tmp_path / f"cat{suffix}", ImageFile(cat))
    again = read_image_file(tmp_path / f"cat{suffix}").pixels
    assert np.abs(again.astype(int) - cat).mean() < 3
    gray = cv2.cvtColor(cat, cv2.COLOR_RGB2GRAY)[..., None]
    write_image_file(tmp_path / f"gray{suffix}", ImageFile(gray))
    again = read_image_file(tmp_path / f"gray{suffix}").pixels
    assert again.shape[2] == (1 if suffix == ".jpg" else 3)  # WebP has no gray
    assert np.abs(again.astype(int) - gray).mean() < 3


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_profile_and_exif_are_kept(suffix, dtype, tmp_path):
    if dtype == np.uint16 and suffix in (".jpg", ".webp"):
        with pytest.raises(DataError, match="16 bits"):
            check_format(ImageFile(np.zeros((1, 1, 3), dtype)), tmp_path / f"a{suffix}")
        return
    image = picture(dtype, 3, False, np.random.default_rng(0))
    write_image_file(tmp_path / f"a{suffix}", ImageFile(image.pixels, None, SRGB, exif()))
    again = read_image_file(tmp_path / f"a{suffix}")
    assert again.profile == SRGB
    found = opened(again.exif)
    assert found[MAKER] == "Maker"
    if (suffix, dtype) != (".tif", np.uint16):  # of which the texts are kept
        assert found.get_ifd(EXIF_IFD)[FOCAL_LENGTH] == 50
        assert found.get_ifd(GPS_IFD)[1] == "N"


@pytest.mark.parametrize("turn", STORED)
@pytest.mark.parametrize("kind", ["jpg", "png", "png16", "tif", "tif16"])
def test_images_are_turned_upright_once(kind, turn, tmp_path):
    upright = np.zeros((24, 40, 3), np.uint8)
    upright[:12, :10] = (250, 60, 20)
    upright[12:, :10] = (40, 90, 250)
    stored = np.ascontiguousarray(STORED[turn](upright))
    file = tmp_path / f"a.{kind[:3]}"
    if kind == "tif16":
        deep = stored.astype(np.uint16) * 257
        tifffile.imwrite(file, deep, photometric="rgb", extratags=[(ORIENTATION, "H", 1, turn, True)])
    else:
        pixels = stored.astype(np.uint16) * 257 if kind == "png16" else stored
        write_image_file(file, ImageFile(pixels, exif=exif(turn)))
    image = read_image_file(file)
    shown = image.pixels // 257 if kind.endswith("16") else image.pixels
    assert shown.shape == upright.shape
    assert np.abs(shown.astype(int) - upright).max() < (40 if kind == "jpg" else 1)
    # Written and read again it does not turn again, here and with Pillow.
    write_image_file(tmp_path / "b.png", image)
    assert np.array_equal(read_image_file(tmp_path / "b.png").pixels, image.pixels)
    with Image.open(tmp_path / "b.png") as again:
        assert again.getexif().get(ORIENTATION, 1) == 1


def test_storage_tags_of_a_tiff_are_not_kept(tmp_path):
    with Image.new("RGB", (8, 8)) as black:
        black.save(tmp_path / "a.tif", exif=exif(), compression=None)
    found = opened(read_image_file(tmp_path / "a.tif").exif)
    assert set(found) == {MAKER, ORIENTATION, EXIF_IFD, GPS_IFD}


def test_palettes_and_transparent_colours_are_resolved(tmp_path):
    with Image.new("P", (4, 2)) as image:
        image.putpalette([255, 0, 0, 0, 255, 0])
        image.putpixel((1, 0), 1)
        image.save(tmp_path / "p.png", transparency=1)
        image.save(tmp_path / "q.png")
    seen = read_image_file(tmp_path / "p.png")
    assert seen.pixels[0, :2].tolist() == [[255, 0, 0], [0, 255, 0]]
    assert seen.alpha is not None
    assert seen.alpha[0, :2].tolist() == [255, 0]
    assert read_image_file(tmp_path / "q.png").alpha is None
    with Image.new("L", (4, 2), 7) as image:
        image.putpixel((0, 0), 3)
        image.save(tmp_path / "g.png", transparency=3)
    seen = read_image_file(tmp_path / "g.png")
    assert seen.pixels[0, :2].tolist() == [[3], [7]]
    assert seen.alpha is not None
    assert seen.alpha[0, :2].tolist() == [0, 255]


@pytest.mark.parametrize("profile", [None, b"damaged"])
def test_cmyk_becomes_rgb_without_a_profile(profile, tmp_path):
    with Image.new("CMYK", (4, 2), (0, 255, 255, 0)) as red:
        red.save(tmp_path / "red.jpg", quality=95, icc_profile=profile)
    image = read_image_file(tmp_path / "red.jpg")
    assert np.abs(image.pixels.astype(int) - (255, 0, 0)).max() < 20
    assert image.profile is None


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_image_file(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_what_cannot_be_read_is_named(crops, tmp_path):
    assert "cannot be read" in refusal(tmp_path / "none.png")
    (tmp_path / "empty.jpg").touch()
    assert "not an image" in refusal(tmp_path / "empty.jpg")
    for name, pixels in (
        ("cut.png", crops["cat"]),
        ("deep.png", crops["cat"].astype(np.uint16)),
        ("cut.jpg", crops["cat"]),
    ):
        write_image_file(tmp_path / name, ImageFile(pixels))
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:2000])
        assert "truncated" in refusal(tmp_path / name)
    tifffile.imwrite(tmp_path / "float.tif", np.zeros((4, 4), np.float32))
    assert "pixels are float32" in refusal(tmp_path / "float.tif")
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "two.webp", save_all=True, append_images=frames[1:])
    assert "holds 2 images" in refusal(tmp_path / "two.webp")


def test_a_larger_panorama_than_pillow_likes_is_opened(monkeypatch, crops, tmp_path):
    write_image_file(tmp_path / "a.png", ImageFile(crops["cat"]))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert read_image_file(tmp_path / "a.png").pixels.shape == crops["cat"].shape
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO((tmp_path / "a.png").read_bytes()))


def test_a_file_that_cannot_be_written_is_named_and_leaves_nothing(crops, tmp_path):
    (tmp_path / "a.png").mkdir()
    with pytest.raises(DataError, match=r"a\.png: cannot be written"):
        write_image_file(tmp_path / "a.png", ImageFile(crops["cat"]))
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    with pytest.raises(DataError, match="can be written as"):
        write_image_file(tmp_path / "a.gif", ImageFile(crops["cat"]))


@pytest.mark.parametrize(("suffix", "side"), [(".webp", 16_384), (".jpg", 65_501)])
def test_what_a_format_has_no_room_for_is_refused_by_name(suffix, side, tmp_path):
    file = tmp_path / f"a{suffix}"
    wide = ImageFile(np.zeros((1, side, 3), np.uint8))
    with pytest.raises(DataError, match=rf"a{suffix}: {suffix} holds at most .* pixels a side.*write it as \.png"):
        write_image_file(file, wide)
    write_image_file(file, ImageFile(wide.pixels[:, :-1]))
    assert read_image_file(file).pixels.shape == (1, side - 1, 3)


def test_whatever_an_encoder_raises_names_the_file(crops, monkeypatch, tmp_path):
    def fail(*_: object, **_options: object) -> bytes:
        raise ValueError("no room for a tag")

    monkeypatch.setattr("PIL.Image.Image.save", fail)
    with pytest.raises(DataError, match=r"a\.png: cannot be written \(no room for a tag\)"):
        write_image_file(tmp_path / "a.png", ImageFile(crops["cat"]))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("length", [250, 251, 252])
def test_a_long_name_is_written_or_named(length, crops, tmp_path):
    file = tmp_path / ("n" * length + ".png")
    if length + 4 <= 255:
        write_image_file(file, ImageFile(crops["cat"]))
        assert read_image_file(file).pixels.shape == crops["cat"].shape
    else:
        with pytest.raises(DataError, match="File name too long"):
            write_image_file(file, ImageFile(crops["cat"]))
    assert len(list(tmp_path.iterdir())) == (length + 4 <= 255)


def test_an_image_larger_than_memory_is_a_failure_of_its_own(crops, monkeypatch, tmp_path):
    def fail(*_: object, **_options: object) -> None:
        raise MemoryError

    write_image_file(tmp_path / "a.png", ImageFile(crops["cat"]))
    monkeypatch.setattr("dcpt_data.images.photograph_files.eight_bits", fail)
    assert "memory" in refusal(tmp_path / "a.png")


def test_names_that_are_not_utf_8(crops, tmp_path):
    file = tmp_path / "caf\udce9.png"
    write_image_file(file, ImageFile(crops["cat"]))
    assert read_image_file(file).pixels.shape == crops["cat"].shape


@pytest.mark.parametrize("form", ["GIF", "PPM", "TGA", "JPEG2000"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_training_reads_files_of_other_kinds_as_restoring_does(form, mode, crops, tmp_path):
    picture = Image.fromarray(crops["cat"]).quantize(200).convert(mode)  # which a GIF can hold
    picture.save(tmp_path / "a.png", form)
    whole, trained = read_image_file(tmp_path / "a.png").pixels, read_image(tmp_path / "a.png")
    assert np.array_equal(whole, np.asarray(picture)) or np.array_equal(whole[..., 0], np.asarray(picture))
    assert np.array_equal(trained, np.broadcast_to(whole, trained.shape))
    part = open_image(tmp_path / "a.png").pixels(Window(3, 5, 20, 30))
    assert np.array_equal(part, trained[3:23, 5:35])


def test_what_restoring_cannot_read_of_other_kinds_training_refuses_too(tmp_path):
    Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30)).save(tmp_path / "a.png", "PPM")
    said = refusal(tmp_path / "a.png")
    assert "pixels of mode I" in said
    with pytest.raises(DataError) as caught:
        read_image(tmp_path / "a.png")
    assert str(caught.value) == said


def test_a_damaged_profile_leaves_a_png_upright(crops, tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    picture = Image.fromarray(crops["cat"])
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture.save(tmp_path / "a.png", exif=exif, icc_profile=profile)
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[data.index(b"iCCP") + 30] ^= 1
    (tmp_path / "a.png").write_bytes(data)
    image = read_image_file(tmp_path / "a.png")
    assert image.lost == ("metadata",)
    assert np.array_equal(image.pixels, np.rot90(crops["cat"], -1))
    assert np.array_equal(read_image(tmp_path / "a.png"), image.pixels)


@pytest.mark.parametrize(("form", "place"), [("WEBP", 16), ("BMP", 15)])
def test_a_file_whose_structure_is_damaged_is_refused_in_training_too(form, place, crops, tmp_path):
    file = tmp_path / f"a.{form.lower()}"
    Image.fromarray(crops["cat"]).save(file, icc_profile=b"no profile" * 5)
    data = bytearray(file.read_bytes())
    data[place] ^= 8
    file.write_bytes(data)
    assert "damaged" in refusal(file)
    with pytest.raises(DataError, match="damaged"):
        read_image(file)


def test_a_webp_that_restoring_refuses_is_refused_in_training_too(tmp_path):
    """OpenCV gives pixels of some WebP files with a byte too many, at which Pillow fails."""
    _, encoded = cv2.imencode(".webp", np.full((9, 2, 3), 90, np.uint8), [cv2.IMWRITE_WEBP_QUALITY, 1])
    data, file, refused = encoded.tobytes(), tmp_path / "a.webp", 0
    for place in range(20, len(data)):
        for byte in (0, 170, 255):
            file.write_bytes(data[:place] + bytes([byte]) + data[place:])
            try:
                read_image_file(file)
            except DataError:
                refused += 1
                with pytest.raises(DataError):
                    read_image(file)
    assert refused > 3


def test_a_file_of_another_kind_larger_than_memory_is_refused_in_training_too(crops, monkeypatch, tmp_path):
    def fail(*_: object) -> None:
        raise MemoryError

    Image.fromarray(crops["cat"]).save(tmp_path / "a.png", "GIF")
    monkeypatch.setattr("dcpt_data.images.pixels.eight_bits", fail)
    with pytest.raises(DataError, match="larger than the memory that is free"):
        read_image(tmp_path / "a.png")
