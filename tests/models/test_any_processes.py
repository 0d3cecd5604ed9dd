"""One batch whatever the number of processes: a run goes on with more or fewer, with the same samples and updates."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import Commands
from small_models import make_model
from small_runs import completed, dcpt_options, launch, restoration_options, weights, write

from dcpt_data import DataError
from dcpt_data.datasets.sampling import ShuffledBatches, Stage
from dcpt_models.errors import OptionError
from dcpt_models.optim.running_means import share_of


def stream(world_size: int, iterations: int, **arguments: Any) -> list[list[Any]]:
    """What all processes read in each iteration, in the order of the stream."""
    share = 12 // world_size
    parts = [
        islice(ShuffledBatches(7, share, 1, rank, world_size, **arguments), iterations) for rank in range(world_size)
    ]
    return [[key for batch in batches for key in batch] for batches in zip(*parts, strict=True)]


@pytest.mark.parametrize("world_size", [2, 3, 4, 12])
def test_processes_share_the_batch_of_one(world_size: int) -> None:
    stages = (Stage(until=2, gt_size=24, batch_size=24), Stage(until=3, gt_size=32, batch_size=12))
    assert stream(world_size, 6, stages=stages) == stream(1, 6, stages=stages)


def test_the_stream_goes_on_where_another_number_of_samples_was_read() -> None:
    whole = [key for batch in stream(1, 9) for key in batch]
    behind = [key for batch in stream(2, 3, start=50, position=31) for key in batch]
    assert behind == whole[31 : 31 + 36]
    assert ShuffledBatches(7, 6, 1, 0, 2, 50, position=31).samples_until(52) == 31 + 24


def options(photographs: Path, home: Path, kind: Callable[..., dict[str, Any]], total: int = 6) -> dict[str, Any]:
    made = kind(photographs, home)
    train = made["datasets"]["train"]
    del train["batch_size_per_gpu"]
    train["batch_size"] = 4
    made["train"].update(total_iter=total, samples_at_once=2)
    made["logger"].update(print_freq=total, save_checkpoint_freq=1)
    made["dist_params"] = {"timeout": 60}
    for key in [key for key in made["datasets"] if key not in ("train", "val_haze")]:
        del made["datasets"][key]
    return made


def masked(photographs: Path, home: Path) -> dict[str, Any]:
    made = dcpt_options(photographs, home)
    made["model_type"] = "MaskedDCPTModel"
    made["train"]["mask_patch"] = 8
    return made


def reached(home: Path) -> int:
    """The last iteration with a checkpoint."""
    return max((int(file.stem) for file in (home / "training_states").glob("*.state")), default=0)


@pytest.mark.parametrize("kind", [restoration_options, masked])
def test_from_four_processes_to_one_to_two_with_kills(
    kind: Any, photographs: Path, commands: Commands, tmp_path: Path
) -> None:
    launch(write(options(photographs, tmp_path / "whole", kind), tmp_path, "whole.yml"))
    file = write(options(photographs, tmp_path / "run", kind), tmp_path)
    for processes in (4, 1):
        if processes == 1:
            started = [commands.start("basicsr/train.py", "-opt", file, "--auto_resume", cwd=tmp_path)]
        else:
            line = ("-opt", file, "--launcher", "pytorch", "--auto_resume")
            started = commands.start_pair("basicsr/train.py", *line, cwd=tmp_path, processes=processes)
        saved, end = reached(tmp_path / "run"), time.monotonic() + 120
        while reached(tmp_path / "run") == saved:
            assert time.monotonic() < end, started[0].read()
            time.sleep(0.005)
        for process in started:
            process.send(signal.SIGKILL)
        for process in started:
            process.wait()
    two = commands.start_two(file, "--auto_resume")
    for process in two:
        done = process.wait()
        assert done.returncode == 0, done.stderr
    assert (
        "Changed since the checkpoint: processes: 1 -> 2 (takes effect: with datasets:train:batch_size" in two[0].read()
    )
    assert "Nothing to do" not in two[0].read()
    for label in ["g", "dc"] if kind is masked else ["g"]:
        whole, run = (weights(tmp_path / home, label) for home in ("whole", "run"))
        for key in sorted({"params", "params_ema"} & set(whole)):
            torch.testing.assert_close(run[key], whole[key], rtol=1e-6, atol=1e-6)


def test_a_batch_changed_in_between_reads_no_sample_twice(photographs: Path, tmp_path: Path) -> None:
    file = write(restoration_options(photographs, tmp_path / "run"), tmp_path)
    sizes = {1: 3, 3: 2, 4: 1}
    for total, size in sizes.items():
        force = ("--force_yml", f"train:total_iter={total}", f"datasets:train:batch_size_per_gpu={size}")
        launch(file, "--auto_resume", *force)
    states = tmp_path / "run" / "training_states"
    read = [torch.load(states / f"{total}.state", weights_only=True)["samples"] for total in sizes]
    assert read == [3, 3 + 4, 3 + 4 + 1]


@pytest.mark.parametrize(
    ("batch", "most", "parts"), [(8, None, 1), (8, 8, 1), (8, 7, 2), (6, 4, 2), (6, 2, 3), (7, 3, 7)]
)
def test_the_parts_follow_from_what_is_computed_at_once(
    batch: int, most: int | None, parts: int, photographs: Path, tmp_path: Path
) -> None:
    made = restoration_options(photographs, tmp_path)
    made["train"]["samples_at_once"] = most
    assert make_model(made, tmp_path).parts_of(batch) == parts


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"batch_size_per_gpu": 4}, "batch_size_per_gpu.*set one of them to null"),
        ({"batch_size": 0}, "batch_size"),
        ({"progressive": [{"until": 1, "gt_size": 32, "batch_size": 2, "batch_size_per_gpu": 2}]}, "set one of them"),
    ],
)
def test_what_contradicts_itself_is_refused(
    change: dict[str, Any], said: str, photographs: Path, tmp_path: Path
) -> None:
    made = options(photographs, tmp_path, restoration_options)
    made["datasets"]["train"].update(change)
    with pytest.raises(OptionError, match=said):
        completed(write(made, tmp_path))


def test_completed_options_have_the_batch_of_a_process(photographs: Path, tmp_path: Path) -> None:
    made = options(photographs, tmp_path, restoration_options)
    made["datasets"]["train"]["progressive"] = [{"until": 1, "gt_size": 24, "batch_size": 6}]
    opt = completed(write(made, tmp_path))
    train = opt["datasets"]["train"]
    assert (train["batch_size_per_gpu"], train["progressive"][0]["batch_size_per_gpu"]) == (4, 6)
    assert "batch_size" not in train
    assert opt["resolved"]["datasets"]["train"]["batch_size"] == 4  # what is archived and compared


def test_processes_that_cannot_share_a_batch_are_told_how_many_can(
    photographs: Path, commands: Commands, tmp_path: Path
) -> None:
    made = options(photographs, tmp_path / "run", restoration_options)
    made["datasets"]["train"]["batch_size"] = 9
    for process in commands.start_two(write(made, tmp_path)):
        done = process.wait()
        assert done.returncode == 2
        assert "9 samples cannot be shared evenly by 2 processes; start 1, 3, 9 of them" in done.stderr
    assert not (tmp_path / "run").exists()
    with pytest.raises(DataError, match="start 1, 3 of them"):
        Stage(until=1, gt_size=8, batch_size=3).samples_of_process(2)


def test_what_was_observed_is_shared_by_another_number_of_processes() -> None:
    observed = [{"l_pix": [4.0, 2.0]}, {"l_pix": [2.0, 2.0]}]
    assert share_of(observed, 1, 2) == {"l_pix": [2.0, 2.0]}
    assert share_of(observed, 2, 3) == {"l_pix": [3.0, 2.0]}
