"""Timing in alternating rounds, the machine's limits, peak memory, and tables of these."""

from __future__ import annotations

import ctypes
import gc
import importlib.metadata
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from dcpt_common import markdown

# Packages whose versions decide about speed or are compared with.
PACKAGES = ("torch", "numpy", "opencv-python", "basicsr", "spandrel", "spandrel-extra-arches", "scikit-image")
Call = Callable[[], Any]
Row = Mapping[str, Any]
# What networks are measured in.
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


# Time


@dataclass(frozen=True)
class Comparison:
    """Seconds that each of several functions took, one value a round.

    Attributes:
        seconds: Label -> times in the order of the rounds; the rounds of all labels belong together.
    """

    seconds: dict[str, list[float]]

    def median(self, label: str) -> float:
        """The median time in seconds."""
        return statistics.median(self.seconds[label])

    def quartiles(self, label: str) -> tuple[float, float]:
        """The lower and the upper quartile of the times in seconds."""
        return _quartiles(self.seconds[label])

    def ratios(self, peer: str, ours: str = "ours") -> list[float]:
        """How many times as long `peer` took as `ours`, in each round."""
        return [a / b for a, b in zip(self.seconds[peer], self.seconds[ours], strict=True)]

    def ratio(self, peer: str, ours: str = "ours") -> float:
        """The median of the rounds' ratios: what slows a whole round down does not change it."""
        return statistics.median(self.ratios(peer, ours))

    def row(self, label: str, ours: str = "ours") -> dict[str, Any]:
        """A label's cells of a table: its time, the spread of it, and the ratio of its time to that of `ours`."""
        low, high = self.quartiles(label)
        cells: dict[str, Any] = {
            "what": label,
            "ms": 1e3 * self.median(label),
            "ms, quartiles": f"{_number(1e3 * low)} to {_number(1e3 * high)}",
        }
        if label != ours and ours in self.seconds:
            low, high = _quartiles(self.ratios(label, ours))
            cells |= {"x ours": self.ratio(label, ours), "x ours, quartiles": f"{low:.2f} to {high:.2f}"}
        return cells


def in_turns(
    functions: Mapping[str, Call],
    repeats: int = 7,
    warmup: int = 1,
    device: str | torch.device = "cpu",
    before: int = 0,
) -> Comparison:
    """Time functions one after the other, round after round (A B A B ...), so that a busy machine slows all alike.

    Args:
        functions: Label -> what is timed.
        repeats: Rounds that count.
        warmup: Rounds before them that do not.
        device: A GPU is waited for before the clock is read.
        before: Calls of the same function right before each timed one, where what is measured comes in long rows.
    """
    seconds: dict[str, list[float]] = {label: [] for label in functions}
    for round_ in range(-warmup, repeats):
        for label, function in functions.items():
            for _ in range(before):
                function()
            synchronise(device)
            begin = time.perf_counter()
            function()
            synchronise(device)
            if round_ >= 0:
                seconds[label].append(time.perf_counter() - begin)
    return Comparison(seconds)


def synchronise(device: str | torch.device) -> None:
    """Wait for a GPU; on a processor there is nothing to wait for."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def _quartiles(values: Sequence[float]) -> tuple[float, float]:
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


# The machine's floor


@dataclass(frozen=True)
class Floor:
    """What the machine reaches at its best, as measured.

    Attributes:
        flops: Floating-point operations a second in a large matrix product (a multiplication and an addition are two).
        bytes: Bytes a second read and written by a copy far larger than the caches.
    """

    flops: float
    bytes: float

    def __str__(self) -> str:
        return f"matrix product {self.flops / 1e9:,.0f} GFLOP/s, copy {self.bytes / 1e9:.1f} GB/s (read and written)"


def measure_floor(device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32) -> Floor:
    """Measure the rates of a matrix product of `dtype` and of a copy; the best of several tries."""
    side, words = (8192, 2**28) if torch.device(device).type == "cuda" else (1024, 2**26)
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    source = torch.randn(words, device=device)
    target = torch.empty_like(source)
    found = in_turns({"product": lambda: a @ b, "copy": lambda: target.copy_(source)}, 5, 2, device)
    return Floor(2 * side**3 / min(found.seconds["product"]), 8 * words / min(found.seconds["copy"]))


class Work(TorchDispatchMode):
    """Counts what the operators within it do, backward passes included; views cost nothing.

    Attributes:
        flops: Floating-point operations of convolutions, matrix products and attention, as torch's counter has them,
            or as they are where that is wrong.
        bytes: Size of what each operator reads and writes, every operand once.
        floor_seconds: Sum over the operators of what the slower of both would take at the rates of `floor`. Operands
            that stay in a cache between two operators can take less, so that a share above 1 is possible.
    """

    def __init__(self, floor: Floor | None = None) -> None:
        super().__init__()
        self.flops, self.bytes, self.floor_seconds, self.floor = 0, 0, 0.0, floor

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with self:  # in inference mode operators that are made of others arrive whole
            result = func.decompose(*args, **(kwargs or {}))
        if result is not NotImplemented:
            return result
        result = func(*args, **(kwargs or {}))
        if func.is_view or func._overloadpacket in _FREE:
            return result
        if func._overloadpacket is torch.ops.aten.convolution_backward:
            flops = _backward_flops(*args)
        else:
            counter = flop_registry.get(func._overloadpacket)
            flops = counter(*args, **(kwargs or {}), out_val=result) if counter else 0
        moved = _size((args, kwargs, result))
        self.flops, self.bytes = self.flops + flops, self.bytes + moved
        if self.floor:
            self.floor_seconds += max(flops / self.floor.flops, moved / self.floor.bytes)
        return result


_FREE = {torch.ops.aten.empty, torch.ops.aten.empty_like, torch.ops.aten.empty_strided, torch.ops.aten.detach}


def _backward_flops(gradient: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, *others: Any) -> int:
    """Each gradient takes what the forward pass takes; torch's counter takes depth-wise convolutions for dense ones."""
    transposed, wanted = others[-4], others[-1]
    sites = x if transposed else gradient
    return 2 * sites.numel() * weight[0].numel() * sum(wanted[:2])


