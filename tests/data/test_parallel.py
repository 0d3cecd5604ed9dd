"""Work in several processes: in order, not far ahead of whoever takes the results, and ended with its parent."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path

import pytest

from dcpt_data.workers.parallel import AHEAD, each

COUNT = 200


def square(offset, item):
    return offset + item * item


def counted(begun, item):
    with begun.get_lock():
        begun.value += 1
    return os.getpid(), item


def fail_at_seven(item):
    if item == 7:
        raise ValueError("seven")
    return item


@pytest.mark.parametrize("chunk", [1, 3, COUNT])
def test_results_come_in_the_order_of_the_items(chunk):
    with each(square, (5,), range(COUNT), chunk, workers=2) as results:
        assert list(results) == [5 + i * i for i in range(COUNT)]


def test_processes_stay_a_few_chunks_ahead_of_whoever_takes_the_results():
    begun = multiprocessing.Value("i", 0)
    with each(counted, (begun,), range(COUNT), 2, workers=2) as results:
        first = next(results)
        time.sleep(0.3)  # enough to do all, were it not held back
        assert begun.value <= 2 * (2 * AHEAD + 1)
        rest = list(results)
    assert begun.value == COUNT
    assert [item for _, item in [first, *rest]] == list(range(COUNT))
    assert os.getpid() not in {pid for pid, _ in rest}


def test_an_error_ends_the_rest():
    with pytest.raises(ValueError, match="seven"), each(fail_at_seven, (), range(COUNT), 1, workers=2) as results:
        list(results)


def test_processes_end_with_one_that_is_killed():
    def work():
        with each(time.sleep, (), [0.05] * 1000, 1, workers=2) as results:
            list(results)

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    end = time.monotonic() + 20
    while len(children.read_text().split()) < 2:
        assert time.monotonic() < end
        time.sleep(0.01)
    found = [Path(f"/proc/{pid}") for pid in children.read_text().split()]
    process.kill()
    process.join()
    while any(path.exists() for path in found):
        assert time.monotonic() < end
        time.sleep(0.05)
