"""Image files as Pillow, tifffile and OpenCV write them in every mode, depth, compression and orientation; and damaged.

Each is read as restoring does (photograph_files) and as training does (pixels). Both must see what was written, or what
an independent reader sees, and refuse the same files.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from harness import Family, Fault, refusal_is_clear
from hypothesis import reject
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps, TiffImagePlugin

from dcpt_data import DataError
from dcpt_data.images.photograph_files import ImageFile, check_format, read_image_file, write_image_file
from dcpt_data.images.pixels import IMAGE_SUFFIXES, Window, open_image

SUFFIXES = sorted(IMAGE_SUFFIXES)
LOSSLESS = (".png", ".tif", ".tiff", ".bmp")
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@dataclass(frozen=True)
class ImageCase:
    """An image file.

    Attributes:
        data: Its bytes.
        suffix: What its name ends with, whatever it is.
        how: How it was made.
        pixels: What is in it, upright, H x W x 1 or 3; None if only an independent reader or nobody knows.
        alpha: H x W, or None.
        tolerance: By how much values may differ, of 255.
        ordinary: Whether it must be read.
        damaged: How its bytes were changed.
        to: The suffix of the format in which it is written again.
    """

    data: bytes = field(repr=False)
    suffix: str
    how: str
    pixels: np.ndarray | None = field(repr=False, default=None)
    alpha: np.ndarray | None = field(repr=False, default=None)
    tolerance: int = 0
    ordinary: bool = False
    damaged: str = ""
    to: str = ".png"


def noise(draw: Any, channels: int, kind: Any = np.uint8) -> np.ndarray:
    """H x W x C, whose sizes are often at the limits of blocks."""
    height, width = (draw(st.sampled_from([1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 40])) for _ in range(2))
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    if np.dtype(kind).kind == "f":
        return rng.random((height, width, channels)).astype(kind)
    limits = np.iinfo(kind)
    found = rng.integers(limits.min, int(limits.max) + 1, (height, width, channels)).astype(kind)
    if draw(st.booleans()):  # in which formats find runs
        found[:, width // 2 :] = found[0, 0]
    return found


# What beside pixels


@st.composite
def exifs(draw: Any) -> tuple[bytes | None, int]:
    """An EXIF block and the orientation that it names."""
    if draw(st.booleans()):
        return None, 1
    exif = Image.Exif()
    turn = draw(st.integers(1, 8))
    exif[274] = turn
    for tag, value in draw(
        st.lists(
            st.tuples(
                st.sampled_from([271, 272, 282, 283, 296, 305, 306, 315, 33432, 37510, 40094, 700, 34675, 513]),
                st.one_of(st.text(max_size=8), st.integers(0, 70000), st.binary(max_size=9), st.floats(0.1, 500)),
            ),
            max_size=4,
        )
    ):
        exif[tag] = value
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return exif.tobytes(), turn
    except Exception:  # what Pillow cannot write
        plain = Image.Exif()
        plain[274] = turn
        return plain.tobytes(), turn


def turned(pixels: np.ndarray | None, turn: int) -> np.ndarray | None:
    """Upright, as Pillow turns it."""
    if pixels is None or turn == 1:
        return pixels
    planes = []
    for plane in pixels.reshape(*pixels.shape[:2], -1).transpose(2, 0, 1):
        picture = Image.fromarray(np.ascontiguousarray(plane).astype(np.int32), "I")
        picture.getexif()[274] = turn
        planes.append(np.asarray(ImageOps.exif_transpose(picture)).astype(pixels.dtype))
    stacked = np.stack(planes, axis=2)
    return stacked if pixels.ndim == 3 else stacked[..., 0]


profiles = st.sampled_from([None, None, SRGB, SRGB[:100], b"no profile"])
dpis = st.sampled_from([None, (72, 72), (300, 150.5), (0, 0)])

# Writers

PILLOW: dict[str, list[str]] = {
    "PNG": ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I"],
    "JPEG": ["L", "RGB", "CMYK", "YCbCr"],
    "BMP": ["1", "L", "P", "RGB", "RGBA"],
    "TIFF": ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "I;16", "I", "F"],
    "WEBP": ["L", "RGB", "RGBA", "P"],
    "GIF": ["P", "L", "RGB"],
    "PPM": ["1", "L", "RGB", "I;16"],
    "JPEG2000": ["L", "RGB", "RGBA"],
    "TGA": ["L", "RGB", "RGBA", "P"],
    "ICO": ["RGBA"],
    "AVIF": ["RGB", "RGBA"],
}
OURS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
CHANNELS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "RGBX": 4, "CMYK": 4, "YCbCr": 3, "LAB": 3}


def _picture(draw: Any, mode: str) -> Image.Image:
    if mode == "1":
        return Image.fromarray(noise(draw, 1)[..., 0] > 127)
    if mode in ("P", "PA"):
        colours = draw(st.sampled_from([2, 16, 256]))
        picture = Image.fromarray((noise(draw, 1)[..., 0].astype(int) % colours).astype(np.uint8), "P")
        palette = np.random.default_rng(1).integers(0, 256, 3 * colours, np.uint8)
        picture.putpalette(palette.tobytes())
        return picture if mode == "P" else picture.convert("PA")
    if mode == "I;16":
        return Image.fromarray(noise(draw, 1, np.uint16)[..., 0])
    if mode in ("I", "F"):
        return Image.fromarray(noise(draw, 1, np.int32 if mode == "I" else np.float32)[..., 0])
    pixels = noise(draw, CHANNELS[mode])
    return Image.frombytes(mode, (pixels.shape[1], pixels.shape[0]), pixels.tobytes())


def _seen(picture: Image.Image) -> tuple[np.ndarray | None, np.ndarray | None]:
    """What such a picture looks like: colours and alpha."""
    if picture.mode == "I;16":
        return np.asarray(picture)[..., None], None
    if picture.mode in ("1", "L"):
        return np.asarray(picture.convert("L"))[..., None], None
    if picture.mode == "LA":
        both = np.asarray(picture)
        return both[..., :1], both[..., 1]
    if picture.mode == "RGBA":
        both = np.asarray(picture)
        return both[..., :3], both[..., 3]
    if picture.mode in ("RGB", "P", "CMYK", "YCbCr"):
        return np.asarray(picture.convert("RGB")), None
    return None, None


@st.composite
def by_pillow(draw: Any) -> ImageCase:
    form = draw(st.sampled_from([*OURS, *OURS, *OURS, *PILLOW]))
    mode = draw(st.sampled_from(PILLOW[form]))
    picture = _picture(draw, mode)
    options: dict[str, Any] = {}
    exif, turn = draw(exifs()) if form in ("PNG", "JPEG", "TIFF", "WEBP") else (None, 1)
    if exif is not None:
        options["exif"] = exif
    if (profile := draw(profiles)) is not None and form in ("PNG", "JPEG", "TIFF", "WEBP"):
        options["icc_profile"] = profile
    if (dpi := draw(dpis)) is not None and form in ("PNG", "JPEG", "TIFF", "BMP"):
        options["dpi"] = dpi
    exact, frames = form not in ("JPEG", "AVIF"), 1
    if form == "PNG":
        options |= {"compress_level": draw(st.integers(0, 9)), "optimize": draw(st.booleans())}
        if draw(st.booleans()) and mode in ("P", "L", "RGB"):
            options["transparency"] = (1, 2, 3) if mode == "RGB" else 0
    elif form == "JPEG":
        options |= {
            "quality": draw(st.sampled_from([1, 50, 95, 100])),
            "progressive": draw(st.booleans()),
            "subsampling": draw(st.integers(0, 2)),
            "comment": draw(st.binary(max_size=4)),
        }
    elif form == "TIFF":
        kinds = ["raw", "packbits", "tiff_deflate", "tiff_adobe_deflate", "tiff_lzw", "zstd", "lzma"]
        kinds += ["group3", "group4"] if mode == "1" else ["jpeg"] if mode in ("L", "RGB", "YCbCr", "CMYK") else []
        options["compression"] = draw(st.sampled_from(kinds))
        exact = options["compression"] != "jpeg"
        options["big_tiff"] = draw(st.booleans())
        if draw(st.booleans()):
            options["tiffinfo"] = _tags(draw)
    elif form == "WEBP":
        exact = draw(st.booleans())
        options |= {"lossless": exact, "quality": draw(st.sampled_from([1, 80, 100])), "exact": True}
        if mode in ("L", "P"):
            exact = exact and mode == "L"
    if form in ("GIF", "WEBP", "PNG", "TIFF") and draw(st.integers(0, 9)) == 0:
        frames = 2
        options |= {"save_all": True, "append_images": [ImageOps.mirror(picture) if mode != "F" else picture]}
    file = io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture.save(file, form, **options)
    except Exception:  # what it cannot write
        reject()
    if turn != 1:  # which Pillow may have left out
        with Image.open(io.BytesIO(file.getvalue())) as again:
            turn = again.getexif().get(274, 1)
    pixels, alpha = _seen(picture)
    if "transparency" in options or frames > 1 or (mode == "P" and form == "WEBP"):
        pixels = alpha = None
    if mode == "RGBA" and form == "BMP":
        pixels = alpha = None
    if mode == "CMYK" and profile == SRGB:
        pixels = None
    if not exact and mode in ("CMYK",):
        pixels = None
    if form == "TIFF" and mode == "YCbCr":
        pixels = None
    known = exact and form in OURS
    how = f"pillow {form} {mode} {picture.size} turn {turn} " + ", ".join(
        f"{key}={value!r}"[:60] for key, value in options.items() if key != "append_images"
    )
    return ImageCase(
        file.getvalue(),
        _suffix(draw, form),
        how,
        turned(pixels, turn) if known else None,
        turned(alpha, turn) if known else None,
        ordinary=known and pixels is not None and frames == 1,
    )


def _tags(draw: Any) -> Any:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[270] = draw(st.text("ab{}=\n", max_size=20))
    tags[305] = "a program"
    return tags


def _suffix(draw: Any, form: str) -> str:
    usual = {"PNG": ".png", "JPEG": ".jpg", "BMP": ".bmp", "TIFF": ".tif", "WEBP": ".webp"}.get(form)
    return draw(st.sampled_from([usual, usual, usual, *SUFFIXES])) if usual else draw(st.sampled_from(SUFFIXES))


@st.composite
def by_tifffile(draw: Any) -> ImageCase:
    photometric = draw(st.sampled_from(["minisblack", "miniswhite", "rgb", "rgb", "palette", "separated", "cielab"]))
    kind = draw(st.sampled_from(["u1", "u1", "u2", "u2", "?", "i1", "i2", "u4", "f4", "f2", "c8"]))
    colours = {"rgb": 3, "separated": 4, "cielab": 3}.get(photometric, 1)
    extra = draw(st.sampled_from([0, 0, 0, 1, 1, 2]))
    base = noise(draw, colours + extra, np.dtype(kind if kind not in ("?", "c8") else "u1"))
    pixels = base > 127 if kind == "?" else base.astype(kind)
    planar = draw(st.sampled_from(["contig", "separate"])) if colours + extra > 1 else None
    kinds = [draw(st.sampled_from(["unassalpha", "assocalpha", "unspecified"])) for _ in range(extra)]
    stored = pixels.transpose(2, 0, 1) if planar == "separate" else pixels
    stored = stored[..., 0] if colours + extra == 1 else stored
    tile = draw(st.sampled_from([None, None, (16, 16), (32, 16)]))
    turn = draw(st.integers(0, 9))
    form = draw(st.sampled_from(["H", "H", "H", "I", "B", "s"]))
    options: dict[str, Any] = {
        "photometric": photometric,
        "bigtiff": draw(st.booleans()),
        "byteorder": draw(st.sampled_from("<>")),
        "tile": tile,
        "compression": draw(st.sampled_from([None, None, "zlib", "packbits", "lzma", "lzw", "zstd", "jpeg"])),
        "metadata": draw(st.sampled_from([None, {}, {"axes": "YX"}, {"note": "a"}])),
        "description": draw(st.sampled_from([None, None, "words", '{"shape": [2, 3]}', "ImageJ=1.5\nimages=3\n"])),
        "resolution": draw(st.sampled_from([None, (72, 72), (0, 0)])),
        "iccprofile": draw(profiles),
        "extratags": [(274, form, 1, str(turn) if form == "s" else turn, True)] if turn else [],
    }
    if options["description"]:
        options["metadata"] = None
    if planar:
        options["planarconfig"] = planar
    if extra:
        options["extrasamples"] = kinds
    if photometric == "palette":
        table = np.random.default_rng(2).integers(0, 65536, (3, 256 if kind == "u1" else 65536), np.uint16)
        options["colormap"] = table
    if not tile:
        options["rowsperstrip"] = draw(st.sampled_from([None, 1, 3, 100]))
    if options["compression"] == "zlib" and kind in ("u1", "u2"):
        options["predictor"] = draw(st.booleans())
    pages = draw(st.sampled_from([1] * 9 + [2]))
    file = io.BytesIO()
    try:
        with tifffile.TiffWriter(file, bigtiff=options.pop("bigtiff"), byteorder=options.pop("byteorder")) as writer:
            if draw(st.integers(0, 9)) == 0:
                writer.write(stored, subifds=1, **options)
                writer.write(stored, subfiletype=1, **options)
            else:
                for _ in range(pages):
                    writer.write(stored, **options)
    except Exception:  # what it cannot write
        reject()
    sound = kind in ("u1", "u2", "?") and photometric in ("minisblack", "miniswhite", "rgb", "palette")
    seen = alpha = None
    told = '{"shape"' in str(options["description"]) or "ImageJ" in str(options["description"])
    if sound and pages == 1 and not told:
        seen, alpha = _as_seen(pixels, photometric, kinds, options)
    upright = turn if form in ("H", "I") and 1 <= turn <= 8 else 1
    simple = extra == 0 or (extra == 1 and kinds != ["unspecified"])
    return ImageCase(
        file.getvalue(),
        _suffix(draw, "TIFF"),
        f"tifffile {pixels.shape} {kind} {kinds} pages {pages} orientation {form} {turn} "
        + ", ".join(f"{key}={value!r}"[:60] for key, value in options.items()),
        turned(seen, upright),
        turned(alpha, upright),
        # The quotient of rounded numbers.
        tolerance=1 if "assocalpha" in kinds else 0,
        ordinary=seen is not None
        and simple
        and (kind != "?" or base.shape[2] == 1)
        and (kind == "u1" or photometric != "palette"),
    )


def _as_seen(
    pixels: np.ndarray, photometric: str, kinds: list[str], options: dict[str, Any]
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """What the standard says of such samples."""
    pixels = pixels.astype(np.uint8) * 255 if pixels.dtype == bool else pixels
    count = 3 if photometric == "rgb" else 1
    colours, rest = pixels[..., :count], pixels[..., count:]
    most = int(np.iinfo(pixels.dtype).max)
    if photometric == "palette":
        return (options["colormap"].T >> 8).astype(np.uint8)[colours[..., 0]], None
    if photometric == "miniswhite":
        colours = most - colours
    known = [index for index, kind in enumerate(kinds) if kind != "unspecified"]
    if not known:
        return colours, None
    alpha = rest[..., known[0]]
    if kinds[known[0]] == "assocalpha":
        if photometric != "rgb":
            return None, None
        share = np.maximum(alpha[..., None].astype(float), 1)
        whole = np.minimum(np.round(colours.astype(float) * most / share), most).astype(pixels.dtype)
        colours = np.where(alpha[..., None] > 0, whole, colours)
    return colours, alpha


@st.composite
def by_opencv(draw: Any) -> ImageCase:
    suffix = draw(st.sampled_from([".png", ".jpg", ".webp", ".tif", ".bmp"]))
    deep = suffix in (".png", ".tif") and draw(st.booleans())
    channels = draw(st.sampled_from([1, 3, 4] if suffix in (".png", ".tif", ".webp") else [1, 3]))
    pixels = noise(draw, channels, np.uint16 if deep else np.uint8)
    flags: dict[str, list[tuple[int, list[int]]]] = {
        ".png": [(cv2.IMWRITE_PNG_COMPRESSION, [0, 1, 9]), (cv2.IMWRITE_PNG_STRATEGY, [0, 1, 2, 3])],
        ".jpg": [
            (cv2.IMWRITE_JPEG_QUALITY, [5, 95, 100]),
            (cv2.IMWRITE_JPEG_PROGRESSIVE, [0, 1]),
            (cv2.IMWRITE_JPEG_RST_INTERVAL, [0, 3]),
        ],
        ".webp": [(cv2.IMWRITE_WEBP_QUALITY, [1, 90, 101])],
        ".tif": [(cv2.IMWRITE_TIFF_COMPRESSION, [1, 5, 8, 32773, 32946]), (cv2.IMWRITE_TIFF_PREDICTOR, [1, 2])],
        ".bmp": [],
    }
    chosen = [number for flag, values in flags[suffix] for number in (flag, draw(st.sampled_from(values)))]
    stored = pixels if channels == 1 else pixels[..., [2, 1, 0, 3][:channels]]
    done, data = cv2.imencode(suffix, stored, chosen)
    if not done:
        reject()
    exact = suffix not in (".jpg",) and not (suffix == ".webp" and chosen[1] < 101)
    seen, alpha = (pixels[..., :3], pixels[..., 3]) if channels == 4 else (pixels, None)
    if suffix == ".webp":
        alpha = None if alpha is not None and (alpha == 255).all() else alpha
        seen = None if channels == 1 or alpha is not None else seen  # colours behind nothing may change
    if suffix == ".jpg":
        seen = None
    return ImageCase(
        data.tobytes(),
        draw(st.sampled_from([suffix, suffix, *SUFFIXES])),
        f"opencv {suffix} {pixels.shape} {pixels.dtype} {chosen}",
        seen if exact else None,
        alpha if exact else None,
        ordinary=True,
    )


@st.composite
def damaged(draw: Any, case: ImageCase) -> ImageCase:
    data, how = bytearray(case.data), draw(st.sampled_from(["cut", "flip", "flip", "zero", "insert", "swap", "tail"]))
    place = draw(st.one_of(st.integers(0, max(0, len(data) - 1)), st.integers(0, min(len(data), 200) - 1)))
    if how == "cut":
        del data[place:]
    elif how == "flip":
        for _ in range(draw(st.integers(1, 4))):
            data[draw(st.integers(0, len(data) - 1))] ^= draw(st.integers(1, 255))
        data[place] ^= 1 << draw(st.integers(0, 7))
    elif how == "zero":
        data[place : place + draw(st.integers(1, 64))] = bytes(len(data[place : place + 8]))
    elif how == "insert":
        data[place:place] = draw(st.binary(min_size=1, max_size=12))
    elif how == "tail":
        data += draw(st.binary(min_size=1, max_size=3000))
    else:
        other = draw(st.integers(0, len(data) - 1))
        data[place : place + 4], data[other : other + 4] = data[other : other + 4], data[place : place + 4]
    return ImageCase(bytes(data), case.suffix, case.how, damaged=f"{how} at {place} of {len(case.data)}", to=case.to)


@st.composite
def cases(draw: Any) -> ImageCase:
    case = draw(st.one_of(by_pillow(), by_tifffile(), by_opencv()))
    to = draw(st.sampled_from(SUFFIXES))
    case = ImageCase(**{**vars(case), "to": to})
    return draw(damaged(case)) if draw(st.integers(0, 2)) == 0 else case


# The check


def differ(a: np.ndarray, b: np.ndarray, tolerance: int = 0) -> str:
    """How two images differ; "" if they do not."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return f"{a.shape} {a.dtype} and {b.shape} {b.dtype}"
    gap = np.abs(a.astype(np.int64) - b.astype(np.int64)).max(initial=0)
    return f"by {gap}" if gap > tolerance * (257 if a.dtype == np.uint16 else 1) else ""


