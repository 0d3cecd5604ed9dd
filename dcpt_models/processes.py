"""The processes of a run: one, or several started by torchrun or Slurm."""

from __future__ import annotations

import os
import subprocess
from typing import Literal

import torch
import torch.distributed as dist

from dcpt_models.option_files import OptionError

Launcher = Literal["none", "pytorch", "slurm"]


def start_processes(
    launcher: Launcher, use_gpu: bool, backend: str | None = None, port: int = 29500
) -> tuple[int, int]:
    """Join the process group.

    Args:
        launcher: "none" for a single process; "pytorch" under torchrun; "slurm" under srun.
        use_gpu: Whether each process drives a GPU.
        backend: "nccl" or "gloo"; by default the one for the devices there are.
        port: Port of the first Slurm process.

    Returns:
        Rank of this process, number of processes.

    Raises:
        OptionError: If the launcher's variables are not set.
    """
    if launcher == "none":
        return 0, 1
    if launcher == "slurm":
        _variables_from_slurm(port)
    if "RANK" not in os.environ:
        raise OptionError(
            "--launcher pytorch needs torchrun: "
            "torchrun --nproc_per_node=N basicsr/train.py -opt FILE --launcher pytorch"
        )
    if use_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    dist.init_process_group(backend or ("nccl" if use_gpu else "gloo"))
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


def stop_processes() -> None:
    """Leave the process group, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()
