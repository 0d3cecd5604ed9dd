"""Free memory of a device, and the memory that a network takes for a pixel."""

from __future__ import annotations

import copy
import resource
import weakref
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

_PROBE, _REAL_PROBE = 512, 64  # sides in pixels of the images that are tried without and with computing


def free_memory(device: torch.device) -> int:
    """Bytes that a process can still take on a device."""
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return free_main_memory(Path("/proc"), Path("/sys/fs/cgroup"))


def used_memory(device: torch.device) -> int:
    """Bytes that this process holds on a device."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def free_main_memory(proc: Path, cgroups: Path) -> int:
    """Bytes that are free in this machine and in the control groups that hold this process, a container's for example.

    Args:
        proc: Linux's /proc.
        cgroups: Where control groups of version 1 or 2 are mounted.
    """
    line = next(line for line in (proc / "meminfo").read_text().splitlines() if line.startswith("MemAvailable"))
    free = [int(line.split()[1]) * 1024]
    for _, controllers, path in (text.split(":", 2) for text in _lines(proc / "self" / "cgroup")):
        if controllers == "":
            root, names = cgroups, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            root = cgroups / "memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        # A container often sees its own group as the root, whatever the path says; the groups above have limits too.
        folder = root / path.strip("/")
        while folder != root.parent:
            free += _free_in_group(folder, *names)
            folder = folder.parent
    return max(0, min(free))


def _free_in_group(folder: Path, limit: str, usage: str, reclaimable: str) -> list[int]:
    found = {name: next(iter(_lines(folder / name)), "") for name in (limit, usage)}
    if not all(text.isdecimal() for text in found.values()):  # no limit ("max"), or no such group
        return []
    cached = [int(line.split()[1]) for line in _lines(folder / "memory.stat") if line.split()[0] == reclaimable]
    return [int(found[limit]) - int(found[usage]) + sum(cached)]


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []


class LiveTensors(TorchDispatchMode):
    """Follows which tensors are alive at a time.

    Attributes:
        peak: Most bytes that the tensors made within the `with` statement took at a time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = self._now = 0
        self._alive: dict[int, weakref.ref] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_iter(result):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self._alive:
                    self._follow(storage._cdata, storage)
        self.peak = max(self.peak, self._now)
        return result

    def _follow(self, key: int, storage: torch.UntypedStorage) -> None:
        size = storage.nbytes()
        self._now += size

        def gone(reference: weakref.ref) -> None:
            del self._alive[key]
            self._now -= size

        self._alive[key] = weakref.ref(storage, gone)


@torch.no_grad()
def bytes_per_pixel(network: nn.Module, channels: int = 3) -> float:
    """Memory that a network takes for each pixel of its input, at its peak and besides its weights.

    Found without computing anything, on tensors that have shapes and no content. What libraries take for themselves
    within a convolution is not in it.

    Args:
        network: A network in eval mode, on any device, in float32.
        channels: Of its input.
    """
    try:
        shapes = copy.deepcopy(network).to("meta")
        with LiveTensors() as live:
            shapes(torch.empty(1, channels, _PROBE, _PROBE, device="meta"))
        return live.peak / _PROBE**2
    except Exception:  # a network that looks at values, which it does in many ways: it must compute
        device = next(network.parameters()).device
        with LiveTensors() as live:
            network(torch.full((1, channels, _REAL_PROBE, _REAL_PROBE), 0.5, device=device))
        return live.peak / _REAL_PROBE**2


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory could not be had."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    said = (
        "can't allocate memory",
        "not enough memory",
        "out of memory",
        "bad_alloc",
        "bad allocation",
        "_alloc_failed",
    )
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in said)