def check(case: ImageCase, folder: Path) -> str:
    path = folder / f"photo{case.suffix}"
    path.write_bytes(case.data)
    whole, refused = _read(lambda: read_image_file(path), path)
    trained, refused_in_training = _read(lambda: _trained(path), path)
    if whole is None or trained is None:
        if case.ordinary and not case.damaged:
            raise Fault(f"refuses a sound file: {refused or refused_in_training}")
        if (whole is None) != (trained is None) and not case.damaged and "neither colour nor" not in refused:
            raise Fault(f"one reads it, the other says: {refused or refused_in_training}")
        # Of a JPEG with all of its marks, damage in between is told by Pillow alone.
        noticed = "neither colour nor" not in refused and case.data[:3] != b"\xff\xd8\xff"
        if whole is None and trained is not None and case.damaged and noticed:
            raise Fault(f"training reads what restoring refuses: {refused}")
    if case.pixels is not None and whole is not None:
        _compare(whole, case)
    if whole is not None and trained is not None:
        shown = np.broadcast_to(whole.pixels, (*whole.pixels.shape[:2], 3))
        if wrong := differ(trained, shown, 3 if _is_lossy(case) else 0):
            raise Fault(f"training sees other pixels than restoring: {wrong}")
    if whole is not None:
        _written_again(whole, folder / f"again{case.to}")
    return "right" if whole is not None else "refused"


