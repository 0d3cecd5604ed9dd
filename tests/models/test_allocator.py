"""Memory that large tensors leave is kept, unless the user has chosen otherwise."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from dcpt_models.runtime import allocator as heap
from dcpt_models.runtime.allocator import CHOSEN, keep_freed_memory

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc alone")

# In a process of its own, whose heap has no gaps yet: pages that the system gives for arrays of 64 MB, first as the C
# library is by itself, then with memory kept.
COUNT = """
import resource, runpy, sys
import numpy as np

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(8):
        np.ones(2**23)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

keep = runpy.run_path(sys.argv[1])["keep_freed_memory"]
usual, kept = faults(), keep()
faults()  # the heap grows once
print(usual, kept, faults())
"""


def test_pages_of_large_tensors_are_used_again() -> None:
    environment = {key: value for key, value in os.environ.items() if key not in CHOSEN}
    command = [sys.executable, "-c", COUNT, str(heap.__file__)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    usual, kept, then = done.stdout.split()
    assert kept == "True"
    assert int(usual) >= 8 * 32  # of pages of 2 MB; far more of smaller ones
    assert int(then) < 0.5 * int(usual)


@pytest.mark.parametrize("name", CHOSEN)
def test_what_the_user_chose_stays(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    assert not keep_freed_memory()
