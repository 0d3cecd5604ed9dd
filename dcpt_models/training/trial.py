"""Tries a run: some iterations, one checkpoint and some validation images of it, timed; `dcpt plan` asks for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from dcpt_models.methods.base_model import DegradationModel
from dcpt_models.runtime.memory import free_memory
from dcpt_models.runtime.signals import Batches
from dcpt_models.training.loop import iterate, start_model
from dcpt_models.training.progress import Progress
from dcpt_models.training.run import Run
from dcpt_models.validation.first_images import try_metrics

WARM_UP, LEAST = 2, 2  # iterations that do not count, and that do, at the least
PATIENCE = 3  # times the seconds that are asked for, within which a loader that is slow is waited for to show it
FETCHED = 2  # batches that each worker of a loader reads ahead


@dataclass
class Validated:
    """What the validation of a set takes.

    Attributes:
        first: Seconds of the first image, which meets its size for the first time.
        others: Seconds of each of the others.
        pixels: Of the images that were looked at, on average.
    """

    first: float
    others: float
    pixels: float


@dataclass
class Trial:
    """What was measured of a run.

    Attributes:
        start: Seconds until the first iteration, without imports: data sets opened, metrics tried, networks built.
        warm_up: Seconds that the first iterations took longer than later ones.
        iteration: Seconds of an iteration, waiting for data included.
        waiting: The share of that time that is waiting for data.
        measured: Iterations that this was measured on.
        memory: Most bytes that training took: of the GPU, or of the process on a CPU.
        memory_validating: Most bytes including validation and saving.
        free: Bytes that were free before, for a run to take.
        saving: Seconds of a checkpoint.
        saving_state: Seconds of the training state alone, which is saved again after a validation.
        saving_networks: Seconds of the networks alone, as at the end of a run.
        checkpoint: Bytes of a checkpoint.
        networks: Bytes of the networks of a checkpoint.
        validated: Name of a validation set -> what its images take.
    """

    start: float = 0.0
    warm_up: float = 0.0
    iteration: float = 0.0
    waiting: float = 0.0
    measured: int = 0
    memory: int = 0
    memory_validating: int = 0
    free: int = 0
    saving: float = 0.0
    saving_state: float = 0.0
    saving_networks: float = 0.0
    checkpoint: int = 0
    networks: int = 0
    validated: dict[str, Validated] = field(default_factory=dict)


class _Few:
    """The first images of a loader, one by one, each timed."""

    def __init__(self, loader: Any, batches: list[Any]) -> None:
        self.dataset, self.batches = loader.dataset, batches

    def __iter__(self) -> Iterator[Any]:
        yield from self.batches


def try_run(run: Run, train_loader: Any, val_loaders: list[Any], seconds: float, whole: bool) -> Trial:
    """Do some of what a run does, by the same code, in its folder.

    Args:
        run: An open run, in a folder that is to be thrown away.
        train_loader: Of its training set.
        val_loaders: Of its validation sets; not looked at unless `whole`.
        seconds: How long iterations are timed; at least two are.
        whole: Whether checkpoints and validation are measured too.
    """
    trial, begun = Trial(), time.perf_counter()
    device = torch.device("cuda" if run.opt["num_gpu"] else "cpu")
    trial.free = free_memory(device)
    if whole:
        try_metrics(val_loaders, run.opt["val"])
    model = start_model(run.opt)
    trial.start = time.perf_counter() - begun
    _time_iterations(trial, run, model, train_loader, seconds)
    trial.memory = trial.memory_validating = _peak(model.device)
    if whole:
        _time_saving(trial, run, model)
        _time_validation(trial, run, model, val_loaders, seconds)
        trial.memory_validating = _peak(model.device)
    return trial


def _time_iterations(trial: Trial, run: Run, model: DegradationModel, loader: Any, seconds: float) -> None:
    progress = Progress(run, model, run.opt["train"]["total_iter"], loader.batch_sampler.samples_until)
    print_freq = run.opt["logger"]["print_freq"]
    ahead = FETCHED * loader.num_workers
    count, begun = 0, time.perf_counter()

    def one() -> None:
        nonlocal count
        count += 1
        batch = progress.wait_for(batches)
        iterate(model, batch, count)
        if model.updates.waits:
            model.look_at_skipped()
        if count % print_freq == 0:
            model.look_at_skipped()
            progress.report(count)

    with Batches(loader) as batches:
        for _ in range(WARM_UP):
            one()
            _wait(model.device)
            if time.perf_counter() - begun > PATIENCE * seconds and count > 1:
                break
        warmed, done = time.perf_counter(), count
        progress.waited = waited = 0.0
        while True:
            before = progress.waited
            one()
            waited += max(0.0, progress.waited - before)
            spent, measured = time.perf_counter() - warmed, count - done
            enough = measured >= LEAST and spent >= seconds
            if enough and (measured > ahead or spent >= PATIENCE * seconds):
                break
        _wait(model.device)
        spent = time.perf_counter() - warmed
    trial.iteration, trial.measured, trial.waiting = spent / measured, measured, waited / spent
    trial.warm_up = max(0.0, warmed - begun - done * trial.iteration)


def _time_saving(trial: Trial, run: Run, model: DegradationModel) -> None:
    def timed(what: Any, *arguments: Any) -> float:
        _wait(model.device)
        begun = time.perf_counter()
        what(*arguments)
        return time.perf_counter() - begun

    def checkpoint() -> None:
        model.weights_are_finite()
        model.save(0, 1)

    timed(checkpoint)  # the first one makes what later ones only fill
    trial.saving = timed(checkpoint)
    trial.saving_state = timed(model.save_state, 0, 1)
    trial.saving_networks = timed(model.save_networks, "latest")
    trial.networks = sum(file.stat().st_size for file in run.models.glob("*_1.pth"))
    states = Path(run.opt["path"]["training_states"]).glob("*.state")
    trial.checkpoint = trial.networks + sum(file.stat().st_size for file in states)


def _time_validation(trial: Trial, run: Run, model: DegradationModel, loaders: list[Any], seconds: float) -> None:
    """The first two images of each set; one of each where they take long."""
    save = run.opt["val"]["save_img"]

    def timed(loader: Any, images: Iterator[Any]) -> tuple[float, int]:
        begun = time.perf_counter()
        batch = next(images)
        model.validate([_Few(loader, [batch])], 1, None, save)
        _wait(model.device)
        return time.perf_counter() - begun, batch["gt"].shape[-1] * batch["gt"].shape[-2]

    for loader in loaders:
        images = iter(loader)
        first, pixels = timed(loader, images)
        others, size = first, pixels
        if len(loader) > 1 and first < seconds:
            others, size = timed(loader, images)
        trial.validated[loader.dataset.opt["name"]] = Validated(first, others, (pixels + size) / 2)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _peak(device: torch.device) -> int:
    """Most bytes so far: what PyTorch has reserved of the GPU, or what the process has had in memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    line = next(text for text in Path("/proc/self/status").read_text().splitlines() if text.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