def _size(item: Any) -> int:
    """Bytes of all tensors in nested lists and dicts."""
    if isinstance(item, torch.Tensor):
        return item.numel() * item.element_size()
    if isinstance(item, Mapping):
        return sum(map(_size, item.values()))
    return sum(map(_size, item)) if isinstance(item, (list, tuple)) else 0


def count(function: Call, floor: Floor | None = None) -> Work:
    """Run a function once and count what it does."""
    with Work(floor) as work:
        function()
    return work


def share_of_floor(function: Call, floor: Floor, row: Row) -> dict[str, float]:
    """The cells of a function whose row has its time: its operations, and what the floor is of the time."""
    work = count(function, floor)
    return {"GFLOP": work.flops / 1e9, "of the floor": 1e3 * work.floor_seconds / row["ms"]}


def floor_note(floors: Mapping[str, Floor]) -> str:
    """What stands under a table with such cells."""
    rates = "; ".join(f"{name}: {floor}" for name, floor in floors.items())
    return f"Of the floor: what its operators would take at the rates measured here, as a share of the time. {rates}."


# Memory


def peak_memory(function: Call, device: str | torch.device = "cpu") -> int:
    """Bytes that a function needs at its peak, beyond what the process held before; it is run twice.

    On a GPU by PyTorch's allocator. On a processor by Linux's record of the process's resident memory, which has what
    libraries take for themselves, too.

    Raises:
        OSError: If the system keeps no such record (anything but Linux).
    """
    function()  # what is taken once and kept is not the function's
    gc.collect()
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        function()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the highest resident size becomes the present one
    before = _resident("VmRSS")
    function()
    return max(0, _resident("VmHWM") - before)


def _resident(key: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024


# What is shown


def conditions(device: str | torch.device = "cpu") -> dict[str, str]:
    """Hardware and versions that belong under a table."""
    versions = []
    for package in PACKAGES:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{package} not installed")
    found = {"processor": processor(), "threads": str(torch.get_num_threads())}
    if torch.device(device).type == "cuda":
        found["GPU"] = torch.cuda.get_device_name(device)
    return {**found, "Python": platform.python_version(), "packages": ", ".join(versions)}


def processor() -> str:
    """The processor's name, its number of cores, and the extensions that matter to half precision."""
    name, flags = platform.processor() or platform.machine(), ""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                name = value.strip()
            elif key.strip() == "flags":
                flags = value
    wide = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags.split()]
    cores = torch.multiprocessing.cpu_count()
    return f"{name}, {cores} cores" + (f", {' '.join(wide)}" if wide else "")


def table_of(rows: Sequence[Row]) -> str:
    """Rows as a Markdown table; columns in the order in which they first occur, numbers to three digits."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    texts = [columns, *([_number(row.get(column, "")) for column in columns] for row in rows)]
    return markdown.table(texts)


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if value == 0 or isinstance(value, int):
        return f"{value:,}"
    digits = max(0, 2 - len(str(int(abs(value)))) + 1) if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}" if abs(value) >= 1e-3 else f"{value:.2g}"
