"""Iterations without update (NaN or infinity) and their images, kept on the device until they are logged."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch

from dcpt_models.runtime.distributed import gather


@dataclass(frozen=True)
class Skipped:
    """An iteration that left an update out.

    Attributes:
        iteration: Its number, from 1.
        files: The images of the batches, on all processes; only of those whose own losses were not finite, if any were.
        loss_scale: The loss scale after it; 1 without one.
        losses: Whether a loss was not finite; otherwise a gradient was not.
    """

    iteration: int
    files: list[str]
    loss_scale: float
    losses: bool

    @property
    def expected(self) -> bool:
        """Whether it only shows that the loss scale of fp16 was too large, which finds its value so."""
        return not self.losses and self.loss_scale > 1

    def report(self, logger: logging.Logger) -> None:
        """Say so in a log."""
        if self.expected:
            logger.info(
                f"Iteration {self.iteration}: fp16 overflowed; the loss scale is lowered to {self.loss_scale:g}"
            )
            return
        what = "a loss" if self.losses else "a gradient"
        logger.warning(
            f"Iteration {self.iteration}: no update, since {what} is NaN or infinite. "
            f"It had read {', '.join(self.files)}"
        )


class Guard:
    """Counts iterations in a row that left an update out, which all processes do alike.

    Attributes:
        in_a_row: How many of the last iterations left an update out, as of the last reading; those that were expected
            neither count nor end the row.
    """

    def __init__(self) -> None:
        self.in_a_row = 0
        self._unread: list[tuple[int, torch.Tensor, list[str]]] = []

    def diverged(self, last: Skipped, saved: str) -> FloatingPointError:
        """The error that ends a run after too many iterations without update.

        Args:
            last: The last of them.
            saved: What has been saved, as a sentence.
        """
        return FloatingPointError(
            f"the last {self.in_a_row} iterations made no update, since losses or gradients are NaN or infinite; "
            f"the last one, {last.iteration}, had read {', '.join(last.files)}. {saved} If these images are sound, the "
            "run has diverged: start anew from an earlier checkpoint (path:pretrain_network_g) with a lower learning "
            "rate, or set train:grad_clip and train:warmup_iter. Otherwise fix them and resume with --auto_resume"
        )

    def note(self, iteration: int, outcome: torch.Tensor, files: list[str]) -> None:
        """Remember an iteration: what `Updates.outcome` gives, and the files of this process's batch."""
        self._unread.append((iteration, outcome, files))

    def read(self) -> list[Skipped]:
        """The iterations since the last reading that left an update out; all processes must call."""
        if not self._unread:
            return []
        outcomes = torch.stack([outcome for _, outcome, _ in self._unread]).tolist()
        seen = [
            (iteration, *values, files) for (iteration, _, files), values in zip(self._unread, outcomes, strict=True)
        ]
        self._unread = []
        mine = [(losses, files) for _, skipped, losses, _, files in seen if skipped]
        of_all = iter(zip(*gather(mine), strict=True) if mine else ())
        found = []
        for iteration, skipped, _, scale, _ in seen:
            if not skipped:
                self.in_a_row = 0
                continue
            parts = next(of_all)
            guilty = [files for losses, files in parts if losses] or [files for _, files in parts]
            files = list(dict.fromkeys(file for each in guilty for file in each))
            skip = Skipped(iteration, files, scale, losses=any(losses for losses, _ in parts))
            self.in_a_row += not skip.expected
            found.append(skip)
        return found
