"""Work on many files at once, in as many processes as there are cores."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

from dcpt_data.workers.forking import prepare_to_fork

AHEAD = 4  # chunks of each process that are under way or wait for their turn: results may be large

_shared: tuple[Any, ...] = ()  # of a worker process


@contextmanager
def each(
    function: Callable[..., Any],
    shared: tuple[Any, ...],
    items: Sequence[Any],
    chunk: int = 4,
    workers: int | None = None,
) -> Iterator[Iterator[Any]]:
    """Compute `function(*shared, item)` for each item, in parallel.

    An error or Ctrl-C ends it soon: items that have not begun are not begun any more. The processes stay a few chunks
    ahead of whoever takes the results, and end with this process even if it is killed. What would go to one process
    stays in this one.

    Args:
        function: A function of a module.
        shared: Its first arguments, handed to a process once.
        items: Its last arguments.
        chunk: How many items go to a process at a time; more where each takes less.
        workers: How many processes; by default as many as there are cores.

    Yields:
        The results, in the order of the items.
    """
    if len(items) <= chunk:
        yield map(partial(function, *shared), items)
        return
    prepare_to_fork()
    workers = workers or os.cpu_count() or 1
    with (
        ProcessPoolExecutor(workers, initializer=_begin, initargs=(shared, os.getpid())) as pool,
        closing(_in_order(pool, function, items, chunk, AHEAD * workers)) as results,  # type: ignore[type-var]
    ):
        yield results


def _in_order(
    pool: ProcessPoolExecutor, function: Callable[..., Any], items: Sequence[Any], chunk: int, ahead: int
) -> Iterator[Any]:
    waiting: deque[Future[list[Any]]] = deque()
    try:
        for begin in range(0, len(items), chunk):
            waiting.append(pool.submit(_call, function, items[begin : begin + chunk]))
            if len(waiting) > ahead:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def _begin(shared: tuple[Any, ...], parent: int) -> None:
    global _shared
    _shared = shared
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it reaches the parent too, which ends its processes
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process soon after its parent: one that is killed cannot end its processes."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _call(function: Callable[..., Any], items: Sequence[Any]) -> list[Any]:
    return [function(*_shared, item) for item in items]
