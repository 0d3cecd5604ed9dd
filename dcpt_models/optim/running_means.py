"""Running means of losses, kept on the device until they are logged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist


class Averages:
    """Means of named scalars on the device they live on; values that are NaN or infinite are left out."""

    def __init__(self) -> None:
        self._sums: dict[str, torch.Tensor] = {}  # name -> sum and number of the values

    def add(self, values: Mapping[str, torch.Tensor]) -> None:
        """Observe scalars."""
        for name, value in values.items():
            value = value.detach().float()
            finite = value.isfinite()
            entry = torch.stack([torch.where(finite, value, 0), finite.float()])
            self._sums[name] = self._sums[name] + entry if name in self._sums else entry

    def read(self, world_size: int, device: torch.device) -> dict[str, float]:
        """The mean of each name since the last reading, over all processes, which must all call; then start anew.

        A name of which no value was finite has the mean NaN.
        """
        if not self._sums:
            return {}
        sums = torch.stack(list(self._sums.values())).to(device)
        if world_size > 1:
            dist.all_reduce(sums)
        means = dict(zip(self._sums, (sums[:, 0] / sums[:, 1]).tolist(), strict=True))
        self._sums = {}
        return means

    def state_dict(self) -> dict[str, list[float]]:
        """What this process has observed since the last reading."""
        return {name: entry.tolist() for name, entry in self._sums.items()}

    def load_state_dict(self, state: Mapping[str, list[float]], device: torch.device) -> None:
        """Go on from `state_dict`."""
        self._sums = {name: torch.tensor(entry, device=device) for name, entry in state.items()}


def share_of(observed: Sequence[Mapping[str, list[float]]], rank: int, world_size: int) -> Mapping[str, list[float]]:
    """What a process goes on from, of what each had observed: its own; of another number of processes, their mean.

    What one process has observed may be all that there is, if it saved alone.
    """
    if len(observed) == world_size:
        return observed[rank]
    return {
        name: [sum(part) / len(observed) for part in zip(*(o[name] for o in observed), strict=True)]
        for name in observed[0]
    }
