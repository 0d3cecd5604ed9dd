"""Programs of BasicSR's own users: ours imported, `train_pipeline` and `test_pipeline` called, each in a process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from basicsr.utils.registry import MODEL_REGISTRY
from small_runs import NAMES, NETWORK, dcpt_options, launch, restoration_options, write

import dcpt_models
from dcpt_data.images import list_images, read_image, write_image

PROGRAM = """
import dcpt_arch, dcpt_data, dcpt_models
from basicsr.{0} import {0}_pipeline

if __name__ == "__main__":
    {0}_pipeline(".")
"""
METHODS = sorted(name for name, model in MODEL_REGISTRY if hasattr(model, "TrainOptions"))


def engine(
    folder: Path, options: dict[str, Any], what: str = "train", *flags: str, code: int = 0, first: str = ""
) -> str:
    """Run an outside program in its folder with an option file; returns what it has printed.

    Args:
        folder: Its current folder.
        options: The option file.
        what: "train" or "test".
        flags: Of its command line.
        code: The exit code that it must have.
        first: A line that it begins with.
    """
    (folder / f"{what}.py").write_text(first + PROGRAM.format(what), encoding="utf-8")
    file = folder / f"{what}.yml"
    file.write_text(yaml.safe_dump(options, sort_keys=False), encoding="utf-8")
    command = [sys.executable, f"{what}.py", "-opt", str(file), *flags]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr[-900:]
    return done.stdout + done.stderr


def for_engine(options: dict[str, Any]) -> dict[str, Any]:
    """What BasicSR's loop asks for beside what ours needs."""
    options["path"] = {key: value for key, value in options["path"].items() if key != "experiments_root"}
    options["scale"] = 1
    options["val"].update(save_img=False)
    options["logger"].update(use_tb_logger=False)
    options["datasets"]["train"].setdefault("num_worker_per_gpu", 0)
    for section in options["datasets"].values():
        section.setdefault("name", "set")
    return options


def weights(file: Path, key: str = "params") -> dict[str, torch.Tensor]:
    loaded: dict[str, torch.Tensor] = torch.load(file, weights_only=True)[key]
    return loaded


