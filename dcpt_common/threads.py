"""How long the waiting threads of PyTorch keep a processor core busy; used before torch is imported."""

import os


def wait_briefly() -> None:
    """Let the threads of PyTorch's OpenMP (libgomp) sleep soon when they wait; call it before torch is imported.

    By default they wait by computing, for so long that beside other programs most of the time is spent waiting for
    threads that have no core (docs/TRAINING.md). What the user has set stays.
    """
    if not any(name in os.environ for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")):
        os.environ["GOMP_SPINCOUNT"] = "10000"
