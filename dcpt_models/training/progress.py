"""The log lines and curves of a training run: losses, rates, speed, time left, memory."""

from __future__ import annotations

import datetime
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from dcpt_models.methods.base_model import DegradationModel
from dcpt_models.runtime.signals import Batches
from dcpt_models.training.run import Run
from dcpt_models.training.to_device import Transfer


class Progress:
    """Log lines and curves of a run.

    Args:
        run: The run.
        model: Its model.
        total: Iterations of the whole run.
        samples: Iterations -> samples that all processes have read until then.
    """

    def __init__(self, run: Run, model: DegradationModel, total: int, samples: Callable[[int], int]) -> None:
        self.run, self.model, self.total, self.samples = run, model, total, samples
        self.transfer = Transfer(model.device, model.memory_format)
        self.begun = self.since = time.perf_counter()
        self.waited = 0.0
        self.last = run.start

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the time of validating and saving out of the speed; it is part of the time left."""
        before = time.perf_counter()
        yield
        self.since += time.perf_counter() - before

    def wait_for(self, batches: Batches) -> Any:
        """The next batch, on its way to the device; the time until it is there counts as waiting for data."""
        before = time.perf_counter()
        batch = next(batches)
        self.waited += time.perf_counter() - before
        return self.transfer(batch)

    def report(self, iteration: int, quietly: bool = False) -> dict[str, float]:
        """Write to the curves, and unless `quietly` to the log, what happened since the last call; all must call.

        Returns:
            What is in the curves, by name.
        """
        means = self.model.get_current_log()
        now = time.perf_counter()
        speed = (iteration - self.last) / (now - self.since)
        samples = (self.samples(iteration) - self.samples(self.last)) / (now - self.since)
        left = (self.total - iteration) * (now - self.begun) / (iteration - self.run.start)
        wait = self.waited / (now - self.since)
        rates = self.model.get_current_learning_rate()
        scalars = {
            **{f"losses/{name}" if name.startswith("l_") else f"train/{name}": v for name, v in means.items()},
            **{f"lr/net_{label}": rate for label, rate in zip(self.model.trained, rates, strict=True)},
            "speed/iterations_per_s": speed,
            "speed/samples_per_s": samples,
            "speed/data_wait_share": wait,
            "memory/peak_gib": _peak_memory(self.model.device),
        }
        if self.run.events:
            for name, value in scalars.items():
                self.run.events.add_scalar(name, value, iteration)
        self.since, self.waited, self.last = now, 0.0, iteration
        if quietly:
            return scalars
        shown = " ".join(f"{name} {value:.4e}" for name, value in means.items() if not name.startswith("grad_norm"))
        self.run.logger.info(
            f"[{iteration}/{self.total}, eta {datetime.timedelta(seconds=int(left))}] {shown} "
            f"lr {' '.join(f'{rate:.2e}' for rate in rates)} {speed:.2f} it/s, {samples:.1f} samples/s, "
            f"data {wait:.0%}, memory {scalars['memory/peak_gib']:.2f} GiB"
        )
        return scalars


def _peak_memory(device: torch.device) -> float:
    """Peak memory in GiB: of the GPU, or of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    unit = 1 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