def assert_alike(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


@pytest.mark.parametrize("method", METHODS)
def test_each_method_trains_validates_saves_and_resumes(method: str, photographs: Path, tmp_path: Path) -> None:
    classifies = "dc" in MODEL_REGISTRY.get(method).labels
    options = (dcpt_options if classifies else restoration_options)(photographs, tmp_path)
    options = for_engine({**options, "model_type": method})
    options["datasets"] = {key: options["datasets"][key] for key in ("train", "val_haze")}
    options["datasets"]["train"]["gt_size"] = 32
    options["val"].update(val_freq=2)
    if method == "SelfGuidedModel":
        options["network_g"].update(type="GuidedNAFNet", guide_classes=len(NAMES), guide_width=4)
    if method == "MaskedDCPTModel":
        options["train"]["mask_patch"] = 8
    if method == "DCGuidedModel":
        folder = tmp_path / "before"
        folder.mkdir()
        before = for_engine(dcpt_options(photographs, tmp_path))
        before["datasets"].pop("val_noise", None)
        engine(folder, before)
        options["path"]["pretrain_network_dc"] = str(folder / "experiments/tiny/models/net_dc_latest.pth")
        del options["train"]["optim_dc"]
    printed = engine(tmp_path, options)
    run = tmp_path / "experiments" / "tiny"
    names = ["g", "dc"] if classifies else ["g"]
    assert {file.name for file in (run / "models").iterdir()} == {
        f"net_{name}_{when}.pth" for name in names for when in ("2", "latest")
    }
    assert [file.name for file in (run / "training_states").iterdir()] == ["2.state"]
    assert len(re.findall(r"Validation haze", printed)) == 2

    options["train"]["total_iter"] = 4
    printed = engine(tmp_path, options, "train", "--auto_resume")
    assert "Resuming training from epoch: 0, iter: 2" in printed
    assert (run / "training_states" / "4.state").is_file()


def test_a_run_goes_on_in_the_other_loop(photographs: Path, tmp_path: Path) -> None:
    options = dcpt_options(photographs, tmp_path / "experiments" / "tiny")
    options["train"].update(total_iter=4, ema_decay=0.9)
    home = tmp_path / "experiments" / "tiny"
    engine(tmp_path, for_engine({**options, "path": dict(options["path"])}))
    before = weights(home / "models" / "net_g_4.pth")
    launch(write({**options, "train": {**options["train"], "total_iter": 6}}, tmp_path), "--auto_resume", root=tmp_path)
    assert not torch.equal(before["intro.weight"], weights(home / "models" / "net_g_6.pth")["intro.weight"])
    state = torch.load(home / "training_states" / "6.state", weights_only=True)
    assert state["iter"] == 6 and state["optimizers"][0]["state"][0]["step"] == 12  # two updates an iteration

    outside = for_engine({**options, "train": {**options["train"], "total_iter": 8}, "path": dict(options["path"])})
    engine(tmp_path, outside, "train", "--auto_resume")
    assert (home / "training_states" / "8.state").is_file()


def test_a_fine_tuned_network_is_tested_and_its_images_are_saved(photographs: Path, tmp_path: Path) -> None:
    options = for_engine(restoration_options(photographs, tmp_path))
    options["datasets"] = {key: options["datasets"][key] for key in ("train", "val_haze")}
    engine(tmp_path, options)
    test = {key: options[key] for key in ("model_type", "num_gpu", "manual_seed", "degradations", "network_g", "scale")}
    test |= {
        "name": "tried",
        "datasets": {"test_haze": options["datasets"]["val_haze"]},
        "path": {"pretrain_network_g": "experiments/tiny/models/net_g_latest.pth", "param_key_g": "params_ema"},
        "val": {"save_img": True, "suffix": None, "metrics": options["val"]["metrics"]},
    }
    printed = engine(tmp_path, test, "test")
    assert re.search(r"Validation haze: psnr \d+\.\d+", printed)
    assert len(list((tmp_path / "results" / "tried" / "visualization").rglob("*.png"))) == 1


@pytest.mark.parametrize(
    "extra",
    [{}, {"num_worker_per_gpu": 2}, {"num_worker_per_gpu": 2, "persistent_workers": True}, {"prefetch_mode": "cpu"}],
    ids=lambda extra: "-".join(map(str, extra.values())) or "plain",
)
def test_each_epoch_has_fresh_crops_and_noise(extra: dict[str, Any], photographs: Path, tmp_path: Path) -> None:
    options = for_engine(restoration_options(photographs, tmp_path))
    sets = {"noise": {"degradation": "noise", "dataroot_gt": str(photographs), "repeat_ratio": 4}}
    options["datasets"] = {"train": {**options["datasets"]["train"], "sets": sets, "batch_size_per_gpu": 4, **extra}}
    options["train"]["total_iter"] = 6  # three epochs
    (tmp_path / "watch.py").write_text(
        "import hashlib\n"
        "from dcpt_models.methods.restoration_model import RestorationModel\n"
        "take = RestorationModel.feed_data\n"
        "def feed(self, data):\n"
        "    for lq, gt in zip(data['lq'], data['gt']):\n"
        "        noise, crop = ((x * 255).round().int().numpy().tobytes() for x in (lq - gt, gt))\n"
        "        print('SEEN', hashlib.sha1(noise).hexdigest(), hashlib.sha1(crop).hexdigest(), flush=True)\n"
        "    take(self, data)\n"
        "RestorationModel.feed_data = feed\n"
    )
    del options["val"]
    printed = engine(tmp_path, options, first="import watch")
    seen = [line.split()[1:] for line in printed.splitlines() if line.startswith("SEEN")]
    assert len(seen) == 24
    assert len({noise for noise, _ in seen}) == len({crop for _, crop in seen}) == 24


def test_nan_is_reported_and_ends_the_run(photographs: Path, tmp_path: Path) -> None:
    options = for_engine(restoration_options(photographs, tmp_path))
    options["datasets"] = {"train": options["datasets"]["train"]}
    options["train"].update(total_iter=40, max_bad_steps=5, optim_g={"type": "SGD", "lr": 1e38}, scheduler=None)
    options["train"].pop("grad_clip")
    del options["val"]
    printed = engine(tmp_path, options, code=1)
    assert re.search(r"FloatingPointError: the last \d+ iterations made no update", printed)
    assert len(re.findall(r"no update, since a (?:loss|gradient) is NaN or infinite", printed)) >= 5


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory, photographs: Path) -> Path:
    """Pairs as BasicSR's PairedImageDataset reads them: two folders, and a list of names."""
    folder = tmp_path_factory.mktemp("pairs")
    for side in ("gt", "lq"):
        (folder / side).mkdir()
    for file in list_images(photographs):
        image = read_image(file)[:64, :64]
        write_image(folder / "gt" / file.name, image)
        write_image(folder / "lq" / file.name, (image * 0.5).astype(np.uint8))
    names = "".join(f"{file.name} (64,64,3)\n" for file in list_images(folder / "gt"))
    (folder / "names.txt").write_text(names)
    return folder


