"""Copies batches to the device while it computes; used by the training loop."""

from __future__ import annotations

from typing import Any

import torch


class Transfer:
    """Copies the images of batches to a GPU while it still computes what it was given before; leaves a CPU's alone.

    Args:
        device: Where batches go.
        memory_format: Their layout there.
    """

    def __init__(self, device: torch.device, memory_format: torch.memory_format) -> None:
        self.device, self.memory_format = device, memory_format
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The batch, with its tensors on the device; they need to be in page-locked memory (`pin_memory`)."""
        if self._stream is None:
            return batch
        with torch.cuda.stream(self._stream):
            moved = {key: self._move(value) for key, value in batch.items()}
        computing = torch.cuda.current_stream(self.device)
        computing.wait_stream(self._stream)
        for value in moved.values():
            if isinstance(value, torch.Tensor):
                value.record_stream(computing)  # or its memory could be used again while it is still read
        return moved

    def _move(self, value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        value = value.to(self.device, non_blocking=True)
        return value.contiguous(memory_format=self.memory_format) if value.dim() == 4 else value
