"""The interface of image stores, and the store of a folder; `lmdb_store` has the one of an LMDB."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from dcpt_data.errors import DataError
from dcpt_data.images.pixels import EncodedImage, Window, list_names, open_image
from dcpt_data.stores.name_table import NameTable


class Picture(Protocol):
    """One image of a store. Nothing is decoded, and from raw pixels nothing read, before it is asked for."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""

    def pixels(self, window: Window | None = None) -> np.ndarray:
        """H x W x 3, RGB, uint8 or uint16, of the image or a window of it."""


class Store(Protocol):
    """Images by number, each with a name. A store can be pickled, and used in processes forked from its own."""

    root: str
    """The folder or LMDB, for messages."""
    names: NameTable
    """Paths below the root, with suffix."""

    def __len__(self) -> int: ...

    def place(self, index: int) -> str:
        """What names the image in messages: its file, or its LMDB and key."""

    def picture(self, index: int) -> Picture: ...

    def encoded(self, index: int) -> EncodedImage:
        """The image as its file has it, or had it."""

    def stamp(self, index: int) -> tuple[int, int]:
        """Bytes of the image where it lies, and a number that changes with it.

        Raises:
            DataError: If it cannot be found.
        """


class FolderStore:
    """The image files below a folder.

    Args:
        root: The folder.
        names: Paths below it; by default of all its images.

    Raises:
        DataError: If the folder is missing or holds no image.
    """

    def __init__(self, root: str | Path, names: list[str] | None = None) -> None:
        self.root = str(root)
        self.names = NameTable.of(list_names(root) if names is None else names)

    def __len__(self) -> int:
        return len(self.names)

    def place(self, index: int) -> str:
        return str(Path(self.root, self.names[index]))

    def picture(self, index: int) -> EncodedImage:
        return open_image(self.place(index))

    encoded = picture

    def stamp(self, index: int) -> tuple[int, int]:
        try:
            status = Path(self.place(index)).stat()
        except OSError as error:
            raise DataError(f"{self.place(index)}: cannot be read ({error.strerror})") from error
        return status.st_size, status.st_mtime_ns
