"""The training loop: reproducible, independent of workers, exact after an interruption, careful with folders."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from basicsr.utils.registry import LOSS_REGISTRY
from small_runs import completed, dcpt_options, launch, restoration_options, write

from dcpt_arch.checkpoints import CheckpointError
from dcpt_data import DataError, build_train_loader, build_val_loaders
from dcpt_models.option_files import OptionError
from dcpt_models.run import Run
from dcpt_models.training import Stopped, train


def weights(home: Path, label: str = "g", iteration: int | str = "latest") -> dict[str, Any]:
    return torch.load(home / "models" / f"net_{label}_{iteration}.pth", weights_only=True)


def assert_same(a: Any, b: Any) -> None:
    """Equal to the bit, at any depth."""
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    else:
        assert a == b


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


def test_an_interrupted_run_resumes_exactly(make_options: Any, photographs: Path, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    launch(write(make_options(photographs, whole), tmp_path))
    launch(write(make_options(photographs, broken), tmp_path))
    for file in [*broken.glob("*/net_*_3.pth"), *broken.glob("*/3.state"), *broken.glob("*/*latest*")]:
        file.unlink()  # as if it had been killed after its checkpoint at iteration 2
    launch(write(make_options(photographs, broken), tmp_path), "--auto_resume")
    assert_same(weights(broken), weights(whole))
    states = [torch.load(home / "training_states" / "3.state", weights_only=True) for home in (whole, broken)]
    assert_same(states[0], states[1])


def test_a_truncated_state_is_passed_over(photographs: Path, tmp_path: Path, capsys: Any) -> None:
    home = tmp_path / "run"
    file = write(dcpt_options(photographs, home), tmp_path)
    launch(file)
    state = home / "training_states" / "3.state"
    state.write_bytes(state.read_bytes()[:1000])
    with Run(completed(file, "--auto_resume")) as run:
        assert run.start == 2
    state.with_name("2.state").write_bytes(b"")
    with pytest.raises(CheckpointError, match="no training state can be read"):
        Run(completed(file, "--auto_resume"))


def test_ctrl_c_saves_the_state_and_the_run_goes_on_from_it(photographs: Path, tmp_path: Path) -> None:
    whole, home = tmp_path / "whole", tmp_path / "run"
    launch(write(dcpt_options(photographs, whole), tmp_path))
    file = write(dcpt_options(photographs, home), tmp_path)
    opt = completed(file)
    with Run(opt) as run, pytest.raises(Stopped, match="after iteration 1 of 3"):
        loader = build_train_loader(opt["datasets"]["train"])

        class Interrupting:
            dataset, batch_sampler = loader.dataset, loader.batch_sampler

            def __iter__(self) -> Any:
                for batch in loader:
                    os.kill(os.getpid(), signal.SIGINT)
                    yield batch

        train(run, Interrupting(), build_val_loaders(opt["datasets"]))
    assert (home / "training_states" / "1.state").exists()
    launch(file, "--auto_resume")
    assert_same(weights(home), weights(whole))


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


def test_an_error_while_validating_loses_nothing(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = dcpt_options(photographs, tmp_path / "run")
    options["logger"]["save_checkpoint_freq"] = 100
    options["val"]["val_freq"] = 2

    def fail(*_: Any, **__: Any) -> None:
        raise DataError("an image is damaged")

    monkeypatch.setattr("dcpt_models.base_model.DegradationModel.validate", fail)
    with pytest.raises(DataError):
        launch(write(options, tmp_path))
    assert (tmp_path / "run" / "training_states" / "2.state").exists()


def test_a_network_that_refuses_its_arguments_is_an_option_error(photographs: Path, tmp_path: Path) -> None:
    options = dcpt_options(photographs, tmp_path / "run")
    options["network_g"]["dec_blk_nums"] = [1]
    with pytest.raises(OptionError, match="key 'network_g': dec_blk_nums"):
        launch(write(options, tmp_path))


@pytest.mark.parametrize(("loss", "why"), [("GANLoss, gan_type: lsgan", "is no pixel loss"), ("Pair", "single number")])
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
    home.mkdir()
    (home / "notes.txt").write_text("mine")
    launch(write(dcpt_options(photographs, home), tmp_path))
    (moved,) = tmp_path.glob("run_archived_*")
    assert (moved / "notes.txt").read_text() == "mine"


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
    options["train"].update(total_iter=1, optim_g={"type": "AdamW", "lr": 0.0}, ema_decay=0)
    options["path"].update(
        pretrain_network_g=str(pretrained / "models" / "net_g_latest.pth"), pretrain_scope_g="encoder"
    )
    launch(write(options, tmp_path))
    before, after = weights(pretrained)["params"], weights(home)["params"]
    same = {name for name in before if torch.equal(before[name], after[name])}
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
        ({"network_dc": "net_dc", "degradations": 4}, "tells 5 degradations apart, this one 4"),
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
    with pytest.raises(CheckpointError, match=reason):
        launch(write(options, tmp_path))


def test_a_loss_that_is_not_finite_stops_the_run(photographs: Path, tmp_path: Path) -> None:
    options = restoration_options(photographs, tmp_path / "run")
    options["train"].update(optim_g={"type": "SGD", "lr": 1e30}, grad_clip=None, total_iter=20, scheduler=None)
    options["logger"].update(print_freq=50, save_checkpoint_freq=1)
    with pytest.raises(FloatingPointError, match="l_pix became NaN or infinite"):
        launch(write(options, tmp_path))
    # No checkpoint was written after the loss had become NaN.
    saved = sorted((tmp_path / "run" / "models").iterdir())
    assert [file.name for file in saved] == ["net_g_1.pth"]


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