def paired(pairs: Path, phase: str, **extra: Any) -> dict[str, Any]:
    """A section of BasicSR's option files with all of its keys."""
    section = {
        "name": "pairs",
        "type": "PairedImageDataset",
        "dataroot_gt": str(pairs / "gt"),
        "dataroot_lq": str(pairs / "lq"),
        "filename_tmpl": "{}",
        "io_backend": {"type": "disk"},
        **extra,
    }
    if phase == "train":
        section |= {
            "gt_size": 32,
            "use_hflip": True,
            "use_rot": True,
            "use_shuffle": True,
            "num_worker_per_gpu": 0,
            "batch_size_per_gpu": 2,
            "dataset_enlarge_ratio": 10,
            "prefetch_mode": None,
        }
    return section


def engine_options(pairs: Path, **changed: Any) -> dict[str, Any]:
    """An option file as BasicSR 1.4.2 ships them, for SRModel."""
    options = {
        "name": "tiny",
        "model_type": "SRModel",
        "scale": 1,
        "num_gpu": 0,
        "manual_seed": 0,
        "datasets": {"train": paired(pairs, "train"), "val": paired(pairs, "val")},
        "network_g": dict(NETWORK),
        "path": {"pretrain_network_g": None, "strict_load_g": True, "resume_state": None},
        "train": {
            "ema_decay": 0.999,
            "optim_g": {"type": "Adam", "lr": 2e-4, "weight_decay": 0, "betas": [0.9, 0.99]},
            "scheduler": {"type": "MultiStepLR", "milestones": [2], "gamma": 0.5},
            "total_iter": 3,
            "warmup_iter": -1,
            "pixel_opt": {"type": "L1Loss", "loss_weight": 1.0, "reduction": "mean"},
        },
        "val": {
            "val_freq": 3,
            "save_img": False,
            "pbar": False,
            "metrics": {"psnr": {"type": "calculate_psnr", "crop_border": 0, "test_y_channel": False}},
        },
        "logger": {
            "print_freq": 1,
            "save_checkpoint_freq": 3,
            "use_tb_logger": False,
            "wandb": {"project": None, "resume_id": None},
        },
        "dist_params": {"backend": "nccl", "port": 29500},
        "find_unused_parameters": False,
    }
    return {**options, **changed}


def test_the_engines_model_trains_our_network_on_our_data(pairs: Path, photographs: Path, tmp_path: Path) -> None:
    ours = restoration_options(photographs, tmp_path)["datasets"]
    datasets = {"train": {**ours["train"], "num_worker_per_gpu": 0}, "val_haze": ours["val_haze"]}
    printed = engine(tmp_path, engine_options(pairs, datasets=datasets))
    assert re.search(r"Validation haze\s+# psnr: \d+", printed)


