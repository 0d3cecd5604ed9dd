"""An exponential moving average of a network."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn


class MovingAverage:
    """Keeps `network`, a copy whose parameters follow the trained ones; its buffers are copied as they are.

    Args:
        trained: The network being trained, not wrapped.
        decay: Share of the old average that stays at each update, in (0, 1).

    Raises:
        ValueError: If `decay` is not in (0, 1).
    """

    def __init__(self, trained: nn.Module, decay: float) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"ema_decay must lie in (0, 1), or be 0 for no average; not {decay}")
        self.decay = decay
        self.network = deepcopy(trained).eval().requires_grad_(False)
        self._mean: list[torch.Tensor] = list(self.network.parameters())
        self._now: list[torch.Tensor] = list(trained.parameters())
        self._buffers = list(zip(self.network.buffers(), trained.buffers(), strict=True))

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the trained network."""
        torch._foreach_lerp_(self._mean, self._now, 1 - self.decay)
        for kept, current in self._buffers:
            kept.copy_(current)
