"""Many names in little memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np


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