def test_the_engines_gan_trains_our_network_on_our_data(pairs: Path, photographs: Path, tmp_path: Path) -> None:
    ours = restoration_options(photographs, tmp_path)["datasets"]
    train = {**ours["train"], "gt_size": 64, "num_worker_per_gpu": 0}  # which its discriminator halves three times
    options = engine_options(pairs, model_type="SRGANModel", datasets={"train": train, "val_haze": ours["val_haze"]})
    options["network_d"] = {"type": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": 8}
    options["train"].update(
        optim_d={"type": "Adam", "lr": 1e-4},
        gan_opt={"type": "GANLoss", "gan_type": "vanilla", "loss_weight": 0.1},
        net_d_iters=1,
        net_d_init_iters=0,
    )
    printed = engine(tmp_path, options)
    assert re.search(r"l_g_gan: .*l_d_real: ", printed)
    assert re.search(r"Validation haze\s+# psnr: \d+", printed)
    saved = tmp_path / "experiments" / "tiny" / "models"
    assert {file.name for file in saved.iterdir()} >= {"net_g_latest.pth", "net_d_latest.pth"}


NETWORKS = {
    "EDSR": {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_block": 1, "upscale": 1, "img_range": 1.0},
    "RCAN": {
        "num_in_ch": 3,
        "num_out_ch": 3,
        "num_feat": 8,
        "num_group": 1,
        "num_block": 1,
        "squeeze_factor": 2,
        "upscale": 1,
        "img_range": 1.0,
    },
    "RRDBNet": {"num_in_ch": 3, "num_out_ch": 3, "scale": 1, "num_feat": 8, "num_block": 1, "num_grow_ch": 4},
    "SwinIR": {"img_size": 32, "window_size": 8, "depths": [1], "embed_dim": 12, "num_heads": [2], "upsampler": ""},
}


@pytest.mark.parametrize("network", NETWORKS)
def test_our_model_trains_the_engines_networks_on_its_data(network: str, pairs: Path, tmp_path: Path) -> None:
    options = engine_options(pairs, model_type="RestorationModel", network_g={"type": network, **NETWORKS[network]})
    options["dist_params"]["backend"] = "gloo"
    results = launch(write(options, tmp_path), root=tmp_path)
    assert results["pairs"]["psnr"] > 5
    log = next((tmp_path / "experiments" / "tiny").glob("*.log")).read_text()
    for key in ("datasets:train:dataset_enlarge_ratio", "datasets:train:prefetch_mode", "val:pbar"):
        assert len(re.findall(f"{key}: without effect here", log)) == 1


def test_the_engines_data_are_read_alike_from_disk_list_and_lmdb(pairs: Path, tmp_path: Path) -> None:
    from basicsr.utils.lmdb_util import make_lmdb_from_imgs

    for side in ("gt", "lq"):
        names = [file.name for file in list_images(pairs / side)]
        keys = [name.rpartition(".")[0] for name in names]
        make_lmdb_from_imgs(str(pairs / side), str(tmp_path / f"{side}.lmdb"), names, keys, n_thread=1)
    lmdb = {"dataroot_gt": str(tmp_path / "gt.lmdb"), "dataroot_lq": str(tmp_path / "lq.lmdb")}
    forms: list[dict[str, Any]] = [
        {},
        {"meta_info_file": str(pairs / "names.txt")},
        {**lmdb, "io_backend": {"type": "lmdb"}},
    ]
    trained = []
    for number, form in enumerate(forms):
        options = engine_options(pairs, model_type="RestorationModel", name=f"run{number}")
        options["datasets"] = {"train": {**paired(pairs, "train"), **form}}
        launch(write(options, tmp_path), root=tmp_path)
        trained.append(weights(tmp_path / "experiments" / f"run{number}" / "models" / "net_g_latest.pth"))
    for other in trained[1:]:
        assert_alike(trained[0], other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": {"gan_opt": {"type": "GANLoss"}}}, "'train:gan_opt': there is no discriminator here"),
        ({"datasets": {"train": {"mean": [0.5, 0.5, 0.5]}}}, "'datasets:train:mean': networks are given pixels"),
        ({"model_type": "SRModel"}, "'model_type': 'SRModel' is a model for BasicSR's own loop"),
    ],
    ids=["gan", "mean", "model"],
)
def test_what_contradicts_is_refused_with_the_reason(
    change: dict[str, Any], message: str, pairs: Path, tmp_path: Path
) -> None:
    options = engine_options(pairs, model_type="RestorationModel")
    for key, value in change.items():
        if isinstance(value, dict):
            for inner, new in value.items():
                old = options[key].get(inner)
                options[key][inner] = {**old, **new} if isinstance(old, dict) else new
        else:
            options[key] = value
    with pytest.raises(dcpt_models.OptionError, match=re.escape(message)):
        launch(write(options, tmp_path), root=tmp_path)


def test_the_methods_are_those_that_are_tried() -> None:
    assert len(METHODS) >= 6 and len(NAMES) == 5