def _is_lossy(case: ImageCase) -> bool:
    """Two decoders of JPEG and WebP round differently."""
    return case.data[:3] == b"\xff\xd8\xff" or case.data[:4] == b"RIFF"


def _read(read: Any, path: Path) -> tuple[Any, str]:
    try:
        return read(), ""
    except DataError as error:
        refusal_is_clear(str(error), str(path))
        if "\n" in str(error):
            raise Fault(f"message of several lines: {str(error)!r}") from error
        return None, str(error).replace(str(path), "FILE")


def _trained(path: Path) -> np.ndarray:
    """What training reads; the size and the depth that are told without decoding, and a window, must agree with it."""
    height, width, kind = open_image(path).inspect()
    image = open_image(path)
    pixels = open_image(path).pixels()
    if (height, width, 3) != pixels.shape or kind != pixels.dtype or image.shape != pixels.shape[:2]:
        raise Fault(f"says it is {height} x {width} {kind}, and is {pixels.shape} {pixels.dtype}")
    window = Window(height // 3, width // 3, max(1, height // 2), max(1, width // 2))
    part = pixels[window.top : window.top + window.height, window.left : window.left + window.width]
    if wrong := differ(open_image(path).pixels(window), part):
        raise Fault(f"a window is not what is there in the whole: {wrong}")
    return pixels


def _compare(found: ImageFile, case: ImageCase) -> None:
    assert case.pixels is not None
    pixels = found.pixels
    if pixels.shape[2] != case.pixels.shape[2]:  # gray as three channels is right, too
        pixels, wanted = (np.broadcast_to(one, (*one.shape[:2], 3)) for one in (pixels, case.pixels))
    else:
        wanted = case.pixels
    if wrong := differ(np.asarray(pixels), np.asarray(wanted), case.tolerance):
        raise Fault(f"wrong pixels: {wrong}")
    if (found.alpha is None) != (case.alpha is None):
        if found.alpha is not None and (found.alpha == np.iinfo(found.alpha.dtype).max).all():
            return
        raise Fault(f"wrong alpha: {'none' if found.alpha is None else 'there is one'}")
    if case.alpha is not None and found.alpha is not None and (wrong := differ(found.alpha, case.alpha)):
        raise Fault(f"wrong alpha: {wrong}")


def _written_again(image: ImageFile, path: Path) -> None:
    try:
        check_format(image, path)
    except DataError as error:
        refusal_is_clear(str(error), str(path))
        return
    try:
        write_image_file(path, image)
    except DataError as error:
        raise Fault(f"cannot write what it has read: {str(error).replace(str(path), 'FILE')}") from error
    again = read_image_file(path)
    if path.suffix not in LOSSLESS:
        if again.pixels.shape[:2] != image.pixels.shape[:2]:
            raise Fault("written again it has another size")
        return
    one, two = (np.broadcast_to(each.pixels, (*each.pixels.shape[:2], 3)) for each in (image, again))
    if wrong := differ(one, two):
        raise Fault(f"written again it is another: {wrong}")
    if path.suffix != ".bmp" and (image.alpha is None) != (again.alpha is None):
        raise Fault("written again it has another alpha")
    if image.alpha is not None and again.alpha is not None and (wrong := differ(image.alpha, again.alpha)):
        raise Fault(f"written again its alpha is another: {wrong}")


IMAGES = Family("images", cases, check)
