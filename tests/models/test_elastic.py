"""Elastic runs by torchrun: workers and agents are killed and nodes join, and the run ends like one left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from commands import ROOT, free_port
from slow_data import SlowData
from small_runs import launch, restoration_options, weights, write

SECONDS = 150


class Elastic:
    """A run in a folder and the agents that have been started for it."""

    def __init__(self, photographs: Path, folder: Path) -> None:
        self.folder, self.home = folder, folder / "run"
        self.agents: list[subprocess.Popen] = []
        self.logs: list[Path] = []
        self.data = SlowData(folder)
        options = restoration_options(photographs, self.home)
        train = options["datasets"]["train"]
        train.update(type=SlowData.TYPE, batch_size=2)
        del train["batch_size_per_gpu"]
        options["datasets"] = {"train": train}
        options["train"].update(total_iter=60, optim_g={"type": "AdamW", "lr": 1e-4})
        options["logger"].update(print_freq=60, save_checkpoint_freq=1, keep_last=2)
        options["dist_params"] = {"timeout": 60}
        self.file = write(options, folder)

    def start(self, *flags: str) -> subprocess.Popen:
        """Start an agent, as the documentation says, with shorter times to wait."""
        torchrun = [sys.executable, "-m", "torch.distributed.run", *flags, "--monitor-interval=0.1"]
        line = [*torchrun, str(ROOT / "basicsr" / "train.py"), "--import", str(self.data.file)]
        line += ["-opt", str(self.file), "--launcher", "pytorch", "--auto_resume"]
        self.logs.append(self.folder / f"agent_{len(self.agents)}.log")
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        environment["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
        with self.logs[-1].open("w") as log:
            agent = subprocess.Popen(
                line, cwd=self.folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        self.agents.append(agent)
        return agent

    def said(self) -> str:
        """All that was written."""
        return "".join(log.read_text() for log in self.logs)

    def until(self, met: Callable[[], bool]) -> None:
        """Wait for something."""
        end = time.monotonic() + SECONDS
        while not met():
            assert time.monotonic() < end, self.said()
            time.sleep(0.02)

    def reached(self, processes: int, times: int = 1) -> None:
        """Wait until so many processes have trained for an iteration, the so-manieth time."""
        text = f"2 an iteration ({processes} processes"
        self.until(lambda: self.said().count(text) >= times)
        before = self.last()
        self.until(lambda: self.last() > before)

    def last(self) -> int:
        """The last iteration with a checkpoint."""
        return max((int(file.stem) for file in (self.home / "training_states").glob("*.state")), default=0)

    def workers(self, agent: subprocess.Popen) -> list[int]:
        """The training processes of an agent."""
        children = Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text()
        return [int(child) for child in children.split()]

    def ends_like_one_left_alone(self) -> None:
        """Let the run end, and compare."""
        assert self.last() < 60
        self.data.go()
        for agent in self.agents:
            if agent.returncode is None:
                assert agent.wait(SECONDS) == 0, self.said()
        alone = ("datasets:train:type=DegradationMixtureDataset", f"path:experiments_root={self.folder / 'alone'}")
        launch(self.file, "--force_yml", "logger:save_checkpoint_freq=60", *alone)
        expected, here = weights(self.folder / "alone"), weights(self.home)
        for key in ("params", "params_ema"):
            torch.testing.assert_close(here[key], expected[key], rtol=1e-5, atol=1e-6)


@pytest.fixture
def elastic(photographs: Path, tmp_path: Path) -> Iterator[Elastic]:
    made = Elastic(photographs, tmp_path)
    yield made
    for agent in made.agents:
        if agent.poll() is None:
            os.killpg(agent.pid, signal.SIGKILL)
            agent.wait()


def test_a_killed_worker_an_agent_that_is_gone_and_a_node_that_joins(elastic: Elastic) -> None:
    port = free_port()
    flags = ("--nnodes=1:2", "--nproc-per-node=1", "--max-restarts=3", "--rdzv-backend=c10d", "--rdzv-id=test")
    flags += (f"--rdzv-endpoint=127.0.0.1:{port}", "--rdzv-conf=last_call_timeout=1")
    first = elastic.start(*flags)
    elastic.reached(1)
    second = elastic.start(*flags)
    elastic.reached(2)
    os.kill(elastic.workers(first)[0], signal.SIGKILL)
    elastic.reached(2, times=2)
    for worker in elastic.workers(second):
        os.kill(worker, signal.SIGKILL)
    os.kill(second.pid, signal.SIGKILL)
    second.wait()
    elastic.reached(1, times=2)
    elastic.ends_like_one_left_alone()
