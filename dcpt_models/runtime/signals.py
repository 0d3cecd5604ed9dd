"""Stops a run on SIGINT, SIGTERM, SIGUSR1, or when a data worker was killed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist

from dcpt_models.errors import RunError, Stopped


class StopRequest:
    """Whether the run was asked to stop."""

    def __init__(self) -> None:
        self.made = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.made:  # asked twice: at once
            raise KeyboardInterrupt
        self.made = True

    def agreed(self, world_size: int) -> bool:
        """Whether any process was asked; all must call."""
        if world_size == 1:
            return self.made
        flag = torch.tensor(float(self.made))  # on the CPU, so that no GPU is waited for
        dist.all_reduce(flag, dist.ReduceOp.MAX)
        return bool(flag)


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turn SIGINT, SIGTERM and SIGUSR1 into a request that the loop honours after the iteration.

    SIGUSR1 is what other trainers let Slurm send before the time limit; by default it would end the process.
    """
    request = StopRequest()
    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Interruptible:
    """A loader of validation images that stops with `Stopped` once the run is asked to stop."""

    def __init__(self, loader: Any, request: StopRequest) -> None:
        self.loader, self.request, self.dataset = loader, request, loader.dataset

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        for batch in self.loader:
            if self.request.made:
                raise Stopped
            yield batch


class Batches:
    """The batches of a loader, with the death of a worker reported while one is waited for, and at no other time.

    PyTorch reports it in the midst of whatever the process is doing, an update for example, whose state would be lost.

    Args:
        loader: The loader; its workers are started here. Use the batches in a `with` statement.
    """

    def __init__(self, loader: Any) -> None:
        self._batches = iter(loader)
        self._waiting = self._died = False
        # PyTorch's handler, once there are workers; it raises an error if one was killed.
        self._report: Any = signal.getsignal(signal.SIGCHLD)
        if callable(self._report):
            signal.signal(signal.SIGCHLD, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._died = True
        if self._waiting:
            self._report(number, frame)

    def __next__(self) -> Any:
        """The next batch.

        Raises:
            RunError: If a worker was killed.
        """
        self._waiting = True
        try:
            if self._died:  # or something else that this process had started has ended, which is no error
                self._died = False
                self._report(signal.SIGCHLD, None)
            return next(self._batches)
        except (RuntimeError, EOFError, ConnectionError) as error:
            if isinstance(error, RuntimeError) and not str(error).startswith("DataLoader worker"):
                raise
            reason = (str(error) or "it does not answer").strip().splitlines()[0]
            raise RunError(
                f"a worker that reads training data was killed ({reason}); "
                "if the system's memory was full, set a smaller datasets:train:num_worker_per_gpu. "
                "Resume with --auto_resume"
            ) from error
        finally:
            self._waiting = False

    def __enter__(self) -> Batches:
        return self

    def __exit__(self, *error: object) -> None:
        if callable(self._report):
            signal.signal(signal.SIGCHLD, self._report)
