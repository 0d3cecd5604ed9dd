"""Preparation of a process for forking workers: OpenCV's threads are switched off."""

from __future__ import annotations

import atexit
import multiprocessing
import signal

import cv2


def prepare_to_fork() -> None:
    """Make OpenCV work in one thread, in this process and so in the ones forked from it.

    OpenCV's threads do not survive a fork: a child that wants to use (or to end) them waits for ever. Workers share
    the cores among themselves anyway.
    """
    cv2.setNumThreads(1)
    atexit.unregister(_kill_workers)
    atexit.register(_kill_workers)


def _kill_workers() -> None:
    # Loaders' workers ignore SIGTERM, by which alone Python would end those that an error has left behind: it would
    # wait for them for ever.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler would report each as a failure
    for child in multiprocessing.active_children():
        if child.daemon:
            child.kill()
