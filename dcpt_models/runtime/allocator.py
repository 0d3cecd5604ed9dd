"""Settings of glibc's allocator: freed memory is kept for the next tensors."""

from __future__ import annotations

import ctypes
import os

# What glibc's mallopt calls the sizes from which freed memory goes back to the system: at the end of the heap, and of
# blocks that have their own map.
TRIM, MAP = -1, -3
LARGEST_BLOCK = 2**30
# With these, a user has chosen what glibc does.
CHOSEN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> bool:
    """Have the C library keep what large tensors leave, on a processor; returns whether it does so.

    glibc gives blocks of more than 32 MB back to the system when they are freed, which clears each page of the next
    one. The tensors within a network are larger than that for images from about half a megapixel on, and clearing takes
    as much time as computing (docs/PERFORMANCE.md). What is kept has gaps: a process takes up to 1.8 times as much at
    its peak. Other C libraries stay as they are, and so does glibc where the environment has a variable of `CHOSEN`.
    """
    if any(name in os.environ for name in CHOSEN):
        return False
    return _set(LARGEST_BLOCK, 2**31 - 1)


def give_back_freed_memory() -> bool:
    """Undo `keep_freed_memory`: what glibc does by itself once it has met large blocks."""
    return _set(2**25, 2**26)


def _set(map_from: int, trim_from: int) -> bool:
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (TypeError, AttributeError):  # not glibc
        return False
    return bool(set_option(MAP, map_from)) and bool(set_option(TRIM, trim_from))
