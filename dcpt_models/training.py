"""The training loop."""

from __future__ import annotations

import datetime
import math
import resource
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from basicsr.models import build_model

from dcpt_models.base_model import DegradationModel
from dcpt_models.run import Run
from dcpt_models.validation import Results

# Iterations after which several processes ask each other whether one was told to stop: seldom enough to cost nothing,
# often enough for the grace time of torchrun and of schedulers.
AGREEMENT_FREQ = 5


class Stopped(Exception):  # noqa: N818 - not an error: the run was asked to stop, and did so in good order
    """The run was asked to stop (Ctrl-C, SIGTERM); its state is saved."""


class StopRequest:
    """Whether somebody has asked the run to stop."""

    def __init__(self) -> None:
        self.made = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.made:  # asked twice: at once
            raise KeyboardInterrupt
        self.made = True

    def agreed(self, world_size: int, device: torch.device) -> bool:
        """Whether any process was asked; all must call."""
        if world_size == 1:
            return self.made
        flag = torch.tensor([float(self.made)], device=device)
        dist.all_reduce(flag, dist.ReduceOp.MAX)
        return bool(flag.item())


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turn SIGINT and SIGTERM into a request that the loop honours after the iteration."""
    request = StopRequest()
    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def train(run: Run, train_loader: Any, val_loaders: list[Any]) -> Results:
    """Train a model from `run.start` to exactly `total_iter` iterations.

    Args:
        run: The open run.
        train_loader: Endless batches, from the sample after `run.start` iterations on.
        val_loaders: One loader for each validation set.

    Returns:
        The results of the last validation; empty without validation sets.

    Raises:
        Stopped: If the run was asked to stop. Its state is saved.
        FloatingPointError: If a loss is not finite.
        OSError: If a checkpoint cannot be written.
    """
    opt, logger = run.opt, run.logger
    # Networks start alike on every process, whatever else has drawn random numbers before.
    torch.manual_seed(opt["manual_seed"])
    model: DegradationModel = build_model(opt)
    if run.resume_state and run.resume_models:
        model.resume_training(run.resume_state, run.resume_models)
        logger.info(f"Going on from iteration {run.start}")
    total, val = opt["train"]["total_iter"], opt["val"]
    _log_plan(run, train_loader, total)
    results: Results = {}

    def validation_is_due(iteration: int) -> bool:
        regular = val["val_first"] if iteration == 0 else iteration % val["val_freq"] == 0 or iteration == total
        return bool(val_loaders) and regular and model.validated < iteration

    def epoch(iteration: int) -> int:
        return iteration * train_loader.batch_sampler.batch_size * run.world_size // len(train_loader.dataset)

    def save(iteration: int) -> None:
        logger.info(f"Saving checkpoint {iteration}")
        model.save(epoch(iteration), iteration)
        progress.saved = iteration

    def rescue(iteration: int) -> None:
        """Lose nothing to an error that is not the network's."""
        if iteration > max(run.start, progress.saved) and model.losses_are_finite():
            save(iteration)
            logger.error(f"The state after iteration {iteration} is saved; --auto_resume goes on from it")

    def validate(iteration: int) -> Results:
        with progress.paused():
            try:
                found = model.validate(val_loaders, iteration, run.events, val["save_img"])
            except Exception:
                rescue(iteration)
                raise
        run.record(iteration, found)
        return found

    progress = Progress(run, model, total)
    # A resumed run makes up for a validation that it was interrupted in.
    if validation_is_due(run.start):
        results = validate(run.start)
    batches = iter(train_loader)
    with stop_on_signals() as stop:
        for iteration in range(run.start + 1, total + 1):
            try:
                batch = progress.wait_for(batches)
            except Exception:
                rescue(iteration - 1)
                raise
            # Randomness inside networks depends on the iteration alone, so a resumed run needs no saved generator.
            torch.manual_seed((opt["manual_seed"] * 1_000_003 + iteration) * run.world_size + run.rank)
            model.update_learning_rate(iteration)
            model.feed_data(batch)
            model.optimize_parameters(iteration)
            last = iteration == total
            asking = run.world_size == 1 or iteration % AGREEMENT_FREQ == 0
            stopping = asking and stop.agreed(run.world_size, model.device)
            saving = iteration % opt["logger"]["save_checkpoint_freq"] == 0 or last or stopping
            if saving or iteration % opt["logger"]["print_freq"] == 0:
                progress.report(iteration)  # which also makes sure that no weights are saved after a loss became NaN
            if saving:
                with progress.paused():
                    save(iteration)
            if stopping and not last:
                raise Stopped(f"Stopped after iteration {iteration} of {total}; the state is saved in {run.folder}")
            if validation_is_due(iteration):
                results = validate(iteration)
                if saving:
                    model.save_state(epoch(iteration), iteration)
    model.save_latest()
    logger.info(f"Done: {total} iterations. Networks: {opt['path']['models']}")
    return results


