"""The batch script of docs/TRAINING.md under Slurm, whose srun and scontrol are stood in for by two small scripts."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import ROOT, Commands, Started, free_port
from slow_data import SlowData
from small_runs import assert_same, restoration_options, weights, write

PAGE = (ROOT / "docs" / "TRAINING.md").read_text(encoding="utf-8")
SCRIPT = next(block for block in re.findall(r"```bash\n(.*?)```", PAGE, re.S) if "#SBATCH" in block)
TOTAL = 30
# srun leaves the tasks to the test and ends with the worst of their exit codes; scontrol notes what is queued again.
SRUN = """#!/bin/sh
echo "$*" > asked.partial && mv asked.partial asked
while [ ! -e code ]; do sleep 0.02; done
read code < code; rm asked code; exit "$code"
"""
SCONTROL = """#!/bin/sh
if [ "$1" = requeue ]; then echo "$2" > requeued; else echo 127.0.0.1; fi
"""


class Slurm:
    """Runs a batch script in a folder, its tasks on two processes."""

    def __init__(self, commands: Commands, file: Path) -> None:
        self.commands, self.folder, self.data = commands, file.parent, SlowData(file.parent)
        for name, text in {"srun": SRUN, "scontrol": SCONTROL}.items():
            (self.folder / name).write_text(text)
            (self.folder / name).chmod(0o755)
        (self.folder / "job.sh").write_text(SCRIPT.replace("FILE", str(file)))
        path = f"{self.folder}:{os.environ['PATH']}"
        self.job = {"SLURM_JOB_ID": "42", "SLURM_NTASKS": "2", "SLURM_NODELIST": "gpu[1-2]", "PATH": path}

    def run(self, meanwhile: Callable[[list[Started]], None] = lambda tasks: None) -> tuple[int, bool, str]:
        """Run the job once; returns its exit code, whether it is to be queued again, and what the first task said."""
        requeued = self.folder / "requeued"
        requeued.unlink(missing_ok=True)
        script = subprocess.Popen(["bash", "job.sh"], cwd=self.folder, env={**os.environ, **self.job})
        try:
            end = time.monotonic() + 60
            while not (self.folder / "asked").exists():
                assert time.monotonic() < end
                assert script.poll() is None
                time.sleep(0.02)
            name, command, *words = (self.folder / "asked").read_text().split()
            assert (name, command) == ("dcpt", "train")
            port = {"MASTER_PORT": str(free_port())}
            tasks = [
                self.commands.start(
                    "basicsr/train.py",
                    "--import",
                    self.data.file,
                    *words,
                    cwd=self.folder,
                    environment={**self.job, **port, "SLURM_PROCID": task, "SLURM_LOCALID": "0"},
                )
                for task in "01"
            ]
            meanwhile(tasks)
            codes = [task.wait().returncode for task in tasks]
            (self.folder / "code").write_text(f"{max(codes)}\n")
            code = script.wait(60)
        finally:
            script.kill()
        assert not requeued.exists() or requeued.read_text() == "42\n"
        return code, requeued.exists(), tasks[0].read()


@pytest.fixture
def file(photographs: Path, tmp_path: Path) -> Path:
    options = restoration_options(photographs, tmp_path / "run")
    train = options["datasets"]["train"]
    train.update(type=SlowData.TYPE, gt_size=16, batch_size=2, num_worker_per_gpu=1)
    del train["batch_size_per_gpu"]
    options["datasets"] = {"train": train}
    options["train"]["total_iter"] = options["train"]["scheduler"]["T_max"] = TOTAL
    options["logger"].update(print_freq=1, save_checkpoint_freq=TOTAL)
    return write(options, tmp_path)


def signalled(number: int) -> Callable[[list[Started]], None]:
    """What Slurm does before the time limit: the signal comes to every process of every task, data workers too."""

    def send(tasks: list[Started]) -> None:
        tasks[0].wait_for(", eta ")
        for task in tasks:
            task.send(number, everywhere=True)

    return send


def test_the_batch_script_queues_a_job_again_until_it_is_done(file: Path, commands: Commands) -> None:
    slurm = Slurm(commands, file)
    (said,) = re.findall(r"--signal=(\w+)@", SCRIPT)
    for number in (getattr(signal, f"SIG{said}"), signal.SIGUSR1):
        code, again, text = slurm.run(signalled(number))
        assert (code, again) == (130, True), text
        assert re.search(rf"Stopped after iteration \d+ of {TOTAL}; the state is saved", text)
    slurm.data.go()
    code, again, text = slurm.run()
    assert (code, again) == (0, False), text
    assert "Resuming from iteration" in text
    alone = file.parent / "alone"
    other = ("datasets:train:type=DegradationMixtureDataset", f"path:experiments_root={alone}")
    for process in commands.start_two(file, "--force_yml", *other):
        done = process.wait()
        assert done.returncode == 0, done.stderr
    assert_same(weights(file.parent / "run"), weights(alone))


def test_a_run_that_is_refused_is_not_queued_for_ever(file: Path, commands: Commands) -> None:
    file.write_text(file.read_text().replace("total_iter", "total_iters"))
    code, again, text = Slurm(commands, file).run()
    assert (code, again) == (2, False)
    assert "did you mean 'total_iter'" in text
