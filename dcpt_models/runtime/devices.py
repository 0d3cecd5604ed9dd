"""The device that `--device` names, and whether it computes in bfloat16; used by inference, features and benchmarks."""

from __future__ import annotations

from pathlib import Path

import torch

from dcpt_models.errors import OptionError

TYPES = ("cpu", "cuda")


def choose_device(name: str) -> torch.device:
    """The device that `--device NAME` means; "auto" is a GPU if there is one.

    Raises:
        OptionError: If there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise OptionError(f"--device {name}: no such device; try auto, cpu, cuda or cuda:1") from error
    if device.type not in TYPES:
        raise OptionError(f"--device {name}: this runs on cpu or cuda")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise OptionError(f"--device {name}: PyTorch finds {torch.cuda.device_count()} GPUs here; try --device auto")
    return device


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for products of bfloat16: AVX512-BF16 or AMX, or a GPU from Ampere on."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
