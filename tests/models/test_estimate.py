"""From what a trial has measured to what a run takes, and how a trial measures it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from small_runs import completed, dcpt_options, write

from dcpt_data import build_train_loader, build_val_loaders
from dcpt_models.runtime.apart import ApartError, run_apart
from dcpt_models.training.estimate import Section, estimate, largest_batch, sections_of, times_due
from dcpt_models.training.run import Run
from dcpt_models.training.switches import turned, usual_switches
from dcpt_models.training.trial import Trial, Validated, try_run

OPT = {
    "train": {"total_iter": 1000},
    "val": {"val_freq": 300, "val_first": True},
    "logger": {"save_checkpoint_freq": 400, "keep_last": 2, "keep_best": "psnr"},
}
TRIAL = Trial(
    start=3,
    warm_up=2,
    iteration=0.5,
    waiting=0.1,
    memory=100,
    memory_validating=150,
    free=1000,
    saving=1,
    saving_state=0.25,
    saving_networks=0.5,
    checkpoint=70,
    networks=30,
    validated={"a": Validated(first=5, others=2, pixels=100)},
)


def test_a_run_is_the_sum_of_what_is_done_in_it() -> None:
    found = estimate(OPT, [(Section(1000, 64, 8), TRIAL)], 4, {"a": 10, "b": 3}, {"a": 100, "b": 200})
    # Set "b" was not looked at: its images have twice the pixels. Validation is due before the first iteration, after
    # 300, 600, 900 and 1000; a checkpoint after 400, 800 and 1000, and the state once more after the last validation.
    assert found.seconds == {
        "start": 4 + 3 + 2,
        "iterations": 500,
        "validation": 5 * (10 * 2 + 3 * 4) + (5 - 2),
        "saving": 3 * 1 + 1 * 0.25 + 0.5,
    }
    assert found.total == sum(found.seconds.values())
    assert (found.iteration, found.memory, found.free) == (0.5, 150, 1000)
    assert found.waiting == pytest.approx(0.1)
    assert found.checkpoints == 2 * 70 + 2 * 30
    assert found.guessed == ["b"]


def test_without_validation_sets_nothing_is_validated() -> None:
    found = estimate(OPT, [(Section(1000, 64, 8), TRIAL)], 0, {}, {})
    assert found.seconds["validation"] == 0
    assert found.seconds["saving"] == 3 * 1 + 0.5


@pytest.mark.parametrize(("total", "every", "due"), [(1000, 300, 4), (900, 300, 3), (200, 5000, 1), (1, 1, 1)])
def test_what_is_due_is_due_after_the_last_iteration_too(total: int, every: int, due: int) -> None:
    assert times_due(total, every) == due


def test_stages_of_progressive_training_are_sections() -> None:
    stages = [{"until": n, "gt_size": size, "batch_size_per_gpu": b} for n, size, b in ((10, 32, 8), (40, 64, 4))]
    train = {"gt_size": 128, "batch_size_per_gpu": 2, "progressive": stages}
    opt = {"datasets": {"train": train}, "train": {"total_iter": 100}}
    assert sections_of(opt) == [Section(10, 32, 8), Section(30, 64, 4), Section(60, 128, 2)]
    assert sections_of({**opt, "train": {"total_iter": 25}}) == [Section(10, 32, 8), Section(15, 64, 4)]
    slower = Trial(iteration=2, memory=500)
    found = estimate(OPT, [(Section(900, 32, 8), TRIAL), (Section(100, 64, 4), slower)], 0, {}, {})
    assert found.seconds["iterations"] == 900 * 0.5 + 100 * 2
    assert found.memory == 500


def test_the_largest_batch_is_told_by_two() -> None:
    assert largest_batch({4: 300, 8: 500}, free=1000) == 16  # 100 and 50 for each; a tenth stays free
    assert largest_batch({4: 300, 8: 500}, free=1000, step=3) == 15
    assert largest_batch({4: 300, 8: 500}, free=100) == 0
    assert largest_batch({4: 300, 8: 300}, free=1000) is None


def test_a_trial_does_what_a_run_does(photographs: Path, tmp_path: Path) -> None:
    opt = completed(write(dcpt_options(photographs, tmp_path / "run"), tmp_path))
    with Run(opt) as run:
        loader = build_train_loader(opt["datasets"]["train"])
        found = try_run(run, loader, build_val_loaders(opt["datasets"]), seconds=0, whole=True)
    assert found.measured == 2
    assert min(found.start, found.iteration, found.saving, found.saving_state, found.saving_networks) > 0
    assert 0 <= found.waiting < 1
    assert set(found.validated) == {"haze", "rain", "noise", "motion_blur", "low_light"}
    assert all(one.others > 0 and one.pixels == 96 * 112 for one in found.validated.values())
    networks = sum(file.stat().st_size for file in run.models.glob("*_1.pth"))
    assert found.networks == networks
    assert found.checkpoint == networks + (run.states / "1.state").stat().st_size
    assert 0 < found.memory <= found.memory_validating
    assert found.free > 0


def test_a_switch_is_turned_the_other_way() -> None:
    opt = {"train": {"precision": "bf16", "accumulate": 4}, "network_g": {"type": "NAFNet"}, "num_gpu": 0}
    assert turned(opt, "bf16") == ("train", "precision", "fp32")
    assert turned(opt, "accumulate") == ("train", "accumulate", 1)
    assert turned(opt, "checkpointing") == ("network_g", "checkpointing", True)
    assert turned({**opt, "train": {}}, "bf16") == ("train", "precision", "bf16")
    assert usual_switches(opt) == ["bf16", "accumulate", "checkpointing"]
    assert usual_switches({**opt, "num_gpu": 1, "network_g": {"type": "SRVGGNetCompact"}}) == [
        "bf16",
        "accumulate",
        "compile",
        "tf32",
    ]


def _end(how: str) -> str:
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "memory":
        raise torch.OutOfMemoryError("CUDA out of memory.\nmore")
    if how == "error":
        raise ValueError("wrong\nand more")
    return f"{how} in {os.getpid()}"


def test_another_process_tells_how_it_ended() -> None:
    said = run_apart(_end, "done")
    assert said.startswith("done in ")
    assert said != f"done in {os.getpid()}"
    for how, message, memory in (("error", "wrong", False), ("memory", "CUDA out of memory.", True)):
        with pytest.raises(ApartError, match=f"^{message}$") as caught:
            run_apart(_end, how)
        assert caught.value.out_of_memory == memory
    with pytest.raises(ApartError, match="ended") as caught:
        run_apart(_end, "killed")
    assert caught.value.out_of_memory
