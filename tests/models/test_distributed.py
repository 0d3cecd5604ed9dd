"""Several processes: the same training as one process with the same batch in all, started by torchrun and by Slurm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import ROOT, Commands, free_port
from small_runs import dcpt_options, restoration_options, weights, write

SGD = {"type": "SGD", "lr": 0.01}
Make = Callable[[str, int], Path]


@pytest.fixture
def make(photographs: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes an option file of two iterations of a batch of so many samples a process, into a folder of that name."""

    def build(name: str, batch: int, kind: Any = dcpt_options, **train: Any) -> Path:
        options = kind(photographs, tmp_path / name)
        options["train"].update(total_iter=2, optim_g=SGD, **train)
        if "optim_dc" in options["train"]:
            options["train"]["optim_dc"] = SGD
        options["datasets"]["train"]["batch_size_per_gpu"] = batch
        options["dist_params"] = {"port": free_port(), "timeout": 60}
        return write(options, tmp_path, f"{name}.yml")

    return build


def assert_equal(tmp_path: Path, *labels: str) -> None:
    """The runs "one" and "two" have the same weights and results, but for the order in which numbers were added."""
    for label in labels:
        a, b = (weights(tmp_path / home, label) for home in ("one", "two"))
        for key in sorted({"params", "params_ema"} & set(a)):
            torch.testing.assert_close(a[key], b[key], rtol=1e-4, atol=1e-5)
    lines = [(tmp_path / home / "validation.jsonl").read_text().splitlines()[-1] for home in ("one", "two")]
    one, two = (json.loads(line)["results"] for line in lines)
    for name, metrics in one.items():
        assert two[name] == pytest.approx(metrics, abs=0.01)
    curves = [(tmp_path / home / "metrics.csv").read_text().splitlines() for home in ("one", "two")]
    losses = [
        {name: float(v) for i, name, v in (row.split(",") for row in rows) if name[:6] == "losses"} for rows in curves
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


@pytest.mark.parametrize(
    ("kind", "train"),
    [
        (dcpt_options, {"accumulate": 2}),  # whose second update leaves the head without gradient
        (dcpt_options, {"schedule": "joint"}),
        (restoration_options, {"accumulate": 2, "grad_clip": 0.01}),
    ],
    ids=["alternate", "joint", "restoration"],
)
def test_two_processes_equal_one_with_the_same_batch_in_all(
    kind: Any, train: dict[str, Any], make: Any, commands: Commands, tmp_path: Path
) -> None:
    one = commands.start("basicsr/train.py", "-opt", make("one", 4, kind, **train), cwd=tmp_path)
    for process in (one, *commands.start_two(make("two", 2, kind, **train))):
        done = process.wait()
        assert done.returncode == 0, done.stderr
        assert "unused" not in done.stderr  # parameters, of which DistributedDataParallel would warn
    assert_equal(tmp_path, *(["g", "dc"] if kind is dcpt_options else ["g"]))


def test_torchrun_starts_the_processes(make: Any, tmp_path: Path) -> None:
    line = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"]
    line += [str(ROOT / "basicsr" / "train.py"), "-opt", str(make("two", 2)), "--launcher", "pytorch"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    two = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert two.returncode == 0, two.stderr
    assert "4 an iteration (2 processes)" in two.stderr
    assert two.stderr.count("Saving checkpoint 2") == 1  # only the first process speaks
    assert (tmp_path / "two" / "models" / "net_g_latest.pth").exists()


def test_slurm_starts_the_processes(make: Any, commands: Commands, tmp_path: Path) -> None:
    lister = tmp_path / "scontrol"  # stands in for the one of Slurm, which lists the nodes of a job
    lister.write_text('#!/bin/sh\n[ "$*" = "show hostname gpu[1-2]" ] && echo 127.0.0.1 && echo 127.0.0.2\n')
    lister.chmod(0o755)
    job = {"SLURM_NTASKS": "2", "SLURM_NODELIST": "gpu[1-2]", "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    line = ("basicsr/train.py", "-opt", make("two", 2), "--launcher", "slurm")
    tasks = [
        commands.start(*line, cwd=tmp_path, environment={**job, "SLURM_PROCID": task, "SLURM_LOCALID": "0"})
        for task in "01"
    ]
    for task in tasks:
        done = task.wait()
        assert done.returncode == 0, done.stderr
    assert "4 an iteration (2 processes)" in tasks[0].read()
    assert (tmp_path / "two" / "models" / "net_g_latest.pth").exists()


@pytest.mark.parametrize(("launcher", "command"), [("pytorch", "torchrun"), ("slurm", "srun")])
def test_a_launcher_without_its_command_says_which(
    launcher: str, command: str, make: Any, commands: Commands, tmp_path: Path
) -> None:
    done = commands.run("basicsr/train.py", "-opt", make("run", 2), "--launcher", launcher, cwd=tmp_path)
    assert done.returncode == 2
    assert f"error: --launcher {launcher} needs {command}" in done.stderr
    assert not (tmp_path / "run").exists()


def test_all_processes_end_when_the_first_refuses(make: Any, commands: Commands, tmp_path: Path) -> None:
    (tmp_path / "run" / "models").mkdir(parents=True)
    (tmp_path / "run" / "models" / "net_g_5.pth").write_bytes(b"")
    for process in commands.start_two(make("run", 2)):
        done = process.wait(60)
        assert done.returncode == 2
        assert "holds the checkpoints of an earlier run" in done.stderr
