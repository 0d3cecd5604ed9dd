"""Reading and writing image files as RGB arrays, at the depth they are stored in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from dcpt_data.errors import DataError
from dcpt_data.images import png
from dcpt_data.images.decoding import decode_by_opencv, eight_bits, open_picture, turn_of, upright
from dcpt_data.images.folders import walk
from dcpt_data.images.headers import JPEG, KNOWN, Facts, look, refuse_several
from dcpt_data.images.tiff import is_tiff, read_tiff

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
_DEEP_SUFFIXES = frozenset({".png", ".tif", ".tiff"})  # OpenCV would clip 16-bit pixels to white in the others
PNG_LEVEL = 1  # of compression, 0 to 9
_JPEG_END = b"\xff\xd9"
_TAIL = 1024  # bytes at a file's end among which its format's last mark stands


class Window(NamedTuple):
    """A rectangle of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int


class EncodedImage:
    """The bytes of an image file, decoded no further than is asked for.

    Pixels are upright: turned as the file's EXIF orientation says. Grayscale is repeated to three channels, an alpha
    channel is left out, 16-bit files keep their depth. A file of several pages or frames is refused.

    Args:
        data: Content of a PNG, JPEG, BMP, TIFF or WebP file.
        place: The file's path, or what else names it in messages.
    """

    def __init__(self, data: bytes, place: str) -> None:
        self.data, self.place = data, place
        self._decoded: np.ndarray | None = None
        self._facts: Facts | None = None
        self._turn = 1  # of a TIFF or another kind that `headers.look` does not know, known once it is decoded

    @property
    def turn(self) -> int:
        """The EXIF orientation with which the file is stored, 1 to 8; 1 is upright.

        Raises:
            DataError: If this is no image.
        """
        if not self.data.startswith(KNOWN):
            self._whole()
            return self._turn
        return self._look().turn

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels.

        Raises:
            DataError: If this is no image.
        """
        header = png.read_header(self.data)
        if header is not None:
            return self._turned(header.height, header.width)
        image = self._whole()
        return image.shape[0], image.shape[1]

    def pixels(self, window: Window | None = None) -> np.ndarray:
        """Decode the image, or a window of it.

        Args:
            window: What to decode; by default everything.

        Returns:
            H x W x 3, RGB, uint8 or uint16.

        Raises:
            DataError: If the data are truncated, no image of 8 or 16 bits, or several.
        """
        if window is None:
            return _to_rgb(self._whole())
        top, left, height, width = window
        rows = self._decoded
        if rows is None and self._look().turn != 1:
            rows = self._whole()
        if rows is None:
            part = png.first_rows(self.data, top + height)
            rows = self._whole() if part is self.data else self._decode(part)
        return _to_rgb(rows[top : top + height, left : left + width])

    def inspect(self) -> tuple[int, int, np.dtype]:
        """Height, width and type of the pixels, found out with as little decoding as the format allows.

        Raises:
            DataError: If the data are truncated, no image of 8 or 16 bits, or several. Damage within a JPEG that is
                otherwise complete is not noticed.
        """
        refuse_several(self._look().frames, self.place)
        header = png.read_header(self.data)
        if header is not None and png.is_whole(self.data):
            return *self._turned(header.height, header.width), np.dtype(np.uint16 if header.bits == 16 else np.uint8)
        if self.data.startswith(JPEG) and _JPEG_END in self.data[-_TAIL:]:
            try:
                with open_picture(self.data) as picture:
                    return *self._turned(picture.height, picture.width), np.dtype(np.uint8)
            except OSError as error:
                raise self._damaged() from error
        image = self._whole()
        return image.shape[0], image.shape[1], image.dtype

    def _whole(self) -> np.ndarray:
        if self._decoded is None:
            self._decoded = self._decode(self.data)
        return self._decoded

    def _look(self) -> Facts:
        if self._facts is None:
            self._facts = look(self.data)
        return self._facts

    def _turned(self, height: int, width: int) -> tuple[int, int]:
        return (width, height) if self._look().turn >= 5 else (height, width)

    def _decode(self, data: bytes) -> np.ndarray:
        """Decode to what OpenCV makes of it, upright: H x W, or H x W x 1 to 4 with blue first."""
        if is_tiff(data):
            tiff = read_tiff(data, self.place)
            self._turn = tiff.turn
            return upright(tiff.colours[..., ::-1], tiff.turn)
        if not data.startswith(KNOWN):
            return self._decode_other(data)
        facts = self._look()
        refuse_several(facts.frames, self.place)
        image = decode_by_opencv(data)
        if image is None:
            raise self._damaged()
        self._refuse_truncated()
        if image.dtype not in (np.uint8, np.uint16):
            raise DataError(f"{self.place}: pixels are {image.dtype}; 8-bit and 16-bit images can be read")
        return upright(image, facts.turn)

    def _decode_other(self, data: bytes) -> np.ndarray:
        """Decode a file of another kind under one of our suffixes, such as a GIF, as restoring does: by Pillow."""
        try:
            with open_picture(data) as picture:
                refuse_several(getattr(picture, "n_frames", 1), self.place)
                self._turn = turn_of(picture)
                picture.load()
                channels = np.asarray(eight_bits(picture, picture.info.get("icc_profile"), self.place)[0])
        except DataError:
            raise
        except MemoryError as error:
            message = f"{self.place}: decoded, it is larger than the memory that is free; is it damaged?"
            raise DataError(message) from error
        except Exception as error:  # decoders of damaged files raise nearly anything
            raise self._damaged() from error
        channels = channels.reshape(*channels.shape[:2], -1)
        colours = channels[..., 2::-1] if channels.shape[2] >= 3 else channels[..., :1]
        return upright(colours, self._turn)

    def _damaged(self) -> DataError:
        return DataError(f"{self.place}: not an image, or damaged beyond decoding; replace or remove it")

    def _refuse_truncated(self) -> None:
        """OpenCV fills what is missing of a truncated file with gray and says nothing; Pillow refuses it.

        It also decodes WebP files whose structure or pixels are damaged.
        """
        end = {png.SIGNATURE[:3]: b"IEND", JPEG: _JPEG_END}.get(self.data[:3])
        if end is not None and end in self.data[-_TAIL:]:
            return
        try:
            with open_picture(self.data) as picture:
                picture.load()
        except MemoryError:
            raise
        except Exception as error:  # decoders of damaged files raise nearly anything
            raise DataError(f"{self.place}: damaged or truncated ({error}); copy or download it again") from error


def _to_rgb(image: np.ndarray) -> np.ndarray:
    image = np.ascontiguousarray(image)  # what was turned runs backwards, which OpenCV does not take
    if image.ndim == 2 or image.shape[2] == 1:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    if image.shape[2] == 2:  # gray with alpha
        return cv2.cvtColor(image[..., 0], cv2.COLOR_GRAY2RGB)
    return cv2.cvtColor(image, cv2.COLOR_BGRA2RGB if image.shape[2] == 4 else cv2.COLOR_BGR2RGB)


def open_image(path: str | Path) -> EncodedImage:
    """The content of an image file, not decoded yet.

    Raises:
        DataError: If the file cannot be read.
    """
    try:
        return EncodedImage(Path(path).read_bytes(), str(path))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def read_image(path: str | Path) -> np.ndarray:
    """Read a photograph: H x W x 3, RGB, uint8 or uint16; see `EncodedImage.pixels`.

    Raises:
        DataError: If the file is missing, truncated, or no image of 8 or 16 bits.
    """
    return open_image(path).pixels()


def to_float(image: np.ndarray) -> np.ndarray:
    """uint8 or uint16 pixels -> float32 in [0, 1]."""
    return image.astype(np.float32) / np.float32(np.iinfo(image.dtype).max)


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Float pixels in [0, 1] (clipped to it) -> uint8, rounded to the nearest."""
    return (image.clip(0, 1) * 255).round().astype(np.uint8)


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Write H x W x 3 RGB pixels, uint8 or uint16, in the format that the suffix names; a PNG quickly, not smallest.

    Raises:
        DataError: If the file cannot be written, or the format cannot hold the pixels.
    """
    path = Path(path)
    suffixes = _DEEP_SUFFIXES if image.dtype == np.uint16 else IMAGE_SUFFIXES
    if path.suffix.lower() not in suffixes:
        raise DataError(f"{path}: {image.dtype} pixels can be written as {', '.join(sorted(suffixes))}")
    try:
        path.write_bytes(encode_image(image, path.suffix))
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror})") from error


def encode_image(image: np.ndarray, suffix: str = ".png") -> bytes:
    """The bytes of a file with H x W x 3 RGB pixels in it; a PNG's are made quickly, not smallest."""
    parameters = [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL] if suffix.lower() == ".png" else []
    _, data = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), parameters)
    return data.tobytes()


def stem(name: str) -> str:
    """An image's name without its suffix; dots before that are no suffixes."""
    return name.rpartition(".")[0]


def list_names(folder: str | Path) -> list[str]:
    """Paths below a folder of all image files in it, in sorted order; hidden files and folders are passed over.

    Links to folders are followed, and each folder is read once, whatever links lead to it.

    Raises:
        DataError: If the folder is missing or holds no image.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    found: list[str] = []
    for below, files in walk(folder):
        found += [
            below + name
            for name in files
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - 10x
        ]
    if not found:
        raise DataError(f"{folder}: no images in this folder; it should hold {', '.join(sorted(IMAGE_SUFFIXES))} files")
    # Folder by folder, whatever the order of "/" among the characters.
    return sorted(found, key=lambda name: name.split("/"))


def list_images(folder: str | Path) -> list[Path]:
    """All image files below a folder; see `list_names`."""
    return [Path(folder, name) for name in list_names(folder)]
