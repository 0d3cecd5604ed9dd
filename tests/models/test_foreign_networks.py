"""Networks of other projects through everything that ours go through: three lines of an option file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import Commands
from foreign_networks import SECTIONS, original
from small_models import make_model, updates
from small_runs import completed, dcpt_options, launch, restoration_options, write
from torch import nn

from dcpt_arch import AnyBackbone
from dcpt_arch.adapter.sources import build
from dcpt_arch.checkpoints.export import export_network
from dcpt_arch.checkpoints.loading import load_network
from dcpt_arch.checkpoints.others import is_of_others, open_network
from dcpt_data import build_val_loaders
from dcpt_models import DCPTModel, FocalLoss, OptionError, dcpt_loss_steps
from dcpt_models.analysis.features.findings import architecture
from dcpt_models.analysis.study.arms import plan_runs, read_study
from dcpt_models.analysis.study.plan import study_jobs
from dcpt_models.evaluation.testing import evaluate, start_test
from dcpt_models.inference.diagnoser import load_diagnoser, option_file_of
from dcpt_models.inference.packaged import pack
from dcpt_models.inference.restorer import Restorer
from dcpt_models.options.command_line import load_options
from dcpt_models.options.files import read_options

CPU = torch.device("cpu")
NAMES = ["noise", "low_light"]


def reduced(options: dict[str, Any], network: dict[str, Any]) -> dict[str, Any]:
    """One iteration of two images, validated on one; with another network."""
    datasets = options["datasets"]
    train = {**datasets["train"], "gt_size": 16, "batch_size_per_gpu": 2}
    train["sets"] = {name: train["sets"][name] for name in NAMES}
    options["datasets"] = {"train": train, "val_noise": datasets["val_noise"]}
    options["degradations"] = NAMES
    options["network_g"] = {"type": "AnyBackbone", "network": network}
    options["train"]["total_iter"] = 1
    options["val"]["metrics"].pop("ssim")
    return options


@pytest.fixture(scope="module")
def small_photographs(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from dcpt_data.images import read_image, write_image

    folder = tmp_path_factory.mktemp("small")
    for file in photographs.iterdir():
        write_image(folder / file.name, read_image(file)[:40, :48])
    return folder


@pytest.mark.parametrize("name", SECTIONS)
def test_a_foreign_network_goes_all_the_way(name: str, small_photographs: Path, tmp_path: Path) -> None:
    pre, fine = tmp_path / "pre", tmp_path / "fine"
    results = launch(write(reduced(dcpt_options(small_photographs, pre), SECTIONS[name]), tmp_path, "pre.yml"))
    assert "accuracy" in results["noise"] and "psnr" in results["noise"]
    archived = read_options(pre / "pre.yml").values["network_g"]
    assert archived["network"] == SECTIONS[name]
    assert archived["features"] and archived["head"] and archived["size_multiple"], "what was found is written out"

    options = reduced(restoration_options(small_photographs, fine), SECTIONS[name])
    options["train"].update(scheduler=None, warmup_iter=-1)
    options["path"].update(pretrain_network_g=str(pre / "models" / "net_g_latest.pth"), pretrain_scope_g="encoder")
    launch(write(options, tmp_path, "fine.yml"))
    weights = fine / "models" / "net_g_latest.pth"
    content = torch.load(weights, weights_only=True)
    assert {"params", "params_ema", "any_backbone"} == set(content)
    original(name).load_state_dict(content["params"], strict=True)

    options["datasets"] = {"test_noise": options["datasets"]["val_noise"]}
    options["path"] = {"pretrain_network_g": str(weights), "results_root": str(tmp_path / "results")}
    opt = completed(write(options, tmp_path, "test.yml"), is_train=False)
    start_test(opt)
    assert evaluate(opt, build_val_loaders(opt["datasets"], 0, 1))["noise"]["psnr"] > 0

    network = open_network(weights)  # and not as a network that spandrel recognises by its weights
    assert isinstance(network, AnyBackbone) and not is_of_others(weights)
    pixels = np.random.default_rng(0).integers(0, 256, (21, 30, 3), dtype=np.uint8)
    restored, _ = Restorer(network, CPU, precision="fp32").restore(pixels)
    with torch.no_grad():
        image = torch.from_numpy(pixels.transpose(2, 0, 1)[None] / np.float32(255))
        expected = network(image).clamp(0, 1).mul(255).round()[0].permute(1, 2, 0).to(torch.uint8).numpy()
    assert restored.shape == pixels.shape
    assert np.abs(restored.astype(int) - expected).max() <= 1

    classifier = pre / "models" / "net_dc_latest.pth"
    diagnoser = load_diagnoser(classifier, None, option_file_of(classifier), CPU)
    assert diagnoser.diagnose(image[0]).leading in NAMES
    assert diagnoser.evidence(image[0], "noise").shape == (21, 30)
    assert architecture(weights) == archived

    # Beside what a whole graph is of, this is all that an export needs of a network; see docs/NETWORKS.md.
    assert export_network(network, tmp_path / "net.safetensors").difference < 1e-5


def test_pretraining_resumes_and_packs(small_photographs: Path, tmp_path: Path) -> None:
    options = reduced(dcpt_options(small_photographs, tmp_path / "run"), SECTIONS["EDSR"])
    options["train"]["total_iter"] = 2
    options["logger"]["save_checkpoint_freq"] = 1
    file = write(options, tmp_path)
    launch(file)
    once = torch.load(tmp_path / "run" / "models" / "net_g_2.pth", weights_only=True)["params"]
    for name in ("models/net_g_2.pth", "models/net_dc_2.pth", "training_states/2.state"):
        (tmp_path / "run" / name).unlink()
    launch(file, "--auto_resume")
    again = torch.load(tmp_path / "run" / "models" / "net_g_2.pth", weights_only=True)["params"]
    assert all(torch.equal(once[name], again[name]) for name in once)
    log = "".join(file.read_text() for file in (tmp_path / "run").glob("train_*.log"))
    assert "Changed since the checkpoint" not in log and "features: body.2 (8 channels, stride 1)" in log
    package = pack(tmp_path / "run", tmp_path / "package")
    assert load_network(package.network).plan == load_network(tmp_path / "run" / "models" / "net_g_2.pth").plan


@pytest.mark.parametrize("schedule", ["alternate", "joint"])
def test_two_processes_equal_one(schedule: str, small_photographs: Path, tmp_path: Path, commands: Commands) -> None:
    files = {}
    for name, batch in (("one", 2), ("two", 1)):
        options = reduced(dcpt_options(small_photographs, tmp_path / name), SECTIONS["EDSR"])
        options["train"].update(schedule=schedule, optim_g={"type": "SGD", "lr": 0.01}, total_iter=2)
        options["train"]["optim_dc"] = {"type": "SGD", "lr": 0.01}
        options["datasets"]["train"]["batch_size_per_gpu"] = batch
        options["dist_params"] = {"timeout": 60}
        files[name] = write(options, tmp_path, f"{name}.yml")
    one = commands.start("basicsr/train.py", "-opt", files["one"], cwd=tmp_path)
    for process in (one, *commands.start_two(files["two"])):
        done = process.wait()
        assert done.returncode == 0, done.stderr
        assert "unused" not in done.stderr
    for label in ("g", "dc"):
        a, b = (
            torch.load(tmp_path / home / "models" / f"net_{label}_latest.pth", weights_only=True)["params"]
            for home in ("one", "two")
        )
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


MINE = """
from torch import nn


