"""The training loop: reproducible, independent of workers, exact after an interruption, careful with folders."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from basicsr.utils.registry import LOSS_REGISTRY
from small_runs import assert_same, completed, dcpt_options, launch, restoration_options, weights, write

from dcpt_arch.checkpoints.loading import CheckpointError
from dcpt_data import DataError, build_train_loader, build_val_loaders
from dcpt_models.errors import OptionError, Stopped
from dcpt_models.methods.restoration_model import RestorationModel
from dcpt_models.training.loop import train
from dcpt_models.training.run import Run


def logged_losses(home: Path) -> list[str]:
    text = "".join(file.read_text() for file in sorted(home.glob("train_*.log")))
    return re.findall(r"l_pix \S+(?: acc \S+ l_cls \S+)?", text)


@pytest.fixture(params=[dcpt_options, restoration_options])
def make_options(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_a_run_writes_what_basicsr_users_expect(photographs: Path, tmp_path: Path) -> None:
    home = tmp_path / "run"
    results = launch(write(dcpt_options(photographs, home), tmp_path))
    assert {file.name for file in (home / "models").iterdir()} == {
        f"net_{label}_{iteration}.pth" for label in ("g", "dc") for iteration in (2, 3, "latest")
    }
    assert {file.name for file in (home / "training_states").iterdir()} == {"2.state", "3.state"}
    assert set(weights(home)) == {"params"}
    assert set(results) == {"haze", "rain", "noise", "motion_blur", "low_light", "average", "accuracy by class"}
    assert set(results["average"]) == {"psnr", "ssim", "accuracy"}
    names = ["haze", "rain", "noise", "motion_blur", "low_light"]
    for metric in ("psnr", "ssim", "accuracy"):
        mean = sum(results[name][metric] for name in names) / 5
        assert results["average"][metric] == pytest.approx(mean)
    line = json.loads((home / "validation.jsonl").read_text().splitlines()[-1])
    assert line == {"iteration": 3, "results": results}


def test_the_moving_average_is_saved_beside_the_weights(photographs: Path, tmp_path: Path) -> None:
    home = tmp_path / "run"
    launch(write(restoration_options(photographs, home), tmp_path))
    saved = weights(home)
    assert set(saved) == {"params", "params_ema"}
    assert not torch.equal(saved["params"]["ending.weight"], saved["params_ema"]["ending.weight"])


def test_two_runs_with_one_seed_are_identical_and_another_seed_is_not(
    make_options: Any, photographs: Path, tmp_path: Path
) -> None:
    homes = [tmp_path / name for name in "abc"]
    for home, seed in zip(homes, (7, 7, 8), strict=True):
        options = {**make_options(photographs, home), "manual_seed": seed}
        launch(write(options, tmp_path))
    assert_same(weights(homes[0]), weights(homes[1]))
    assert logged_losses(homes[0]) == logged_losses(homes[1]) != logged_losses(homes[2])


def test_results_do_not_depend_on_the_number_of_workers(photographs: Path, tmp_path: Path) -> None:
    homes = [tmp_path / "none", tmp_path / "two"]
    for home, workers in zip(homes, (0, 2), strict=True):
        options = dcpt_options(photographs, home)
        options["datasets"]["train"]["num_worker_per_gpu"] = workers
        launch(write(options, tmp_path))
    assert_same(weights(homes[0]), weights(homes[1]))
    assert logged_losses(homes[0]) == logged_losses(homes[1])


@pytest.mark.parametrize(
    ("kind", "train"),
    [
        (dcpt_options, {}),
        (restoration_options, {}),
        (
            restoration_options,
            {"precision": "fp16", "accumulate": 2, "optim_g": {"type": "SGD", "lr": 0.1, "momentum": 0.9}},
        ),
    ],
)
def test_an_interrupted_run_resumes_exactly(
    kind: Any, train: dict[str, Any], photographs: Path, tmp_path: Path
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for home in (whole, broken):
        options = kind(photographs, home)
        options["train"].update(train)
        file = write(options, tmp_path)
        launch(file)
    for saved in [*broken.glob("*/net_*_3.pth"), *broken.glob("*/3.state"), *broken.glob("*/*latest*")]:
        saved.unlink()  # as if it had been killed after its checkpoint at iteration 2
    launch(file, "--auto_resume")
    assert_same(weights(broken), weights(whole))
    states = [torch.load(home / "training_states" / "3.state", weights_only=True) for home in (whole, broken)]
    for state in states:
        del state["options"]  # which name the folder
    assert_same(states[0], states[1])
    assert (states[0]["loss_scale"] is None) == (train == {})


class Altered:
    """A loader whose batches something happens to; `change` gets the number of each, from 1, and the batch."""

    def __init__(self, loader: Any, change: Callable[[int, Any], Any]) -> None:
        self.loader, self.change = loader, change
        self.dataset, self.batch_sampler = loader.dataset, loader.batch_sampler

    def __iter__(self) -> Any:
        for number, batch in enumerate(self.loader, 1):
            self.change(number, batch)
            yield batch


def train_altered(file: Path, change: Callable[[int, Any], Any], *flags: str, validating: bool = False) -> None:
    """Train with something happening to the training batches, or to the validation batches."""
    opt = completed(file, *flags)
    with Run(opt) as run:
        loader: Any = build_train_loader(opt["datasets"]["train"], start=run.start)
        val_loaders: list[Any] = build_val_loaders(opt["datasets"])
        if validating:
            val_loaders = [Altered(each, change) for each in val_loaders]
        else:
            loader = Altered(loader, change)
        train(run, loader, val_loaders)


@pytest.mark.parametrize("validating", [False, True])
def test_ctrl_c_saves_the_state_and_the_run_goes_on_from_it(
    validating: bool, photographs: Path, tmp_path: Path
) -> None:
    whole, home = tmp_path / "whole", tmp_path / "run"
    for folder in (whole, home):
        options = dcpt_options(photographs, folder)
        options["val"]["val_freq"] = 1
        file = write(options, tmp_path)
        if folder == whole:
            launch(file)
    with pytest.raises(Stopped, match="after iteration 1 of 3"):
        train_altered(file, lambda *_: os.kill(os.getpid(), signal.SIGINT), validating=validating)
    assert (home / "training_states" / "1.state").exists()
    validated = (home / "validation.jsonl").read_text() if (home / "validation.jsonl").exists() else ""
    assert validated == ""  # not even in part
    launch(file, "--auto_resume")
    assert_same(weights(home), weights(whole))
    assert (home / "validation.jsonl").read_text() == (whole / "validation.jsonl").read_text()


def spoil(number: int, batch: Any, first: int, last: int = 10**6) -> None:
    """Put NaN into the first image of a range of batches."""
    if first <= number <= last:
        batch["lq"][0, 0, 0, 0] = float("nan")


def test_a_batch_with_nan_is_left_out_and_its_files_are_named(photographs: Path, tmp_path: Path, capsys: Any) -> None:
    options = restoration_options(photographs, tmp_path / "run")
    options["datasets"]["train"]["sets"] = {"rain": {"degradation": "rain", "dataroot_gt": str(photographs)}}
    options["datasets"]["train"]["batch_size_per_gpu"] = 1
    options["logger"].update(print_freq=3, save_checkpoint_freq=1)
    train_altered(write(options, tmp_path), lambda *at: spoil(*at, 2, 2))
    before, after, last = (weights(tmp_path / "run", iteration=n) for n in (1, 2, 3))
    assert_same(after["params"], before["params"])
    assert not torch.equal(last["params"]["ending.weight"], after["params"]["ending.weight"])
    log = capsys.readouterr().err
    named = re.search(r"WARNING: Iteration 2: no update, since a loss is NaN or infinite. It had read (\S+)", log)
    assert named
    assert Path(named[1]).parent == photographs
    assert re.search(r"\[3/3, .* l_pix \d", log)  # the mean of the others


def test_nan_in_a_row_stops_the_run_with_the_state_saved(photographs: Path, tmp_path: Path) -> None:
    options = restoration_options(photographs, tmp_path / "run")
    options["train"].update(total_iter=9, max_bad_steps=3)
    options["logger"].update(print_freq=100, save_checkpoint_freq=100)
    file = write(options, tmp_path)
    with pytest.raises(FloatingPointError, match=r"the last 3 iterations made no update.*\.png.*saved as iteration 6"):
        train_altered(file, lambda *at: spoil(*at, 4))
    assert (
        not torch.load(tmp_path / "run" / "models" / "net_g_6.pth", weights_only=True)["params"]["ending.weight"]
        .isnan()
        .any()
    )
    launch(file, "--auto_resume")  # with batches that are sound
    assert (tmp_path / "run" / "training_states" / "9.state").exists()


def test_a_run_that_is_resumed_remembers_how_many_were_bad(photographs: Path, tmp_path: Path) -> None:
    options = restoration_options(photographs, tmp_path / "run")
    options["train"].update(total_iter=9, max_bad_steps=3)
    file = write(options, tmp_path)

    def change(number: int, batch: Any) -> None:
        spoil(number, batch, 2)
        if number == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped):
        train_altered(file, change)
    with pytest.raises(FloatingPointError, match=r"the last 3 iterations made no update.*saved as iteration 4"):
        train_altered(file, lambda *at: spoil(*at, 1), "--auto_resume")


def test_weights_that_are_not_finite_are_never_saved(photographs: Path, tmp_path: Path) -> None:
    options = restoration_options(photographs, tmp_path / "run")
    options["train"].update(optim_g={"type": "SGD", "lr": 1e39}, warmup_iter=-1, grad_clip=None, scheduler=None)
    options["logger"]["save_checkpoint_freq"] = 1
    with pytest.raises(
        FloatingPointError, match="weights are NaN or infinite after iteration 1, so they are not saved"
    ):
        launch(write(options, tmp_path))
    assert not list((tmp_path / "run" / "models").iterdir())


def test_an_error_while_validating_loses_nothing(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = dcpt_options(photographs, tmp_path / "run")
    options["logger"]["save_checkpoint_freq"] = 100
    options["val"]["val_freq"] = 2

    def fail(*_: Any, **__: Any) -> None:
        raise DataError("an image is damaged")

    monkeypatch.setattr("dcpt_models.methods.base_model.DegradationModel.validate", fail)
    with pytest.raises(DataError):
        launch(write(options, tmp_path))
    assert (tmp_path / "run" / "training_states" / "2.state").exists()


def test_a_network_that_refuses_its_arguments_is_an_option_error(photographs: Path, tmp_path: Path) -> None:
    options = dcpt_options(photographs, tmp_path / "run")
    options["network_g"]["dec_blk_nums"] = [1]
    with pytest.raises(OptionError, match="key 'network_g': dec_blk_nums"):
        launch(write(options, tmp_path))


@pytest.mark.parametrize(("loss", "why"), [("GANLoss, gan_type: lsgan", "try L1Loss"), ("Pair", "single number")])
def test_a_loss_that_is_not_between_two_images_is_refused(
    loss: str, why: str, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Pair(torch.nn.Module):
        def forward(self, a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, None]:
            return (a - b).mean(), None

    monkeypatch.setattr(LOSS_REGISTRY, "_obj_map", {**LOSS_REGISTRY._obj_map, "Pair": Pair})
    file = write(restoration_options(photographs, tmp_path / "run"), tmp_path)
    with pytest.raises(OptionError, match=why):
        launch(file, "--force_yml", f"train:pixel_opt={{type: {loss}}}")


def test_a_perceptual_loss_is_added_to_the_pixel_loss(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    class Perceptual(torch.nn.Module):  # gives what the engine's gives, whose weights would be downloaded
        def forward(self, a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, None]:
            return (a - b).square().mean(), None

    monkeypatch.setattr(LOSS_REGISTRY, "_obj_map", {**LOSS_REGISTRY._obj_map, "Perceptual": Perceptual})
    file = write(restoration_options(photographs, tmp_path / "run"), tmp_path)
    launch(file, "--force_yml", "train:perceptual_opt={type: Perceptual}")
    assert re.search(r"l_pix \S+ l_percep \S+ lr", capsys.readouterr().err)


def test_a_data_set_smaller_than_the_batch_trains_to_the_last_iteration(photographs: Path, tmp_path: Path) -> None:
    home = tmp_path / "run"
    options = dcpt_options(photographs, home)
    options["datasets"]["train"]["batch_size_per_gpu"] = 40
    launch(write(options, tmp_path))
    assert (home / "training_states" / "3.state").exists()


def test_fine_tuning_takes_the_encoder_and_leaves_the_head(photographs: Path, tmp_path: Path, capsys: Any) -> None:
    pretrained, home = tmp_path / "pretrained", tmp_path / "tuned"
    launch(write(dcpt_options(photographs, pretrained), tmp_path))
    options = restoration_options(photographs, home)
    options["train"].update(total_iter=1, optim_g={"type": "AdamW", "lr": 1e-12})
    options["path"].update(
        pretrain_network_g=str(pretrained / "models" / "net_g_latest.pth"), pretrain_scope_g="encoder"
    )
    launch(write(options, tmp_path))
    before = weights(pretrained)["params"]  # which have no moving average; that of the new run starts from them
    for after in (weights(home)["params"], weights(home)["params_ema"]):
        same = {name for name in before if torch.allclose(before[name], after[name], rtol=0, atol=1e-8)}
        assert set(before) - same == {"ending.weight", "ending.bias"}
    log = capsys.readouterr().err
    assert f"Loaded {len(before) - 2} of {len(before)} tensors" in log
    assert "since they are the head: ending.weight, ending.bias" in log


def test_weights_that_do_not_fit_are_an_error_with_the_difference(photographs: Path, tmp_path: Path) -> None:
    pretrained = tmp_path / "pretrained"
    launch(write(dcpt_options(photographs, pretrained), tmp_path))
    options = restoration_options(photographs, tmp_path / "tuned")
    options["network_g"]["width"] = 16
    options["path"]["pretrain_network_g"] = str(pretrained / "models" / "net_g_latest.pth")
    with pytest.raises(CheckpointError, match="of another shape"):
        launch(write(options, tmp_path))
    options["path"]["pretrain_network_g"] = str(pretrained / "models" / "net_dc_latest.pth")
    options["path"]["strict_load_g"] = False
    with pytest.raises(CheckpointError, match="0 tensors fit"):
        launch(write(options, tmp_path))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"network_dc": "net_dc", "degradations": 4}, "list these, in this order"),
        ({"network_g": "net_g", "type": "Restormer"}, "weights of NAFNet, not of Restormer"),
        ({"network_g": "net_g", "width": 16}, "NAFNet has other options here"),
        ({"network_g": "net_dc"}, "no weights of NAFNet"),
    ],
)
def test_weights_that_do_not_fit_come_with_the_likely_reason(
    change: dict[str, Any], reason: str, photographs: Path, tmp_path: Path
) -> None:
    pretrained = tmp_path / "pretrained"
    launch(write(dcpt_options(photographs, pretrained), tmp_path))
    options = dcpt_options(photographs, tmp_path / "next")
    section = next(iter(change))
    label = section.removeprefix("network_")
    options["path"][f"pretrain_network_{label}"] = str(pretrained / "models" / f"{change[section]}_latest.pth")
    if "degradations" in change:
        options["degradations"] = options["degradations"][:4]
        del options["datasets"]["train"]["sets"]["low_light"], options["datasets"]["val_low_light"]
    if "type" in change:
        options["network_g"] = {"type": "Restormer", "dim": 8, "heads": [1, 1, 1, 1]}
    if "width" in change:
        options["network_g"]["width"] = 16
    with pytest.raises((CheckpointError, OptionError), match=reason):
        launch(write(options, tmp_path))


def test_best_values_are_kept_over_the_whole_run(photographs: Path, tmp_path: Path) -> None:
    home = tmp_path / "run"
    options = dcpt_options(photographs, home)
    options["val"]["val_freq"] = 1
    launch(write(options, tmp_path))
    lines = [json.loads(line) for line in (home / "validation.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [1, 2, 3]
    best = torch.load(home / "training_states" / "3.state", weights_only=True)["best"]["average"]["psnr"]
    values = {line["iteration"]: line["results"]["average"]["psnr"] for line in lines}
    assert best == {"val": max(values.values()), "iter": max(values, key=lambda i: values[i])}


def test_tensorboard_gets_losses_rates_accuracy_speed_and_memory(photographs: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    home = tmp_path / "run"
    options = dcpt_options(photographs, home)
    options["logger"]["use_tb_logger"] = True
    launch(write(options, tmp_path))
    events = EventAccumulator(str(home / "tb_logger"))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    assert tags >= {
        "losses/l_pix",
        "losses/l_cls",
        "train/acc",
        "lr/net_g",
        "lr/net_dc",
        "speed/iterations_per_s",
        "speed/data_wait_share",
        "memory/peak_gib",
        "metrics/average/psnr",
        "metrics/average/ssim",
        "metrics/average/accuracy",
        "metrics/haze/psnr",
    }
    assert [event.step for event in events.Scalars("losses/l_pix")] == [1, 2, 3]


def test_missing_folders_are_listed_before_anything_is_made(photographs: Path, tmp_path: Path) -> None:
    options = dcpt_options(photographs, tmp_path / "run")
    options["datasets"]["train"]["sets"] = {"rain": {"source": "Rain200L"}, "haze": {"source": "RESIDE-OTS"}}
    options["path"]["datasets_root"] = str(tmp_path / "nowhere")
    with pytest.raises(DataError, match="4 folders of data are missing"):
        launch(write(options, tmp_path))
    assert not (tmp_path / "run").exists()


def test_saved_images_of_equal_name_in_two_sets_are_both_kept(photographs: Path, tmp_path: Path) -> None:
    options = restoration_options(photographs, tmp_path / "run")
    options["val"]["save_img"] = True
    launch(write(options, tmp_path))
    saved = list((tmp_path / "run" / "visualization").rglob("*.png"))
    assert len(saved) == 5
    assert len({file.name for file in saved}) == 1


def test_progressive_training_resumes_exactly(photographs: Path, tmp_path: Path) -> None:
    options = restoration_options(photographs, tmp_path / "whole")
    options["datasets"] = {"train": options["datasets"]["train"]}
    options["datasets"]["train"].update(
        gt_size=32,
        batch_size_per_gpu=1,
        progressive=[
            {"until": 2, "gt_size": 16, "batch_size_per_gpu": 4},
            {"until": 4, "gt_size": 24, "batch_size_per_gpu": 2},
        ],
    )
    options["train"].update(total_iter=6)
    options["logger"].update(save_checkpoint_freq=3)
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        take = RestorationModel.feed_data
        patch.setattr(
            RestorationModel, "feed_data", lambda self, data: (seen.append(data["lq"].shape), take(self, data))
        )
        launch(write(options, tmp_path))
    assert [(shape[0], shape[2]) for shape in seen] == [(4, 16)] * 2 + [(2, 24)] * 2 + [(1, 32)] * 2
    shutil.copytree(tmp_path / "whole", tmp_path / "again")
    for file in (tmp_path / "again").rglob("*6.*"):
        file.unlink()
    options["path"]["experiments_root"] = str(tmp_path / "again")
    launch(write(options, tmp_path), "--auto_resume")
    whole, again = (
        torch.load(tmp_path / run / "models" / "net_g_6.pth", weights_only=True) for run in ("whole", "again")
    )
    for key in ("params", "params_ema"):
        assert all(torch.equal(whole[key][name], again[key][name]) for name in whole[key])
    options["datasets"]["train"]["progressive"].reverse()
    with pytest.raises(DataError, match=r"the stages must end one after the other, not at \[4, 2\]"):
        launch(write({**options, "name": "other", "path": {}}, tmp_path), root=tmp_path)
