"""A flag that one of several forked processes gets, for messages that are shown once."""

from __future__ import annotations

import multiprocessing


class Once:
    """Says yes the first time it is called, in this process or any that was forked from it, and no from then on.

    A process that was spawned, which has its own copy, is told yes once of its own: a lock of forked processes cannot
    be sent to it.
    """

    def __init__(self) -> None:
        self._happened = multiprocessing.Value("b", False)

    def __call__(self) -> bool:
        with self._happened.get_lock():
            first, self._happened.value = not self._happened.value, True
        return first

    def __reduce__(self) -> tuple[type[Once], tuple[()]]:
        return Once, ()
