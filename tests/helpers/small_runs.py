"""A complete option file small enough to train in a second, for the tests of models, loop and commands."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
import yaml

from dcpt_data import build_train_loader, build_val_loaders, check_folders
from dcpt_models.options.command_line import argument_parser, given_options
from dcpt_models.training.loop import train
from dcpt_models.training.run import Run
from dcpt_models.validation.validate import Results

NAMES = ["haze", "rain", "noise", "motion_blur", "low_light"]
NETWORK = {"type": "NAFNet", "width": 8, "enc_blk_nums": [1, 1], "middle_blk_num": 1, "dec_blk_nums": [1, 1]}
METRICS = {
    "psnr": {"type": "calculate_psnr", "crop_border": 0},
    "ssim": {"type": "calculate_ssim", "crop_border": 0},
}


def dcpt_options(photographs: Path, home: Path) -> dict[str, Any]:
    """Options of a tiny DCPT run in `home` on five synthesised degradations of the photographs in a folder."""
    photos = str(photographs)
    return {
        "name": "tiny",
        "model_type": "DCPTModel",
        "num_gpu": 0,
        "manual_seed": 7,
        "degradations": list(NAMES),
        "datasets": {
            "train": {
                "name": "mix",
                "type": "DegradationMixtureDataset",
                "gt_size": 32,
                "batch_size_per_gpu": 4,
                "sets": {name: {"degradation": name, "dataroot_gt": photos} for name in NAMES},
            },
            **{
                f"val_{name}": {
                    "name": name,
                    "type": "DegradationDataset",
                    "degradation": name,
                    "dataroot_gt": photos,
                    "limit": 1,
                }
                for name in NAMES
            },
        },
        "network_g": dict(NETWORK),
        "network_dc": {"type": "DegradationClassifier", "width": 8},
        "train": {
            "total_iter": 3,
            "optim_g": {"type": "AdamW", "lr": 1e-3},
            "optim_dc": {"type": "AdamW", "lr": 1e-3},
        },
        "val": {"val_freq": 100, "metrics": deepcopy(METRICS)},
        "logger": {"print_freq": 1, "save_checkpoint_freq": 2},
        "path": {"experiments_root": str(home)},
    }


def restoration_options(photographs: Path, home: Path) -> dict[str, Any]:
    """The same for a restoration run, with a moving average, clipping and a cosine schedule."""
    options = dcpt_options(photographs, home)
    options["model_type"] = "RestorationModel"
    del options["network_dc"], options["train"]["optim_dc"]
    options["train"].update(
        ema_decay=0.9,
        grad_clip=0.1,
        warmup_iter=2,
        scheduler={"type": "CosineAnnealingLR", "T_max": options["train"]["total_iter"]},
    )
    return options


def write(options: dict[str, Any], folder: Path, name: str = "options.yml") -> Path:
    """Write an option file."""
    file = folder / name
    file.write_text(yaml.safe_dump(options, sort_keys=False), encoding="utf-8")
    return file


def completed(file: Path, *flags: str, is_train: bool = True, root: Path | None = None) -> dict[str, Any]:
    """The options of a file as the launchers complete them; `root` stands for the repository, or else its folder."""
    arguments = argument_parser("").parse_args(["-opt", str(file), *flags])
    return given_options(arguments, root or file.parent, is_train)


def launch(file: Path, *flags: str, root: Path | None = None) -> Results:
    """What basicsr/train.py does, in this process."""
    opt = completed(file, *flags, root=root)
    check_folders(opt["datasets"], opt.get("degradations"))
    with Run(opt) as run:
        loader = build_train_loader(opt["datasets"]["train"], run.rank, run.world_size, run.start, run.samples)
        return train(run, loader, build_val_loaders(opt["datasets"]))


def weights(home: Path, label: str = "g", iteration: int | str = "latest") -> dict[str, Any]:
    """What a network of a run was saved as."""
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
