"""What can go wrong while a run trains, done to real processes, and what its user sees and loses."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import Commands
from small_runs import NAMES, assert_same, dcpt_options, restoration_options, write

from dcpt_data.datasets.sampling import ShuffledBatches
from dcpt_models.runtime.checkpoint_files import newest_state

TRAIN = "basicsr/train.py"
LINE = ", eta "  # in every log line of progress


@pytest.fixture(scope="module")
def small(photographs: Path) -> Callable[[Path], dict[str, Any]]:
    """Options of a run that has everything a checkpoint must hold, in a given folder."""

    def make(home: Path) -> dict[str, Any]:
        options = dcpt_options(photographs, home)
        options["datasets"]["train"].update(gt_size=16, batch_size_per_gpu=2)
        for name in NAMES[1:]:
            del options["datasets"][f"val_{name}"]
        options["network_g"].update(enc_blk_nums=[1], dec_blk_nums=[1])
        options["train"].update(
            total_iter=60,
            ema_decay=0.9,
            accumulate=2,
            grad_clip=1.0,
            warmup_iter=10,
            scheduler={"type": "CosineAnnealingLR", "T_max": 60},
        )
        options["val"].update(val_freq=7, metrics={"psnr": options["val"]["metrics"]["psnr"]})
        options["logger"].update(print_freq=4, save_checkpoint_freq=3, keep_last=2, keep_best="psnr")
        return options

    return make


def records(home: Path) -> dict[str, Any]:
    """All that a run has computed: what two runs have in common that are alike to the bit."""
    total = max(int(file.stem) for file in (home / "training_states").glob("*.state"))
    state = torch.load(home / "training_states" / f"{total}.state", weights_only=True)
    del state["options"]  # which name the folder
    rows = [line.split(",") for line in (home / "metrics.csv").read_text().splitlines()]
    curves = [row for row in rows if not row[1].startswith(("speed/", "memory/"))]
    networks = {file.name: torch.load(file, weights_only=True) for file in sorted((home / "models").iterdir())}
    assert any(name.endswith("_best.pth") for name in networks)
    return {
        "state": state,
        "networks": networks,
        "curves": curves,
        "validations": (home / "validation.jsonl").read_text(),
        "states": sorted(file.name for file in (home / "training_states").iterdir()),
    }


def assert_alike(a: Path, b: Path) -> None:
    found, expected = records(a), records(b)
    for key in expected:
        assert_same(found[key], expected[key])


@pytest.fixture(scope="module")
def uninterrupted(small: Any, commands: Commands, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing has happened to."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    done = commands.run(TRAIN, "-opt", write(small(folder / "run"), folder), cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "run"


def test_killed_at_ten_moments_a_run_ends_like_one_that_was_not(
    small: Any, commands: Commands, uninterrupted: Path, tmp_path: Path
) -> None:
    seed = int(os.environ.get("KILL_SEED") or int.from_bytes(os.urandom(4), "big"))
    print(f"KILL_SEED={seed} in the environment repeats these moments")
    chance = random.Random(seed)
    curves = (uninterrupted / "metrics.csv").read_text()
    pace = float(re.findall(r"speed/iterations_per_s,(.*)", curves)[-1])
    options = small(tmp_path / "run")
    options["datasets"]["train"]["num_worker_per_gpu"] = 2  # the other run has none
    file = write(options, tmp_path)
    for attempt in range(10):
        run = commands.start(TRAIN, "-opt", file, "--auto_resume", cwd=tmp_path)
        lines = chance.randrange(2)
        run.wait_for("training samples an epoch")
        while run.read().count(LINE) < lines:
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 4) / pace)
        # Every third time it is asked, in the middle of an iteration of two parts, and saves.
        number = signal.SIGTERM if attempt % 3 == 2 else signal.SIGKILL
        run.send(number)
        done = run.wait()
        assert done.returncode == (130 if number == signal.SIGTERM else -signal.SIGKILL), done.stderr
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = commands.run(TRAIN, "-opt", file, "--auto_resume", cwd=elsewhere)
    assert done.returncode == 0, done.stderr
    assert_alike(tmp_path / "run", uninterrupted)


def test_killed_at_every_moment_of_saving_a_complete_checkpoint_is_left(
    small: Any, commands: Commands, uninterrupted: Path, tmp_path: Path
) -> None:
    file = write(small(tmp_path / "run"), tmp_path)
    states, models = tmp_path / "run" / "training_states", tmp_path / "run" / "models"
    newest = 0
    # A checkpoint is two networks and the state, with a moment before, one within and one after each is written; up to
    # three files of an old one are removed then. From the last moment to the first, so that there is an old one. What
    # the best networks add in between only shifts the moments.
    for moment in range(13, 0, -1):
        run = commands.start(TRAIN, "-opt", file, "--auto_resume", cwd=tmp_path, die_at=moment)
        assert run.wait().returncode < 0
        found = newest_state(states, models)
        assert found
        assert found[1]["iter"] >= newest
        newest = found[1]["iter"]
    done = commands.run(TRAIN, "-opt", file, "--auto_resume", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not [*(tmp_path / "run").rglob("*.partial")]
    assert_alike(tmp_path / "run", uninterrupted)


def test_on_a_full_disk_the_run_fails_and_the_last_checkpoint_is_left(
    small: Any, commands: Commands, tmp_path: Path
) -> None:
    file = write(small(tmp_path / "run"), tmp_path)
    states, models = tmp_path / "run" / "training_states", tmp_path / "run" / "models"
    assert commands.run(TRAIN, "-opt", file, "--force_yml", "train:total_iter=3", cwd=tmp_path).returncode == 0
    room = (states / "3.state").stat().st_size * 9 // 10
    # The disk is full once the networks are written.
    assert room > max(file.stat().st_size for file in models.iterdir())
    done = commands.run(TRAIN, "-opt", file, "--auto_resume", cwd=tmp_path, file_limit=room)
    assert done.returncode == 1
    assert re.search(
        r"error: \S+/6.state: checkpoint not written \(File too large\); earlier ones are intact. Make room",
        done.stderr,
    )
    assert "Traceback" not in done.stderr
    found = newest_state(states, models)
    assert found
    assert found[1]["iter"] == 3
    assert not [*(tmp_path / "run").rglob("*.partial")]


def test_a_killed_worker_is_reported_and_nothing_is_lost(small: Any, commands: Commands, tmp_path: Path) -> None:
    options = small(tmp_path / "run")
    options["datasets"]["train"]["num_worker_per_gpu"] = 1
    options["train"]["total_iter"] = 10_000
    run = commands.start(TRAIN, "-opt", write(options, tmp_path), cwd=tmp_path)
    run.wait_for(LINE)
    (worker,) = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    os.kill(int(worker), signal.SIGKILL)
    done = run.wait()
    assert done.returncode == 1
    assert "error: a worker that reads training data was killed" in done.stderr
    assert "num_worker_per_gpu" in done.stderr
    assert "Traceback" not in done.stderr
    assert_saved(tmp_path / "run", done.stderr)


def assert_saved(home: Path, log: str) -> None:
    """The state that the log speaks of is there, and complete."""
    (saved,) = re.findall(r"(?:state after iteration|Stopped after iteration) (\d+)", log)
    found = newest_state(home / "training_states", home / "models")
    assert found
    assert found[1]["iter"] == int(saved)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_is_named_and_nothing_is_lost(
    workers: int, photographs: Path, commands: Commands, tmp_path: Path
) -> None:
    folder = tmp_path / "photographs"
    shutil.copytree(photographs, folder)
    options = dcpt_options(folder, tmp_path / "run")
    options["datasets"] = {"train": {**options["datasets"]["train"], "num_worker_per_gpu": workers}}
    options["datasets"]["train"]["batch_size_per_gpu"] = 1
    options["train"]["total_iter"] = 50
    options["logger"]["save_checkpoint_freq"] = 100
    # The first sample is of the other one of the two photographs, so that there is something to lose.
    ((_, first),) = next(iter(ShuffledBatches(10, 1, options["manual_seed"])))
    damaged = sorted(folder.glob("*.png"))[1 - first % 2]
    damaged.write_bytes(damaged.read_bytes()[:2000])
    done = commands.run(TRAIN, "-opt", write(options, tmp_path), cwd=tmp_path)
    assert done.returncode == 1
    assert re.search(rf"error: .*{damaged}: ", done.stderr)
    assert "Traceback" not in done.stderr
    assert_saved(tmp_path / "run", done.stderr)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_saves_the_state_and_says_how_to_go_on(
    number: int, small: Any, commands: Commands, tmp_path: Path
) -> None:
    options = small(tmp_path / "run")
    options["train"]["total_iter"] = 100_000
    options["datasets"]["train"]["num_worker_per_gpu"] = 1
    run = commands.start(TRAIN, "-opt", write(options, tmp_path), cwd=tmp_path)
    run.wait_for(LINE)
    run.send(number, everywhere=True)  # to the workers too, as Ctrl-C does
    done = run.wait()
    assert done.returncode == 130
    assert re.search(
        r"Stopped after iteration \d+ of 100000; the state is saved in \S+. To resume, .* --auto_resume", done.stderr
    )
    assert "Traceback" not in done.stderr
    assert_saved(tmp_path / "run", done.stderr)


def test_a_second_run_in_a_folder_is_refused_until_the_first_is_gone(
    small: Any, commands: Commands, tmp_path: Path
) -> None:
    options = small(tmp_path / "run")
    options["train"]["total_iter"] = 100_000
    options["datasets"]["train"]["num_worker_per_gpu"] = 1
    file = write(options, tmp_path)
    first = commands.start(TRAIN, "-opt", file, cwd=tmp_path)
    first.wait_for(LINE)
    for flags in ([], ["--auto_resume"]):
        second = commands.run(TRAIN, "-opt", file, *flags, cwd=tmp_path)
        assert second.returncode == 2
        assert f"is in use: process {first.pid} on {socket.gethostname()} is writing a run into it" in second.stderr
        assert "Traceback" not in second.stderr
    first.send(signal.SIGKILL)
    assert first.wait().returncode == -signal.SIGKILL
    third = commands.start(TRAIN, "-opt", file, "--auto_resume", cwd=tmp_path)  # the worker may still be there
    third.wait_for(LINE)
    third.send(signal.SIGTERM)
    assert third.wait().returncode == 130


def test_of_two_runs_started_at_once_one_is_refused(small: Any, commands: Commands, tmp_path: Path) -> None:
    file = write(small(tmp_path / "run"), tmp_path)
    ended = [run.wait() for run in [commands.start(TRAIN, "-opt", file, cwd=tmp_path) for _ in range(2)]]
    assert sorted(done.returncode for done in ended) == [0, 2]
    (refused,) = (done for done in ended if done.returncode == 2)
    assert "is in use: " in refused.stderr
    assert (tmp_path / "run" / "training_states" / "60.state").exists()


@pytest.mark.parametrize("method", [dcpt_options, restoration_options])  # one averages gradients itself, one by DDP
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_when_one_of_two_processes_is_gone_the_other_ends_with_a_message(
    number: int, method: Any, photographs: Path, commands: Commands, tmp_path: Path
) -> None:
    options = method(photographs, tmp_path / "run")
    options["train"].update(total_iter=100_000)
    options["dist_params"] = {"timeout": 3}
    first, second = commands.start_two(write(options, tmp_path))
    first.wait_for(LINE)
    second.send(number)
    done = first.wait(20)
    second.send(signal.SIGKILL)
    second.wait()
    assert done.returncode == 1
    assert "error: process 0 of 2 has lost contact with the others" in done.stderr
    assert re.search(r"The last checkpoint is of iteration \d+; resume with --auto_resume", done.stderr)
    assert "Traceback" not in done.stderr


def test_two_killed_processes_end_like_two_that_were_not(small: Any, commands: Commands, tmp_path: Path) -> None:
    files = []
    for name in ("whole", "killed"):
        options = small(tmp_path / name)
        options["train"].update(total_iter=20)
        files.append(write(options, tmp_path, f"{name}.yml"))
    whole = commands.start_two(files[0])
    for process in whole:
        done = process.wait()
        assert done.returncode == 0, done.stderr
    killed = commands.start_two(files[1])
    killed[0].wait_for(LINE)
    for process in killed:
        process.send(signal.SIGKILL)
        process.wait()
    asked = commands.start_two(files[1], "--auto_resume")
    asked[0].wait_for(LINE)
    asked[1].send(signal.SIGTERM)  # one of them is asked, and both stop after the same iteration
    for process in asked:
        done = process.wait()
        assert done.returncode == 130, done.stderr
    for process in commands.start_two(files[1], "--auto_resume"):
        done = process.wait()
        assert done.returncode == 0, done.stderr
    assert_alike(tmp_path / "killed", tmp_path / "whole")
