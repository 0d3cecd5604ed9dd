"""What happens once, in forked processes together and in each copy."""

from __future__ import annotations

import multiprocessing
import pickle

from dcpt_data.workers.once import Once


def test_it_says_yes_once():
    once = Once()
    assert [once() for _ in range(3)] == [True, False, False]


def test_forked_processes_share_it():
    once = Once()
    forked = multiprocessing.get_context("fork")
    answers = forked.SimpleQueue()
    processes = [forked.Process(target=lambda: answers.put(once())) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert sorted(answers.get() for _ in processes) == [False, False, False, True]
    assert not once()


def test_a_copy_has_its_own():
    once = Once()
    once()
    assert pickle.loads(pickle.dumps(once))()
