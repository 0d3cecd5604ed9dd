"""Reading, processing and writing overlapped: while one image is processed, the next is read and the last written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Job = TypeVar("Job")
Read = TypeVar("Read")
Made = TypeVar("Made")


def overlapped(
    jobs: Sequence[Job],
    read: Callable[[Job], Read],
    work: Callable[[Job, Read], Made],
    write: Callable[[Job, Made], None],
    failures: tuple[type[Exception], ...],
) -> Iterator[tuple[Job, Exception | None]]:
    """Read, work on and write every job; one that fails does not stop the others.

    At most one thing read is waiting, and one made is being written. Work is done in the calling thread.

    Args:
        jobs: What is to be done.
        read: Called in a thread of its own.
        work: Called with the job and what was read.
        write: Called in a thread of its own with the job and what was made.
        failures: Errors that belong to a job alone; all others end everything.

    Yields:
        Each job once it is done, and the error with which it failed, if it did.
    """
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        written: tuple[Job, Future[None]] | None = None
        following: Future[Read] | None = None
        try:
            for index, job in enumerate(jobs):
                current = following or reader.submit(read, job)
                following = reader.submit(read, jobs[index + 1]) if index + 1 < len(jobs) else None
                try:
                    made = work(job, current.result())
                except failures as error:
                    yield job, error
                    continue
                finally:
                    del current
                if written:
                    yield written[0], _failure(written[1], failures)
                written = job, writer.submit(write, job, made)
                del made
            if written:
                yield written[0], _failure(written[1], failures)
        finally:
            if following:
                following.cancel()


def _failure(future: Future[None], failures: tuple[type[Exception], ...]) -> Exception | None:
    try:
        future.result()
    except failures as error:
        return error
    return None
