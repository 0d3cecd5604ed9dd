"""The folder of a run: kept from others, resumed from what is complete, and never overwritten."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import assert_same, completed, dcpt_options, launch, restoration_options, weights, write

from dcpt_arch.checkpoints.loading import CheckpointError
from dcpt_models.analysis.run_records import validations
from dcpt_models.errors import OptionError
from dcpt_models.training.run import Run


def test_a_run_goes_on_from_a_state_elsewhere(photographs: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    launch(write(dcpt_options(photographs, first), tmp_path))
    options = dcpt_options(photographs, second)
    options["path"]["resume_state"] = str(first / "training_states" / "2.state")
    launch(write(options, tmp_path))
    assert_same(weights(second), weights(first))
    with pytest.raises(OptionError, match="--auto_resume"):  # its own folder holds checkpoints now
        launch(write(options, tmp_path))


def test_debug_runs_beside_the_real_one(photographs: Path, tmp_path: Path) -> None:
    home = tmp_path / "run"
    file = write(dcpt_options(photographs, home), tmp_path)
    launch(file)
    launch(file, "--debug")
    launch(file, "--debug")
    assert (home / "training_states" / "3.state").exists()
    assert (tmp_path / "debug_run" / "training_states" / "3.state").exists()


def test_an_existing_run_is_never_overwritten(photographs: Path, tmp_path: Path) -> None:
    home = tmp_path / "run"
    file = write(dcpt_options(photographs, home), tmp_path)
    launch(file)
    before = (home / "models" / "net_g_latest.pth").read_bytes()
    with pytest.raises(OptionError, match="--auto_resume"):
        launch(file)
    assert (home / "models" / "net_g_latest.pth").read_bytes() == before


def test_a_run_without_checkpoints_is_moved_away(photographs: Path, tmp_path: Path) -> None:
    home = tmp_path / "run"
    (home / "training_states").mkdir(parents=True)
    (home / "notes.txt").write_text("mine")
    launch(write(dcpt_options(photographs, home), tmp_path))
    (moved,) = tmp_path.glob("run_archived_*")
    assert (moved / "notes.txt").read_text() == "mine"


def _photographs_of_a_user(home: Path) -> None:
    (home / "holidays").mkdir()
    (home / "1.png").write_text("mine")


def _a_run_among_other_things(home: Path) -> None:
    (home / "training_states").mkdir()
    (home / "holidays").mkdir()


def _table_of_a_user(home: Path) -> None:
    (home / "metrics.csv").write_text("mine")


@pytest.mark.parametrize(
    ("fill", "flags"),
    [
        (_photographs_of_a_user, []),
        (_photographs_of_a_user, ["--auto_resume"]),
        (_photographs_of_a_user, ["--debug"]),
        (_table_of_a_user, []),
        (_table_of_a_user, ["--auto_resume"]),
        (_a_run_among_other_things, []),
    ],
)
def test_a_folder_that_is_no_runs_is_left_alone(
    fill: Callable[[Path], None], flags: list[str], photographs: Path, tmp_path: Path
) -> None:
    home = tmp_path / ("debug_mine" if flags == ["--debug"] else "mine")
    home.mkdir()
    fill(home)
    before = {entry.name for entry in home.rglob("*")}
    opt = completed(write(dcpt_options(photographs, tmp_path / "mine"), tmp_path), *flags)
    with pytest.raises(OptionError, match=r"key 'path:experiments_root': .* is not the folder of a run.*mine/.*tiny"):
        Run(opt)
    assert {entry.name for entry in home.rglob("*")} == before
    assert {entry.name for entry in tmp_path.iterdir()} == {home.name, "options.yml"}


def test_a_file_in_the_place_of_the_folder_is_named(photographs: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("a letter")
    with pytest.raises(OptionError, match="mine is there and is not the folder of a run"):
        Run(completed(write(dcpt_options(photographs, tmp_path / "mine"), tmp_path)))
    assert (tmp_path / "mine").read_text() == "a letter"


@pytest.mark.parametrize("flags", [[], ["--auto_resume"]], ids=str)
def test_a_folder_that_a_scheduler_has_made_is_used_as_it_is(
    flags: list[str], photographs: Path, tmp_path: Path
) -> None:
    home = tmp_path / "run"
    home.mkdir()
    (home / "slurm-1.out").write_text("begun")
    with Run(completed(write(dcpt_options(photographs, home), tmp_path), *flags)):
        assert (home / "slurm-1.out").read_text() == "begun" and (home / "models").is_dir()
    assert not list(tmp_path.glob("*_archived_*"))


def test_the_archived_options_run_by_themselves(photographs: Path, tmp_path: Path) -> None:
    base = dcpt_options(photographs, tmp_path / "first")
    write(base, tmp_path, "base.yml")
    file = tmp_path / "child.yml"
    file.write_text("_base_: base.yml\ntrain: {schedule: joint}\n")
    launch(file, "--force_yml", "train:total_iter=1")
    archived = tmp_path / "first" / "child.yml"
    home = tmp_path / "second"
    launch(archived, "--force_yml", f"path:experiments_root={home}")
    assert_same(weights(home), weights(tmp_path / "first"))


def _shorten(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:1000])


def _flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def _replace(file: Path) -> None:
    shutil.copy(file.with_name(file.name.replace("3", "2")), file)


@pytest.fixture(scope="module")
def finished(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of three iterations with checkpoints after the second and the third."""
    folder = tmp_path_factory.mktemp("finished")
    launch(write(restoration_options(photographs, folder / "run"), folder))
    return folder / "run"


