"""The order in which training samples are visited: a function of (seed, position), not of processes or workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import Sampler, get_worker_info

from dcpt_common import Count
from dcpt_data.errors import DataError

SampleKey = tuple[int, ...]
"""(epoch, index): a sample's random generator comes from both, so a sample differs every epoch; and, in a stage of
progressive training, the side of its crop."""


@dataclass(frozen=True)
class Stage:
    """A stage of progressive training: small crops in large batches before large crops in small ones.

    Zamir et al. (Restormer, CVPR 2022, Section 4).

    Attributes:
        until: The last iteration of the stage.
        gt_size: Side of the training crop in pixels.
        batch_size_per_gpu: Samples of one process in one iteration.
        batch_size: In its place, samples of all processes together.
    """

    until: Count
    gt_size: Count
    batch_size_per_gpu: Count | None = None
    batch_size: Count | None = None

    def samples_of_process(self, world_size: int) -> int:
        """Samples of one process in one iteration."""
        return samples_of_process(self.batch_size_per_gpu, self.batch_size, world_size)


def samples_of_process(batch_size_per_gpu: int | None, batch_size: int | None, world_size: int) -> int:
    """What one of so many processes reads in an iteration: its own batch, or its share of the batch of all.

    Raises:
        DataError: If both are given, or the batch cannot be shared evenly.
    """
    if batch_size is None:
        return 1 if batch_size_per_gpu is None else batch_size_per_gpu
    if batch_size_per_gpu is not None:
        raise DataError(
            f"datasets:train: batch_size ({batch_size}, of all processes together) and batch_size_per_gpu "
            f"({batch_size_per_gpu}) say the same thing twice; set one of them to null"
        )
    if batch_size % world_size:
        even = ", ".join(str(n) for n in range(1, batch_size + 1) if batch_size % n == 0)
        raise DataError(
            f"datasets:train:batch_size: {batch_size} samples cannot be shared evenly by {world_size} processes; start "
            f"{even} of them"
        )
    return batch_size // world_size


class PlainKeys:
    """What a data set is asked for, also by samplers that give plain indices, such as the engine's.

    To a plain index no epoch is known. Each time that a process is asked for one counts as an epoch of its own, of a
    number that PyTorch's seed decides as well: that of the worker, which is drawn anew whenever a loader is started,
    or without workers that of the process, which the engine sets from `manual_seed` and its rank.
    """

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, key: int | SampleKey) -> SampleKey:
        """The epoch and the index."""
        if isinstance(key, tuple):
            return key
        worker = get_worker_info()
        self.asked += 1
        return ((worker.seed if worker else torch.initial_seed()) << 64) + self.asked, key


class ShuffledBatches(Sampler[list[SampleKey]]):
    """An endless stream of batches, every sample of an epoch once, in a new random order each epoch.

    All processes together draw consecutive positions of one global stream. Batches run across the end of an epoch, so a
    data set may be smaller than a batch, and no sample is dropped. The stream can start anywhere without being drawn
    up to there, which is what makes a resumed run exact.

    Args:
        length: Samples of the data set.
        batch_size: Samples of one process in one iteration, behind the last stage.
        seed: Seed of the order.
        rank: This process.
        world_size: Number of processes.
        start: Iterations already done.
        stages: Of progressive training, in order.
        position: Samples that have been read until `start`, if they are others than these batches make: of a run that
            had other batches, or another number of processes.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        start: int = 0,
        stages: Sequence[Stage] = (),
        position: int | None = None,
    ) -> None:
        if length < 1 or batch_size < 1:
            raise ValueError(f"need at least one sample and a batch of one or more; got {length} and {batch_size}")
        self.length, self.batch_size, self.seed = length, batch_size, seed
        self.rank, self.world_size, self.start, self.stages = rank, world_size, start, stages
        self._elsewhere = 0
        if position is not None:
            self._elsewhere = position - self.samples_until(start)

    def stage_of(self, iteration: int) -> Stage | None:
        """The stage of an iteration, counted from 1; None behind the last one."""
        return next((stage for stage in self.stages if iteration <= stage.until), None)

    def samples_until(self, iteration: int) -> int:
        """Samples that all processes together have read after so many iterations."""
        samples, before = 0, 0
        for stage in self.stages:
            here = min(stage.until, iteration)
            samples += max(0, here - before) * stage.samples_of_process(self.world_size)
            before = here
        return (samples + (iteration - before) * self.batch_size) * self.world_size + self._elsewhere

    def __iter__(self) -> Iterator[list[SampleKey]]:
        epoch, order = -1, np.empty(0, np.int64)
        iteration = self.start
        while True:
            stage = self.stage_of(iteration + 1)
            size = self.batch_size if stage is None else stage.samples_of_process(self.world_size)
            crop = () if stage is None else (stage.gt_size,)
            position = self.samples_until(iteration) + self.rank * size
            batch: list[SampleKey] = []
            for p in range(position, position + size):
                if p // self.length != epoch:
                    epoch = p // self.length
                    order = np.random.default_rng([self.seed, epoch]).permutation(self.length)
                batch.append((epoch, int(order[p % self.length]), *crop))
            yield batch
            iteration += 1


class Shard(Sampler[int]):
    """The indices of a validation set that one process evaluates: every `world_size`-th one."""

    def __init__(self, length: int, rank: int = 0, world_size: int = 1) -> None:
        self.indices = range(rank, length, world_size)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)

    def __len__(self) -> int:
        return len(self.indices)
