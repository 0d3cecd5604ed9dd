"""How much a page takes of a photograph, told by its header before anything is decoded."""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple

import tifffile

from dcpt_data import DataError
from dcpt_data.images.decoding import open_picture
from dcpt_data.images.tiff import is_tiff


class Limits(NamedTuple):
    """What is taken at most.

    Attributes:
        megabytes: Of a file, 1e6 bytes each.
        megapixels: Of a photograph, 1e6 pixels each.
        files: At a time.
    """

    megabytes: int = 200
    megapixels: int = 100
    files: int = 50

    def check(self, file: Path) -> None:
        """Refuse a photograph that is too large.

        Raises:
            DataError: Saying the limit, or that the file is no image.
        """
        if file.stat().st_size > self.megabytes * 1_000_000:
            raise DataError(
                f"{file.name}: more than {self.megabytes} MB; restore it by `dcpt restore`, or give the page a greater "
                "--max-megabytes"
            )
        width, height = size_of(file)
        if width * height > self.megapixels * 1_000_000:
            raise DataError(
                f"{file.name}: {width} x {height} pixels are more than {self.megapixels} megapixels; restore it by "
                "`dcpt restore`, or give the page a greater --max-megapixels"
            )


def size_of(file: Path) -> tuple[int, int]:
    """Width and height that the header of an image file says; nothing is decoded.

    Raises:
        DataError: If it is no image.
    """
    data = file.read_bytes()
    try:
        if is_tiff(data):
            with tifffile.TiffFile(io.BytesIO(data)) as tiff:
                page = tiff.pages.first
                return int(page.imagewidth), int(page.imagelength)
        with open_picture(data) as picture:
            return picture.size
    except Exception as error:  # decoders of damaged files raise nearly anything
        raise DataError(f"{file.name}: not an image, or damaged") from error