@pytest.fixture
def run(finished: Path, photographs: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Puts a copy of that run into a folder and gives its options, changed by forced ones."""
    shutil.copytree(finished, tmp_path / "run")
    file = write(restoration_options(photographs, tmp_path / "run"), tmp_path)

    def make(*force: str, flags: tuple[str, ...] = ("--auto_resume",)) -> dict[str, Any]:
        return completed(file, *flags, *(["--force_yml", *force] if force else []))

    return make


@pytest.mark.parametrize(
    ("name", "damage", "reason"),
    [
        ("training_states/3.state", _shorten, "truncated"),
        ("training_states/3.state", _flip_a_bit, "damaged"),
        ("models/net_g_3.pth", _shorten, "damaged, or not the one that was saved with it"),
        ("models/net_g_3.pth", _flip_a_bit, "damaged, or not the one that was saved with it"),
        ("models/net_g_3.pth", _replace, "damaged, or not the one that was saved with it"),
        ("models/net_g_3.pth", Path.unlink, "net_g_3.pth is missing"),
    ],
)
def test_an_incomplete_checkpoint_is_passed_over_with_the_reason(
    name: str, damage: Callable[[Path], Any], reason: str, run: Any, tmp_path: Path, capsys: Any
) -> None:
    damage(tmp_path / "run" / name)
    with Run(run()) as opened:
        assert opened.start == 2
    log = capsys.readouterr().err
    assert "Passed over" in log
    assert "3.state" in log
    assert reason in log
    (tmp_path / "run" / "training_states" / "2.state").write_bytes(b"")
    with pytest.raises(CheckpointError, match="no checkpoint is complete"):
        Run(run())


def test_a_state_of_the_engine_is_refused_with_the_way_out(run: Any, tmp_path: Path) -> None:
    torch.save({"epoch": 0, "iter": 5, "optimizers": [], "schedulers": []}, tmp_path / "5.state")
    with pytest.raises(CheckpointError, match=r"not a training state of this package; .* path:pretrain_network_g"):
        Run(run(f"path:resume_state={tmp_path}/5.state", f"path:experiments_root={tmp_path}/new", flags=()))
    assert not (tmp_path / "new").exists()


def test_going_back_needs_the_newer_checkpoints_removed(run: Any, tmp_path: Path) -> None:
    states = tmp_path / "run" / "training_states"
    options = run(f"path:resume_state={states}/2.state", flags=())
    with pytest.raises(OptionError, match="holds checkpoints after iteration 2, up to 3"):
        Run(options)
    (states / "3.state").unlink()
    with Run(options) as opened:
        assert opened.start == 2


def test_what_comes_again_is_removed_from_the_records(run: Any, tmp_path: Path) -> None:
    home = tmp_path / "run"
    (home / "training_states" / "3.state").unlink()
    with (home / "metrics.csv").open("a") as file:
        file.write("3,losses/l_pi")  # killed while it wrote
    with Run(run()):
        pass
    rows = [line.split(",") for line in (home / "metrics.csv").read_text().splitlines()]
    assert rows[0] == ["iteration", "name", "value"]
    assert {row[0] for row in rows[1:]} == {"1", "2"}
    assert (home / "validation.jsonl").read_text() == ""


def test_changed_options_are_named_with_what_becomes_of_them(
    run: Any, photographs: Path, tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / "run" / "training_states" / "3.state").unlink()
    forced = {
        "train:optim_g:lr": "0.5",
        "train:scheduler:T_max": "9",
        "train:total_iter": "4",
        "train:ema_decay": "0.5",
        "train:grad_clip": "~",
        "datasets:train:batch_size_per_gpu": "2",
        "datasets:train:num_worker_per_gpu": "1",
        "path:param_key_g": "params",
        "logger:print_freq": "1",
    }
    launch(
        tmp_path / "options.yml", "--auto_resume", "--force_yml", *(f"{key}={value}" for key, value in forced.items())
    )
    log = capsys.readouterr().err
    lines = dict(
        line.split("Changed since the checkpoint: ")[1].split(": ", 1) for line in log.splitlines() if "Changed" in line
    )
    assert lines == {
        "train:optim_g:lr": "0.001 -> 0.5 (overruled by the training state; a new run from its weights takes it up "
        "(path:pretrain_network_g))",
        "train:scheduler:T_max": "3 -> 9 (overruled by the training state; a new run from its weights takes it up "
        "(path:pretrain_network_g))",
        "train:total_iter": "3 -> 4 (takes effect, but a scheduler keeps its course)",
        "train:ema_decay": "0.9 -> 0.5 (takes effect)",
        "train:grad_clip": "0.1 -> None (takes effect)",
        "datasets:train:batch_size_per_gpu": "4 -> 2 (takes effect: from here on, an iteration has another batch; "
        "the stream of samples goes on where it was)",
        "datasets:train:num_worker_per_gpu": "not set -> 1 (takes effect; results do not depend on it)",
        "path:param_key_g": "not set -> params (without effect: the weights are the checkpoint's)",
    }
    # What is said to be overruled is.
    state = torch.load(tmp_path / "run" / "training_states" / "4.state", weights_only=True)
    assert state["optimizers"][0]["param_groups"][0]["initial_lr"] == 1e-3
    assert state["schedulers"]["schedulers"][0]["T_max"] == 3
    # The next time, only what has changed since then is named.
    launch(tmp_path / "options.yml", "--auto_resume", "--force_yml", "train:total_iter=4")
    assert "Changed since the checkpoint: train:total_iter" not in capsys.readouterr().err


def test_an_optimiser_of_another_type_cannot_go_on(run: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="the training state is of AdamW, the options ask for SGD; continue with"):
        launch(tmp_path / "options.yml", "--auto_resume", "--force_yml", "train:optim_g={type: SGD, lr: 0.1}")


def test_layout_and_implementation_may_change_on_the_way(run: Any, tmp_path: Path) -> None:
    # A fused optimiser that is given states in another layout would mix up their entries silently.
    whole = weights(tmp_path / "run")
    for file in (tmp_path / "run").glob("*/*3*"):
        file.unlink()
    force = ["train:channels_last=false", "train:optim_g:fused=false"]
    launch(tmp_path / "options.yml", "--auto_resume", "--force_yml", *force)
    for key, tensors in weights(tmp_path / "run").items():
        torch.testing.assert_close(tensors, whole[key], rtol=1e-4, atol=1e-6)


def test_old_checkpoints_are_removed_and_the_best_networks_are_kept(photographs: Path, tmp_path: Path) -> None:
    home = tmp_path / "run"
    options = restoration_options(photographs, home)
    options["train"].update(total_iter=5)
    options["train"]["optim_g"]["lr"] = 0.5  # it only gets worse
    options["train"]["scheduler"] = None
    options["val"].update(val_freq=1, val_first=True)
    options["logger"].update(save_checkpoint_freq=1, keep_last=2, keep_best="psnr")
    launch(write(options, tmp_path))
    assert {file.name for file in (home / "training_states").iterdir()} == {"4.state", "5.state"}
    assert {file.name for file in (home / "models").iterdir()} == {
        f"net_g_{name}.pth" for name in ("4", "5", "latest", "best")
    }
    best = torch.load(home / "training_states" / "5.state", weights_only=True)["best"]["average"]["psnr"]
    options["train"]["total_iter"] = best["iter"]
    options["path"]["experiments_root"] = str(tmp_path / "again")
    assert best["iter"] < 4
    if best["iter"]:
        launch(write(options, tmp_path))
        assert_same(weights(home, iteration="best"), weights(tmp_path / "again"))


@pytest.mark.parametrize(
    ("force", "message"),
    [
        ("logger:keep_best=pnsr", "'pnsr' is not measured in validation; did you mean 'psnr'?"),
        ("logger:keep_last=0", "must be 1 or more, not 0"),
        ("train:accumulate=3", "must divide batch_size_per_gpu, 4: 1, 2, 4"),
        ("train:precision=fp8", "expected one of 'fp32', 'bf16', 'fp16'"),
        ("train:max_bad_steps=0", "must be 1 or more, not 0"),
        ("dist_params:timeout=0", "must be 1 or more, not 0"),
    ],
)
def test_options_that_do_not_go_together_are_refused(force: str, message: str, run: Any) -> None:
    with pytest.raises(OptionError) as error:
        run(force)
    assert message in str(error.value)


@pytest.mark.parametrize("total", [3, 2])
def test_a_run_that_is_done_says_that_there_is_nothing_to_do(total: int, run: Any, tmp_path: Path, capsys: Any) -> None:
    run()
    launch(tmp_path / "options.yml", "--auto_resume", "--force_yml", f"train:total_iter={total}")
    log = capsys.readouterr().err
    assert f"Nothing to do: the checkpoint is of iteration 3 and train:total_iter is {total}" in log
    assert "raise train:total_iter above 3" in log and "Done" not in log


def test_a_saved_schedule_that_ends_before_a_longer_run_is_refused(photographs: Path, tmp_path: Path) -> None:
    options = restoration_options(photographs, tmp_path / "run")
    periods = {"type": "CosineAnnealingRestartLR", "periods": [3], "restart_weights": [1]}
    options["train"]["scheduler"] = periods
    launch(write(options, tmp_path))
    longer = ["train:total_iter=900", "train:scheduler:periods=[900]"]
    with pytest.raises(OptionError, match="key 'train:total_iter': the schedule of the training state fails"):
        launch(tmp_path / "options.yml", "--auto_resume", "--force_yml", *longer)


def test_a_validation_that_is_not_finite_is_valid_json(photographs: Path, tmp_path: Path) -> None:
    home = tmp_path / "run"
    with Run(completed(write(restoration_options(photographs, home), tmp_path))) as run:
        run.record(3, {"haze": {"psnr": float("nan"), "ssim": 0.5}})
    (line,) = (home / "validation.jsonl").read_text().splitlines()
    assert json.loads(line, parse_constant=pytest.fail)["results"] == {"haze": {"psnr": None, "ssim": 0.5}}
    read = validations(home)[3]["haze"]
    assert math.isnan(read["psnr"]) and read["ssim"] == 0.5
    (home / "validation.jsonl").write_text('{"iteration": 4, "results": {"haze": {"psnr": NaN}}}\n')  # of before
    assert math.isnan(validations(home)[4]["haze"]["psnr"])
