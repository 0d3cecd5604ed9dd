"""Runs a function in a process of its own: what it takes and how it ends is then its own; `dcpt plan` tries runs so."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any

from dcpt_models.runtime.memory import is_out_of_memory


class ApartError(Exception):
    """A function that ended by an error in its own process; the message is the error's first line.

    Attributes:
        out_of_memory: Whether it was for want of memory, as far as that is known.
    """

    def __init__(self, message: str, out_of_memory: bool) -> None:
        super().__init__(message)
        self.out_of_memory = out_of_memory


def run_apart(function: Callable[[Any], Any], argument: Any) -> Any:
    """Call `function(argument)` in a new process, and give back what it returns.

    The process is a copy of one that has imported the function's module and done nothing else, so that it starts at
    once, with an untouched GPU. What it prints is dropped.

    Args:
        function: Of a module, by its name.
        argument: Anything that can be pickled, as what is returned.

    Raises:
        ApartError: If the function raised an error, or its process was killed.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([function.__module__])
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_call, args=(sender, function, argument))
    process.start()
    sender.close()
    try:
        kind, value = receiver.recv()
    except EOFError:
        process.join()
        killed = process.exitcode == -signal.SIGKILL
        raise ApartError(f"its process was ended ({process.exitcode})", out_of_memory=killed) from None
    except BaseException:  # Ctrl-C, which the other process gets too
        process.terminate()
        process.join()
        raise
    finally:
        receiver.close()
    process.join()
    if kind == "returned":
        return value
    raise ApartError(value, out_of_memory=kind == "memory")


def _call(sender: Connection, function: Callable[[Any], Any], argument: Any) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    silent = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silent, stream)
    try:
        sender.send(("returned", function(argument)))
    except Exception as error:
        lines = (str(error).strip() or type(error).__name__).splitlines()
        sender.send(("memory" if is_out_of_memory(error) else "failed", lines[0]))


def _end_with_parent() -> None:
    """Do not compute on for nobody, however the other process has ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # this is a process of multiprocessing's
    wait([parent.sentinel])
    os._exit(1)