class Mine(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU())
        self.last = nn.Conv2d(width, 3, 1)

    def forward(self, x):
        return x + self.last(self.body(x))
"""


def test_files_of_networks_are_found_as_other_relative_paths_are(
    small_photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, here = tmp_path / "root", tmp_path / "here"
    for folder, name in ((root, "net_below_root"), (here, "net_below_here")):
        folder.mkdir()
        (folder / f"{name}.py").write_text(MINE)
        (folder / "study.yml").write_text(
            f"""
            name: mine
            seeds: [0]
            reference: scratch
            test: {tmp_path / "test.yml"}
            features: {{gt: photographs, images: 5}}
            set: ["network_g={{type: AnyBackbone, network: {{type: {name}.py:Mine, width: 5}}}}"]
            arms: {{scratch: {{runs: [{{opt: {tmp_path / "fine.yml"}}}]}}}}
            """
        )
    theirs, _ = build({"type": "spandrel:NAFNet", "width": 4, "enc_blk_nums": [1], "dec_blk_nums": [1]})
    torch.save(theirs.state_dict(), here / "theirs.pth")
    monkeypatch.chdir(here)
    options = reduced(restoration_options(small_photographs, tmp_path / "run"), {"checkpoint": "theirs.pth"})
    for key in ("manual_seed", "name"):
        options.pop(key, None)
    options["path"].pop("experiments_root", None)
    opt = load_options(write({"name": "x", **options}, tmp_path, "fine.yml"), root, is_train=True)
    assert opt["network_g"]["network"] == {"checkpoint": str(here / "theirs.pth")}
    assert opt["resolved"]["network_g"]["network"] == {"checkpoint": "theirs.pth"}
    test = {"name": "x", "model_type": options["model_type"], "degradations": NAMES}
    test |= {"datasets": {"test_noise": options["datasets"]["val_noise"]}, "network_g": {"type": "NAFNet"}}
    write(test, tmp_path, "test.yml")

    for folder, name in ((root, "net_below_root"), (here, "net_below_here")):
        force = f"network_g={{type: AnyBackbone, network: {{type: {name}.py:Mine}}}}"
        opt = load_options(tmp_path / "fine.yml", root, is_train=True, force=[force])
        assert opt["network_g"]["network"]["type"] == f"{folder / name}.py:Mine"
        assert opt["resolved"]["network_g"]["network"] == {"type": f"{name}.py:Mine"}, "the archive names no folder"
        assert opt["resolved"]["network_g"]["head"] == ["last"]

        study = read_study(folder / "study.yml", [])
        jobs = {job.command: job for job in study_jobs(study, plan_runs(study, root), root)}
        assert str(folder) not in str([job.record for job in jobs.values()])
        place = tmp_path / name
        place.mkdir()
        with monkeypatch.context() as elsewhere:  # where a study runs its commands
            elsewhere.chdir(place)
            for command in ("train", "test"):
                _, file, *_ = jobs[command].arguments
                forced = jobs[command].arguments[jobs[command].arguments.index("--force_yml") + 1 :]
                opt = load_options(file, root, is_train=command == "train", force=forced)
                assert opt["network_g"]["network"] == {"type": f"{folder / name}.py:Mine", "width": 5}
        imported = jobs["knn"].arguments.index("--import")
        assert jobs["knn"].arguments[imported + 1] == str(folder / f"{name}.py")

    with pytest.raises(
        OptionError, match=f"network_g:network:type': no module 'no.py' .{here / 'no.py'}: no such file"
    ):
        force = "network_g={type: AnyBackbone, network: {type: no.py:Mine}}"
        load_options(tmp_path / "fine.yml", root, is_train=True, force=[force])


def test_a_class_of_the_users_with_the_commands(small_photographs: Path, tmp_path: Path, commands: Commands) -> None:
    (tmp_path / "net_of_mine.py").write_text(MINE)
    options = reduced(dcpt_options(small_photographs, tmp_path / "run"), {"type": "net_of_mine.py:Mine", "width": 6})
    file = write(options, tmp_path)
    done = commands.run("basicsr/train.py", "-opt", file, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    photograph = next(small_photographs.iterdir())
    weights = tmp_path / "run" / "models" / "net_g_latest.pth"
    command = ("tools/restore.py", photograph, "--weights", weights, "--out", tmp_path / "out")
    done = commands.run(*command, cwd=tmp_path)
    assert done.returncode == 1 and "--import net_of_mine.py" in done.stderr
    done = commands.run(*command, "--import", "net_of_mine.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / photograph.name).is_file()
    done = commands.run(
        "basicsr/train.py", "-opt", file, "--force_yml", "network_g:features=[bodi]", "name=other", cwd=tmp_path
    )
    assert done.returncode == 2, done.stderr
    assert "key 'network_g': features: no module 'bodi'; did you mean 'body'?; candidates: body.0 to body.1 (6 ch" in (
        done.stderr
    )


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"type": "EDSR", "num_in_ch": 3}, "network_g:network:num_out_ch': required key 'num_out_ch' is missing"),
        (
            {"type": "EDSR", "num_in_ch": 3, "num_out_ch": 3, "num_feet": 8},
            "did you mean 'num_feat'?",
        ),
        ({"type": "spandrel:Unet"}, "network_g:network:type': spandrel has no network 'Unet'"),
        ({"width": 8}, "network_g:network': has no `type`"),
        ({"type": "EDSR", "num_in_ch": 3, "num_out_ch": 3}, "4 times the side"),
    ],
)
def test_option_files_are_checked(
    network: dict[str, Any], message: str, small_photographs: Path, tmp_path: Path
) -> None:
    file = write(reduced(dcpt_options(small_photographs, tmp_path / "run"), network), tmp_path)
    with pytest.raises(OptionError) as caught:
        completed(file)
    assert message in str(caught.value)


def test_what_a_network_has_frozen_stays_frozen(small_photographs: Path, tmp_path: Path) -> None:
    options = reduced(dcpt_options(small_photographs, tmp_path), SECTIONS["EDSR"])
    model = make_model(options, tmp_path, NAMES)
    model.networks["g"].network.conv_first.requires_grad_(False)  # as its constructor would
    model._init_training()
    assert not any(name.startswith("g.network.conv_first") for each in updates(model) for name in each)


# The losses without the loop


def test_a_loop_of_ones_own_is_what_the_method_does(small_photographs: Path, tmp_path: Path) -> None:
    options = reduced(dcpt_options(small_photographs, tmp_path), SECTIONS["EDSR"])
    for schedule in ("alternate", "joint"):
        options["train"]["schedule"] = schedule
        model = make_model(options, tmp_path, NAMES)
        assert isinstance(model, DCPTModel)
        steps: Iterator[Any] = dcpt_loss_steps(
            model.net_g, model.net_dc, model.lq, model.gt, torch.tensor([0, 1]), nn.L1Loss(), FocalLoss(), schedule
        )
        for ours, theirs in zip(model.loss_steps(), steps, strict=True):
            assert ours.keys() == theirs.keys()
            assert all(torch.equal(ours[name], theirs[name]) for name in ours)
