"""From what a trial has measured to what the whole run takes; `dcpt plan` prints it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dcpt_models.training.trial import Trial, Validated

MARGIN = 0.9  # of the free memory that is planned with


@dataclass(frozen=True)
class Section:
    """A part of a run in which iterations are alike: a stage of progressive training, or all of it.

    Attributes:
        iterations: How many.
        gt_size: Side of the crops in pixels.
        batch: Samples of one process in one iteration.
    """

    iterations: int
    gt_size: int
    batch: int


@dataclass(frozen=True)
class Estimate:
    """What a run takes.

    Attributes:
        seconds: Part of the run -> seconds: `start`, `iterations`, `validation`, `saving`.
        iteration: Seconds of an iteration, the mean over the sections.
        waiting: The share of it that is waiting for data.
        memory: Bytes at the peak.
        free: Bytes that were free.
        checkpoints: Bytes of all checkpoints that are kept.
        guessed: Validation sets that were not looked at, since another had taken long: by their pixels.
    """

    seconds: dict[str, float]
    iteration: float
    waiting: float
    memory: int
    free: int
    checkpoints: int
    guessed: list[str] = field(default_factory=list)

    @property
    def total(self) -> float:
        """Seconds of the whole run."""
        return sum(self.seconds.values())


def sections_of(opt: Mapping[str, Any]) -> list[Section]:
    """The stages of a run's training, and what comes behind them."""
    data, total = opt["datasets"]["train"], opt["train"]["total_iter"]
    found, before = [], 0
    for stage in data.get("progressive") or []:
        until = min(stage["until"], total)
        if until > before:
            found.append(Section(until - before, stage["gt_size"], stage["batch_size_per_gpu"]))
            before = until
    if total > before:
        found.append(Section(total - before, data.get("gt_size", 128), data.get("batch_size_per_gpu", 1)))
    return found


def times_due(total: int, every: int) -> int:
    """How often something is due in a run that comes every so many iterations, and after the last one."""
    return total // every + (total % every > 0)


def estimate(
    opt: Mapping[str, Any],
    tried: Sequence[tuple[Section, Trial]],
    imports: float,
    counts: Mapping[str, int],
    sizes: Mapping[str, int],
) -> Estimate:
    """What a run takes from the command until it has ended.

    Args:
        opt: Its completed options.
        tried: Its sections with their trials; the first trial has checkpoints and validation in it.
        imports: Seconds that a command takes to import what it needs.
        counts: Images of each validation set.
        sizes: Pixels of an image of each.
    """
    total, val, logger = opt["train"]["total_iter"], opt["val"], opt["logger"]
    first = tried[0][1]
    iterations = sum(section.iterations * trial.iteration for section, trial in tried)
    waiting = sum(section.iterations * trial.iteration * trial.waiting for section, trial in tried)
    per_validation = sum(
        _once(first.validated.get(name), first.validated, count, sizes[name]) for name, count in counts.items()
    )
    validations = (times_due(total, val["val_freq"]) + bool(val["val_first"])) if counts else 0
    checkpoints = times_due(total, logger["save_checkpoint_freq"])
    # Meeting sizes for the first time happens once in a run, not in each validation.
    meeting = sum(max(0.0, one.first - one.others) for one in first.validated.values())
    both = _due_together(total, val["val_freq"], logger["save_checkpoint_freq"]) if counts else 0
    seconds = {
        "start": imports + first.start + sum(trial.warm_up for _, trial in tried),
        "iterations": iterations,
        "validation": validations * per_validation + (meeting if validations else 0.0),
        "saving": checkpoints * first.saving + both * first.saving_state + first.saving_networks,
    }
    kept = min(checkpoints, logger["keep_last"] or checkpoints)
    return Estimate(
        seconds=seconds,
        iteration=iterations / total,
        waiting=waiting / iterations,
        memory=max(first.memory_validating, *(trial.memory for _, trial in tried)),
        free=first.free,
        checkpoints=kept * first.checkpoint + first.networks * (1 + (logger["keep_best"] is not None)),
        guessed=[name for name in counts if name not in first.validated],
    )


def _once(measured: Validated | None, others: Mapping[str, Validated], count: int, pixels: int) -> float:
    """Seconds of one validation of a set."""
    if measured is None:  # by the pixels of the sets that were looked at
        rate = sum(one.others for one in others.values()) / sum(one.pixels for one in others.values())
        return count * pixels * rate
    return count * measured.others


def _due_together(total: int, one: int, other: int) -> int:
    """How often two things are due after the same iteration."""
    return sum(n % other == 0 or n == total for n in {*range(one, total + 1, one), total})


def largest_batch(at: Mapping[int, int], free: int, step: int = 1) -> int | None:
    """The largest batch whose training fits into the free memory, from what two batches take.

    Args:
        at: Batch -> bytes at the peak; two batches or more.
        free: Bytes that are free.
        step: What a batch must be a multiple of.

    Returns:
        The batch; None if a larger batch took no more memory, so that nothing can be said.
    """
    (small, least), (large, most) = min(at.items()), max(at.items())
    slope = (most - least) / (large - small)
    if slope <= 0:
        return None
    fits = int((MARGIN * free - least) / slope + small)
    return max(0, fits // step * step)
