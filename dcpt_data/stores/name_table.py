"""A compact table of file names, for stores of many images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PureWindowsPath

import numpy as np

from dcpt_data.errors import DataError


class NameTable(Sequence[str]):
    """A sequence of names that is one string of bytes and one array.

    A list of 72,135 paths is as many objects, whose reference counts every worker process would copy to memory of its
    own by merely looking at them; this table takes 3 MB once, for all workers of a process that forks.

    Args:
        text: The names one after the other, UTF-8.
        ends: Where each ends in `text`, in bytes.
    """

    def __init__(self, text: bytes, ends: np.ndarray) -> None:
        self.text, self.ends = text, ends

    @classmethod
    def of(cls, names: Iterable[str]) -> NameTable:
        """The table of some names."""
        encoded = [name.encode("utf-8", "surrogateescape") for name in names]
        return cls(b"".join(encoded), np.cumsum([len(name) for name in encoded], dtype=np.int64))

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> str:  # type: ignore[override]  # slices are not needed
        number = index + len(self.ends) if index < 0 else index
        if not 0 <= number < len(self.ends):
            raise IndexError(f"there are {len(self.ends)} names, and none at {index}")
        begin = self.ends[number - 1] if number else 0
        return self.text[begin : self.ends[number]].decode("utf-8", "surrogateescape")


def refuse_paths(names: NameTable, place: str) -> None:
    """Refuse names that lead out of the folder in which something is made under them.

    Names in an LMDB are whatever its maker wrote there, and results are written under them.

    Args:
        names: Paths below a folder.
        place: What they were read from, for the message.

    Raises:
        DataError: If one is absolute, climbs up by "..", names a drive or holds a character that no file name has.
    """
    if not _may_lead_away(names):
        return
    for name in names:
        path = PureWindowsPath(name)  # which knows slashes of both kinds, and drives
        if not name or path.drive or path.root or ".." in path.parts or "\0" in name:
            raise DataError(
                f"{place}: the name {name!r} leads out of a folder; images need plain names such as 'street/0001.png', "
                "so rename it, or make the LMDB again"
            )


def _may_lead_away(names: NameTable) -> bool:
    """Whether any name has what none of an ordinary data set has; 72,135 of them are looked at in a millisecond."""
    if any(mark in names.text for mark in (b"..", b"\0", b"\\", b":")):
        return True
    text, begins = np.frombuffer(names.text, np.uint8), np.concatenate([[0], names.ends[:-1]]).astype(np.int64)
    return bool((begins >= names.ends).any() or (text[begins] == ord("/")).any()) if len(names) else False
