"""The processes of a run: one, or several started by torchrun or Slurm."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist

from dcpt_models.errors import OptionError

Launcher = Literal["none", "pytorch", "slurm"]
T = TypeVar("T")
# What the messages of PyTorch's backends have in common when another process is gone, or does not answer.
LOST = ("gloo", "nccl", "connection", "timed out", "timeout", "broken pipe", "socket")


def start_processes(
    launcher: Launcher, use_gpu: bool, backend: str | None = None, port: int = 29500, timeout: int = 1800
) -> tuple[int, int]:
    """Join the process group, unless this process has done so before.

    Args:
        launcher: "none" for a single process; "pytorch" under torchrun; "slurm" under srun.
        use_gpu: Whether each process drives a GPU.
        backend: "nccl" or "gloo"; by default the one for the devices there are.
        port: Port of the first Slurm process.
        timeout: Seconds that a process waits for the others before it gives up.

    Returns:
        Rank of this process, number of processes.

    Raises:
        OptionError: If the launcher's variables are not set.
    """
    if launcher == "none":
        return 0, 1
    if dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    if launcher == "slurm":
        _variables_from_slurm(port)
    if "RANK" not in os.environ:
        raise OptionError(
            "--launcher pytorch needs torchrun: "
            "torchrun --nproc_per_node=N -m dcpt_tools train -opt FILE --launcher pytorch"
        )
    if use_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    backend = backend or ("nccl" if use_gpu else "gloo")
    # What is on the CPU is always exchanged by gloo, so that a GPU need not be waited for.
    backend = "cpu:gloo,cuda:nccl" if backend == "nccl" else backend
    dist.init_process_group(backend, timeout=timedelta(seconds=timeout))
    return dist.get_rank(), dist.get_world_size()


def _variables_from_slurm(port: int) -> None:
    try:
        rank, world, local = (os.environ[f"SLURM_{name}"] for name in ("PROCID", "NTASKS", "LOCALID"))
        nodes = os.environ["SLURM_NODELIST"]
    except KeyError as error:
        raise OptionError(f"--launcher slurm needs srun: the variable {error} is not set") from error
    listed = subprocess.run(["scontrol", "show", "hostname", nodes], capture_output=True, text=True, check=True).stdout
    os.environ.update(RANK=rank, WORLD_SIZE=world, LOCAL_RANK=local)
    os.environ.setdefault("MASTER_ADDR", listed.split()[0])
    os.environ.setdefault("MASTER_PORT", str(port))


def from_first(decide: Callable[[], T]) -> T:
    """Let the first process decide: what it returns, or the error that it raises, is everyone's; all must call."""
    if not dist.is_initialized():
        return decide()
    outcome: list[Any] = [None, None]
    if dist.get_rank() == 0:
        try:
            outcome[0] = decide()
        except Exception as error:
            outcome[1] = error
    dist.broadcast_object_list(outcome, device=torch.device("cpu"))
    if outcome[1] is not None:
        raise outcome[1]
    return outcome[0]


def gather(part: Any) -> list[Any]:
    """What each process has; all must call."""
    if not dist.is_initialized():
        return [part]
    parts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, part)
    return parts


def lost_contact(error: Exception) -> bool:
    """Whether an error says that another process is gone or does not answer."""
    if not (dist.is_initialized() and isinstance(error, RuntimeError)):
        return False
    return isinstance(error, dist.DistError) or any(word in str(error).lower() for word in LOST)


def stop_processes() -> None:
    """Leave the process group, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()
