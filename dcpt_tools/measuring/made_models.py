"""Real models of option files that are written here, to step them; and networks small enough for a check."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
import yaml
from basicsr.models import build_model

from dcpt_data.images.pixels import write_image
from dcpt_models.methods.base_model import DegradationModel
from dcpt_models.options.command_line import load_options

NETWORK = {"type": "NAFNet", "width": 16, "enc_blk_nums": [1, 1, 2], "middle_blk_num": 2, "dec_blk_nums": [1, 1, 1]}
OPTIMIZER: dict[str, Any] = {"type": "AdamW", "lr": 1e-4, "weight_decay": 0.0, "betas": [0.9, 0.999]}
NETWORKS = ("NAFNet", "Restormer", "PromptIR", "DCPTSwinIR")
WIDTH = 32  # of NAFNet in full size, as in the released checkpoints
# Arguments of networks of a fraction of a second.
SMALL: dict[str, dict[str, Any]] = {
    "NAFNet": {"width": 16, "enc_blk_nums": [1, 1, 1, 4]},
    "Restormer": {"dim": 16, "num_blocks": [1, 1, 1, 1], "num_refinement_blocks": 1},
    "PromptIR": {"dim": 16, "num_blocks": [1, 1, 1, 1], "num_refinement_blocks": 1, "prompt_dims": [16, 32, 80]},
    "DCPTSwinIR": {"embed_dim": 60, "depths": [2, 2], "num_heads": [6, 6]},
}
DEGRADATIONS = ["haze", "rain", "noise", "motion_blur", "low_light"]
# What the classifier may have as channels; its cost is the same share of both forms.
CLASSIFIER = {"type": "DegradationClassifier"}
LOG_FREQ = 10  # iterations


@dataclass(frozen=True)
class Batch:
    """What an iteration is of.

    Attributes:
        count: Images.
        crop: Their side in pixels.
        device: Where the model is.
        seed: Of weights and images.
    """

    count: int
    crop: int
    device: str = "cpu"
    seed: int = 0


def run_options(
    folder: Path,
    total: int,
    train: Mapping[str, Any],
    batch: Batch,
    others: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """Options of a run in a folder, whose data set is there but not read.

    Args:
        folder: An empty one.
        total: Iterations.
        train: Of the `train` section.
        batch: What an iteration is of.
        others: Keys beside the `train` section, where it is to be no restoration with `NETWORK`.
    """
    (folder / "images").mkdir()
    write_image(folder / "images" / "image.png", np.zeros((batch.crop, batch.crop, 3), np.uint8))
    train_set = {
        "type": "DegradationDataset",
        "degradation": "noise",
        "dataroot_gt": str(folder / "images"),
        "batch_size_per_gpu": batch.count,
        "gt_size": batch.crop,
    }
    values = {
        "name": "loop",
        "model_type": "RestorationModel",
        "num_gpu": 0 if batch.device == "cpu" else "auto",
        "manual_seed": batch.seed,
        "datasets": {"train": train_set},
        "network_g": NETWORK,
        "train": {"total_iter": total + 1, "optim_g": OPTIMIZER, **train},
        "logger": {"print_freq": LOG_FREQ, "save_checkpoint_freq": 10**6},
        "path": {"experiments_root": str(folder / "run")},
        **others,
    }
    file = folder / "loop.yml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    return load_options(file, folder, is_train=True)


def made(others: Mapping[str, Any], train: Mapping[str, Any], batch: Batch) -> DegradationModel:
    """A real model of an option file, fed with a batch of random images; see `run_options`."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        model: DegradationModel = build_model(run_options(Path(folder), 1, train, batch, others))
    generator = torch.Generator().manual_seed(batch.seed)
    lq, gt = torch.rand(2, batch.count, 3, batch.crop, batch.crop, generator=generator)
    names = [DEGRADATIONS[i % len(DEGRADATIONS)] for i in range(batch.count)]
    model.feed_data({"lq": lq, "gt": gt, "degradation": names, "lq_path": names})
    return model


def restoration(network: dict[str, Any], train: Mapping[str, Any], batch: Batch) -> DegradationModel:
    """Restoration alone."""
    return made({"network_g": network}, train, batch)


def dcpt(network: dict[str, Any], train: Mapping[str, Any], batch: Batch) -> DegradationModel:
    """DCPT, with an update for each stage."""
    others = {"model_type": "DCPTModel", "degradations": DEGRADATIONS, "network_dc": CLASSIFIER}
    return made({**others, "network_g": network}, {"optim_dc": OPTIMIZER, **train}, batch)
