"""Running means of what training observes, read (and moved off the device) only when they are printed."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.distributed as dist


class Averages:
    """Sums of named scalars on the device they live on."""

    def __init__(self) -> None:
        self._sums: dict[str, torch.Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, values: Mapping[str, torch.Tensor]) -> None:
        """Observe scalars."""
        for name, value in values.items():
            value = value.detach().float()
            self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()
            self._counts[name] = self._counts.get(name, 0) + 1

    def finite(self) -> bool:
        """Whether all sums are finite, on this process."""
        return all(bool(value.isfinite()) for value in self._sums.values())

    def read(self, world_size: int, device: torch.device) -> dict[str, float]:
        """The mean of each name since the last reading, over all processes, which must all call; then start anew."""
        if not self._sums:
            return {}
        means = torch.stack([value / self._counts[name] for name, value in self._sums.items()]).to(device)
        if world_size > 1:
            dist.all_reduce(means)
            means /= world_size
        result = dict(zip(self._sums, means.tolist(), strict=True))
        self._sums, self._counts = {}, {}
        return result