def _log_plan(run: Run, loader: Any, total: int) -> None:
    batch = loader.batch_sampler.batch_size * run.world_size
    run.logger.info(
        f"{len(loader.dataset)} training samples an epoch, {batch} an iteration ({run.world_size} processes), "
        f"{total} iterations = {total * batch / len(loader.dataset):.1f} epochs"
    )
    if hasattr(loader.dataset, "counts"):
        counts = loader.dataset.counts()
        shares = ", ".join(f"{name} {n} ({n / sum(counts.values()):.0%})" for name, n in counts.items())
        run.logger.info(f"Samples of an epoch by degradation: {shares}")


class Progress:
    """Log lines and TensorBoard scalars: losses, learning rates, speed, time left, memory."""

    def __init__(self, run: Run, model: DegradationModel, total: int) -> None:
        self.run, self.model, self.total = run, model, total
        self.begun = self.since = time.perf_counter()
        self.waited = 0.0
        self.last = run.start
        self.saved = -1  # the last iteration with a checkpoint

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the time of validating and saving out of speed and time left."""
        before = time.perf_counter()
        yield
        away = time.perf_counter() - before
        self.begun += away
        self.since += away

    def wait_for(self, batches: Iterator[Any]) -> Any:
        """The next batch; the time until it is there counts as waiting for data."""
        before = time.perf_counter()
        batch = next(batches)
        self.waited += time.perf_counter() - before
        return batch

    def report(self, iteration: int) -> None:
        """Log what happened since the last line; all processes must call."""
        losses = self.model.get_current_log()
        bad = [name for name, value in losses.items() if not math.isfinite(value)]
        if bad:
            raise FloatingPointError(
                f"{', '.join(bad)} became NaN or infinite before iteration {iteration}; earlier checkpoints are sound. "
                "Set train:grad_clip and go on with --auto_resume, or start anew with a lower learning rate"
            )
        now = time.perf_counter()
        done = iteration - self.last
        speed = done / (now - self.since)
        left = (self.total - iteration) * (now - self.begun) / (iteration - self.run.start)
        wait = self.waited / (now - self.since)
        rates = self.model.get_current_learning_rate()
        scalars = {
            **{f"losses/{name}" if name.startswith("l_") else f"train/{name}": v for name, v in losses.items()},
            **{f"lr/net_{label}": rate for label, rate in zip(self.model.trained, rates, strict=True)},
            "speed/iterations_per_s": speed,
            "speed/data_wait_share": wait,
            "memory/peak_gib": _peak_memory(self.model.device),
        }
        if self.run.events:
            for name, value in scalars.items():
                self.run.events.add_scalar(name, value, iteration)
        shown = " ".join(f"{name} {value:.4e}" for name, value in losses.items())
        self.run.logger.info(
            f"[{iteration}/{self.total}, eta {datetime.timedelta(seconds=int(left))}] {shown} "
            f"lr {' '.join(f'{rate:.2e}' for rate in rates)} {speed:.2f} it/s, data {wait:.0%}, "
            f"memory {scalars['memory/peak_gib']:.2f} GiB"
        )
        self.since, self.waited, self.last = now, 0.0, iteration


def _peak_memory(device: torch.device) -> float:
    """Peak memory in GiB: of the GPU, or of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    unit = 1 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
