"""Print what a report of a fault needs: versions, device, cores, memory, and the environment variables that matter.

  dcpt env
  dcpt env --json

It works where PyTorch cannot be imported too, and says why. Of the environment, variables by which threads, devices and
processes are chosen are shown, with PYTHONPATH and LD_PRELOAD.
"""

import argparse
import importlib.metadata
import json
import os
import platform
from typing import Any

PACKAGES = (
    *("dcpt", "torch", "torchvision", "basicsr", "mmengine", "mmcv-lite", "numpy", "scipy", "scikit-image"),
    *("opencv-python", "opencv-python-headless", "pillow", "lmdb", "safetensors"),
)
OPTIONAL = ("opencv-python-headless",)  # said only if it is there
VARIABLES = ("OMP_", "MKL_", "KMP_", "OPENBLAS_", "CUDA_", "NCCL_", "GLOO_", "TORCH", "PYTORCH_", "MALLOC_", "SLURM_")
SINGLE = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "LD_PRELOAD", "PYTHONPATH")


def version(package: str) -> str | None:
    """The version that is installed, none if it is not."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def device() -> dict[str, Any]:
    """What PyTorch computes on; where it cannot be imported, why."""
    try:
        import torch
    except (ImportError, OSError) as error:  # a library that is missing or of another build
        return {"device": f"torch cannot be imported: {error}"}
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    names = ", ".join(gpus) or "cpu"
    return {"device": names, "cuda of torch": torch.version.cuda, "threads of torch": torch.get_num_threads()}


def memory() -> float | None:
    """Memory of the machine in GiB; none where the system does not report it."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError):
        return None


def environment() -> dict[str, Any]:
    """Everything, under the names that are printed."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    packages = {name: version(name) for name in PACKAGES}
    variables = {name: value for name, value in os.environ.items() if name.startswith(VARIABLES) or name in SINGLE}
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{name: found for name, found in packages.items() if found or name not in OPTIONAL},
        **device(),
        "cores": cores,
        "memory (GiB)": memory(),
        "variables": dict(sorted(variables.items())),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output, nothing else")
    as_json = parser.parse_args().json
    found = environment()
    if as_json:
        print(json.dumps(found))
        return 0
    variables = found.pop("variables")
    for name, value in found.items():
        print(f"{name}: {'not installed' if name in PACKAGES and value is None else value}")
    for name, value in variables.items():
        print(f"{name}={value}")
    return 0
