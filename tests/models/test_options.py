"""What checking an option file finds; the shipped files are in test_experiments.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_runs import completed, dcpt_options, restoration_options, write

import dcpt_arch  # noqa: F401 - registers networks
import dcpt_models  # noqa: F401 - registers models
from dcpt_data import DataError, check_folders
from dcpt_models.errors import OptionError
from dcpt_models.options.command_line import find_option_file


def _mistakes() -> dict[str, tuple[list[str], str]]:
    """Path of a key -> value, and what the message says."""
    return {
        "top level": (["nmae=x"], "unknown key 'nmae'; did you mean 'name'?"),
        "network argument": (["network_g:widht=8"], "did you mean 'width'?"),
        "network type": (["network_g:type=NAFnet"], "did you mean 'NAFNet'?"),
        "network value": (["network_g:width=wide"], "expected int"),
        "classifier argument": (["network_dc:levles=all"], "did you mean 'levels'?"),
        "classifier choice": (["network_dc:levels=deep"], "did you mean 'deepest'?"),
        "data set": (["datasets:train:gt_sise=64"], "did you mean 'gt_size'?"),
        "part": (["datasets:train:sets:rain:repeat=2"], "did you mean 'repeat_ratio'?"),
        "validation set": (["datasets:val_rain:degredation=rain"], "did you mean 'degradation'?"),
        "train": (["train:total_itre=4"], "did you mean 'total_iter'?"),
        "rate": (["train:optim_g:lr=fast"], "expected float"),
        "optimiser": (["train:optim_g:type=AdmaW"], "did you mean 'AdamW'?"),
        "optimiser argument": (["train:optim_dc:weight_dcay=0"], "did you mean 'weight_decay'?"),
        "scheduler": (["train:scheduler={type: CosineAnealingLR, T_max: 3}"], "did you mean 'CosineAnnealingLR'?"),
        "scheduler argument": (["train:scheduler={type: CosineAnnealingLR, T_mxa: 3}"], "did you mean 'T_max'?"),
        "loss": (["train:cls_opt={type: FocalLos}"], "did you mean 'FocalLoss'?"),
        "loss argument": (["train:cls_opt={type: FocalLoss, gama: 2}"], "did you mean 'gamma'?"),
        "schedule": (["train:schedule=alternat"], "did you mean 'alternate'?"),
        "metric": (["val:metrics:psnr:type=calculate_pnsr"], "did you mean 'calculate_psnr'?"),
        "metric argument": (["val:metrics:psnr:crop_boarder=0"], "did you mean 'crop_border'?"),
        "model": (["model_type=DCPTModle"], "did you mean 'DCPTModel'?"),
        "needed section": (["degradations=~"], "is needed by DCPTModel"),
        "path": (["path:pretrained_network_g=x"], "did you mean 'pretrain_network_g'?"),
        "logger": (["logger:print_frq=1"], "did you mean 'print_freq'?"),
        "scale": (["scale=4"], "expected one of 1"),
        "zero": (["logger:print_freq=0"], "must be 1 or more, not 0"),
        "negative": (["manual_seed=-1"], "must be 0 or more, not -1"),
        "negative rate": (["train:optim_dc:lr=-1e-3"], "must be 0 or more, not -0.001"),
        "share": (["train:ema_decay=1.5"], "must be below 1, not 1.5"),
        "section of data": (["datasets:vla_rain={}"], "is neither `train` nor begins with val or test"),
        "phase": (["datasets:train:phase=val"], "unknown key 'phase'"),
        "name of a set": (["datasets:val_rain:name=haze"], "'haze' is taken by datasets:val_haze"),
        "data set of the engine": (["datasets:train:type=PairedImageDataset"], "use DegradationDataset or Deg"),
        "run that is a path": (["name=grp/run1"], "is a path, and must be a name"),
        "run without a name": (["name='  '"], "must be a name, not empty"),
        "set that is a path": (["datasets:val_rain:name=../../esc"], "is a path, and must be a name"),
        "set that is the folder above": (["datasets:val_rain:name=.."], "is a path, and must be a name"),
        "section that is a path": (["datasets:val_a/../../b={}"], "is a path, and must be a name"),
        "metric that is a path": (["val:metrics:a/b={type: calculate_psnr}"], "is a path, and must be a name"),
        "name with control characters": (['name="a\\nb"'], "has control characters"),
        "name of many bytes": ([f"name={'n' * 300}"], "has 300 bytes"),
        "devices": (["num_gpu=-1"], "must be 0 or more"),
        "clipping to nothing": (["train:grad_clip=0"], "must be above 0, not 0"),
        "clipping to less": (["train:grad_clip=-1"], "must be above 0, not -1"),
        "rates of nothing": (
            ["train:optim_g:lr=0", "train:optim_dc:lr=0"],
            "is 0 for every network (optim_g, optim_dc)",
        ),
        "rate that is none": (["train:optim_g:lr=.nan"], "must be a finite number, not nan"),
        "infinity at any depth": (["datasets:train:sets:rain:parameters={strength: .inf}"], "must be a finite number"),
        "decay": (["train:optim_g:weight_decay=-1"], "must be 0 or more, not -1"),
        "betas": (
            ["train:optim_g={type: AdamW, betas: [0.9, 1.5]}"],
            "Invalid beta parameter at index 1: 1.5); fix its arguments",
        ),
        "weight of a loss": (["train:cls_opt={type: FocalLoss, loss_weight: -1}"], "must be 0 or more, not -1"),
        "weight of the engine's loss": (["train:pixel_opt={type: L1Loss, loss_weight: -1}"], "must be 0 or more"),
        "border of a metric": (["val:metrics:psnr:crop_border=-4"], "must be 0 or more, not -4"),
        "width of a network": (["network_g:width=0"], "must be 1 or more, not 0"),
        "blocks of a network": (["network_g:enc_blk_nums=[1, -1]"], "must be 0 or more, not -1"),
        "blocks without end": (["network_g:dec_blk_nums=[1, 9223372036854775808]"], "must be 1000 or less"),
        "blocks of the engine's network": (["network_g={type: EDSR, num_block: 100000000}"], "must be 1000 or less"),
        "workers without end": (["datasets:train:num_worker_per_gpu=100000000"], "must be 1024 or less"),
        "metric named by a number": (["val:metrics={1: 2}"], "'val:metrics:1'"),
        "number for a key": (["train={1: 2}"], "unknown key '1'"),
        "warm-up": (["train:warmup_iter=-2"], "must be -1 or more"),
        "port": (["dist_params={port: 70000}"], "must be 65535 or less"),
        "seed beyond 64 bits": (["manual_seed=99999999999999999999"], "must be 4294967295 or less"),
        "images of a set": (["datasets:val_rain:limit=0"], "must be 1 or more, not 0"),
        "period of nothing": (["train:scheduler={type: CosineAnnealingLR, T_max: 0}"], "must be 1 or more, not 0"),
        "milestones": (["train:scheduler={type: MultiStepLR, milestones: 3}"], "expected a list of int, got int 3"),
        "restarts": (
            ["train:scheduler={type: CosineAnnealingRestartLR, periods: [2, 2], restart_weights: [1]}"],
            "should have the same length",
        ),
        "periods that end too early": (
            ["train:scheduler={type: CosineAnnealingRestartLR, periods: [1], restart_weights: [1]}"],
            "the sum of `periods` must be train:total_iter or more",
        ),
        "an optimiser of another kind": (["train:optim_g={type: LBFGS}"], "LBFGS cannot work like this"),
    }


@pytest.mark.parametrize("mistake", _mistakes())
def test_a_mistake_is_named_with_what_would_be_right(mistake: str, photographs: Path, tmp_path: Path) -> None:
    force, message = _mistakes()[mistake]
    options = write(dcpt_options(photographs, tmp_path / "run"), tmp_path)
    completed(options)  # right before
    with pytest.raises(OptionError) as error:
        completed(options, "--force_yml", *force)
    assert message in str(error.value)
    assert force[0].partition("=")[0] in str(error.value) or mistake == "needed section"


def test_all_mistakes_are_listed_at_once_with_their_files(photographs: Path, tmp_path: Path) -> None:
    write(dcpt_options(photographs, tmp_path / "run"), tmp_path, "base.yml")
    (tmp_path / "child.yml").write_text("_base_: base.yml\ntrain: {ema: 1}\nlogger: {freq: 3}\n")
    with pytest.raises(OptionError) as error:
        completed(tmp_path / "child.yml", "--force_yml", "val:freq=3")
    text = str(error.value)
    assert "3 problems" in text
    assert text.count("child.yml: key") == 2
    assert "--force_yml: key 'val:freq'" in text


def test_sections_of_a_wrong_kind_are_named_not_crashed_on(photographs: Path, tmp_path: Path) -> None:
    options = dcpt_options(photographs, tmp_path / "run")
    for key, value in (("datasets", 3), ("train", []), ("network_g", "NAFNet"), ("val", {"metrics": 4}), ("path", 1)):
        with pytest.raises(OptionError, match=f"key '{key}"):
            completed(write({**options, key: value}, tmp_path))


def test_relative_paths_are_found_here_first_then_in_the_repository(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, root = tmp_path / "here", tmp_path / "root"
    for folder in (here / "both", root / "both", root / "only"):
        folder.mkdir(parents=True)
    options = restoration_options(photographs, tmp_path / "run")
    options["datasets"] = {
        "train": {**options["datasets"]["train"], "sets": {"a": {"degradation": "rain", "dataroot_gt": "both"}}},
        "val_b": {"name": "b", "type": "DegradationDataset", "degradation": "rain", "dataroot_gt": "only"},
        "val_c": {"name": "c", "type": "DegradationDataset", "lmdb": "only"},
    }
    file = write(options, root)
    monkeypatch.chdir(here)
    opt = completed(file)
    assert opt["datasets"]["train"]["sets"]["a"]["dataroot_gt"] == str(here / "both")
    assert opt["datasets"]["val_b"]["dataroot_gt"] == opt["datasets"]["val_c"]["lmdb"] == str(root / "only")


def test_debug_is_what_it_is_in_basicsr(photographs: Path, tmp_path: Path) -> None:
    opt = completed(write(dcpt_options(photographs, tmp_path / "run"), tmp_path), "--debug")
    assert opt["name"] == "debug_tiny"
    assert (opt["val"]["val_freq"], opt["logger"]["print_freq"], opt["logger"]["save_checkpoint_freq"]) == (8, 1, 8)


def test_forced_values_add_up_over_several_switches(photographs: Path, tmp_path: Path) -> None:
    file = write(dcpt_options(photographs, tmp_path / "run"), tmp_path)
    opt = completed(file, "--force_yml", "manual_seed=3", "--force_yml", "train:total_iter=9")
    assert (opt["manual_seed"], opt["train"]["total_iter"]) == (3, 9)


def test_a_degradation_that_is_no_class_is_named_before_training(photographs: Path, tmp_path: Path) -> None:
    opt = completed(write(dcpt_options(photographs, tmp_path / "run"), tmp_path))
    with pytest.raises(DataError, match=r"datasets:train:low_light: .*'low_light' is not among `degradations`"):
        check_folders(opt["datasets"], ["haze", "rain", "noise", "motion_blur", "dark"])


def test_several_gpus_are_for_torchrun(photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    options = {**dcpt_options(photographs, tmp_path / "run"), "num_gpu": 4}
    with pytest.raises(OptionError, match="torchrun --nproc_per_node=4"):
        completed(write(options, tmp_path))


def test_a_gpu_that_is_not_there_is_named(photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    options: dict[str, Any] = {**dcpt_options(photographs, tmp_path / "run"), "num_gpu": 1}
    with pytest.raises(OptionError, match="finds no GPU"):
        completed(write(options, tmp_path))


def test_a_name_that_no_option_file_has_is_answered_with_the_nearest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "options" / "5d").mkdir(parents=True)
    (tmp_path / "options" / "5d" / "finetune_swinir_5d.yml").write_text("name: x\n")
    with pytest.raises(OptionError, match=r"no option file 'finetune_swinir'; did you mean 'finetune_swinir_5d'\?"):
        find_option_file("finetune_swinir", tmp_path)
    assert find_option_file("finetune_swinir_5d", tmp_path).is_file()


@pytest.mark.parametrize("name", ["a" * 300, "a\0b", "~nobody-of-this-name/x"], ids=["long", "zero", "home"])
def test_what_can_be_no_path_is_refused(name: str, photographs: Path, tmp_path: Path) -> None:
    options = dcpt_options(photographs, tmp_path)
    options["datasets"]["train"]["sets"]["haze"]["dataroot_gt"] = name
    with pytest.raises(OptionError, match=r"cannot be a path \(.*\); name a file or folder"):
        completed(write(options, tmp_path))
