"""The registries: what is known to BasicSR's is known to mmengine's, and works in loops of mmengine itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from basicsr.utils.registry import ARCH_REGISTRY, LOSS_REGISTRY
from mmengine.config import Config
from mmengine.runner import Runner
from small_networks import SMALL
from small_runs import assert_same, restoration_options, write
from torch import nn

from dcpt_data import build_train_loader
from dcpt_mmengine.model import as_forced
from dcpt_mmengine.registries import DATASETS, METRICS, MODELS
from dcpt_models.options.files import read_options


@pytest.mark.parametrize("name", SMALL)
def test_networks_are_built_by_name(name: str) -> None:
    assert type(MODELS.build({"type": name, **SMALL[name]})) is ARCH_REGISTRY.get(name)


def test_losses_data_sets_and_metrics_are_built_by_name(photographs: Path) -> None:
    assert MODELS.build({"type": "dcpt.PSNRLoss"}).loss_weight == 1
    assert isinstance(MODELS.build({"type": "L1Loss"}), LOSS_REGISTRY.get("L1Loss"))
    data = DATASETS.build({"type": "DegradationDataset", "degradation": "noise", "dataroot_gt": str(photographs)})
    assert data[0, 1]["lq"].shape == (3, 128, 128)
    metric = METRICS.build({"type": "calculate_psnr", "crop_border": 2})
    images = torch.rand(2, 3, 24, 24)
    metric.process(None, [{"restored": image, "gt": image} for image in images])
    assert metric.evaluate(2) == {"psnr": 100.0}


def test_what_is_registered_later_is_found() -> None:
    assert MODELS.get("RegisteredLater") is None

    @ARCH_REGISTRY.register()
    class RegisteredLater(nn.Module):
        pass

    assert MODELS.get("RegisteredLater") is RegisteredLater


def test_changes_are_those_of_the_command_line(tmp_path: Path) -> None:
    file = write({"train": {"total_iter": 9, "lr": 1e-3}, "sets": {"a": 1}, "name": "x"}, tmp_path)
    changes = {"train": {"lr": 1e-5, "scheduler": None}, "sets": {"_delete_": True, "b": [1, {"c": "d: e"}]}, "new": {}}
    assert read_options(file, list(as_forced(changes))).values == {
        "train": {"total_iter": 9, "lr": 1e-5, "scheduler": None},
        "sets": {"b": [1, {"c": "d: e"}]},
        "name": "x",
        "new": {},
    }


def native(file: Path, home: Path, photographs: Path, iterations: int) -> Config:
    """A config whose loops, data loaders, metrics and checkpoints are all mmengine's."""
    data = {"degradation": "noise", "dataroot_gt": str(photographs), "name": "noise"}
    train = {"type": "DegradationDataset", "gt_size": 32, "seed": 7, **data}
    return Config(
        {
            "default_scope": "dcpt",
            "work_dir": str(home),
            "experiment_name": f"{home.name}{iterations}",
            "model": {"type": "RestorationModel", "options": str(file)},
            "train_cfg": {"type": "IterBasedTrainLoop", "max_iters": iterations, "val_interval": 4},
            "train_dataloader": {
                "dataset": train,
                "sampler": {"type": "ShuffledStream", "seed": 7},
                "batch_size": 4,
                "num_workers": 0,
            },
            "optim_wrapper": {"constructor": "MethodOptimizers"},
            "val_cfg": {"type": "ValLoop"},
            "val_dataloader": {
                "dataset": {"type": "DegradationDataset", "phase": "val", **data},
                "sampler": {"type": "DefaultSampler", "shuffle": False},
                "batch_size": 1,
                "num_workers": 0,
            },
            "val_evaluator": [{"type": "calculate_psnr", "crop_border": 0}],
            "default_hooks": {"checkpoint": {"type": "CheckpointHook", "by_epoch": False, "interval": 2}},
            "log_processor": {"by_epoch": False},
        },
    )


def test_loops_of_mmengine_train_a_method_and_resume(photographs: Path, tmp_path: Path) -> None:
    options = restoration_options(photographs, tmp_path / "unused")
    options["train"]["total_iter"] = 4
    file = write(options, tmp_path)
    runner = Runner.from_cfg(native(file, tmp_path / "native", photographs, 4))
    runner.train()
    # The same batches through the method alone.
    section = {"type": "DegradationDataset", "degradation": "noise", "dataroot_gt": str(photographs), "name": "noise"}
    section.update(phase="train", gt_size=32, seed=7, batch_size_per_gpu=4)
    model: Any = MODELS.build({"type": "RestorationModel", "options": str(file)})
    batches = iter(build_train_loader(section))
    for iteration in range(1, 5):
        model.method.update_learning_rate(iteration)
        model.method.feed_data(next(batches))
        model.method.optimize_parameters(iteration)
    assert_same(dict(runner.model.networks.state_dict()), dict(model.networks.state_dict()))
    assert runner.message_hub.get_scalar("val/psnr").current() > 10
    # mmengine's own checkpoints, which hold its curves, are read again.
    again = native(file, tmp_path / "native", photographs, 6)
    again.resume = True
    runner = Runner.from_cfg(again)
    runner.train()
    assert runner.iter == 6
    assert (tmp_path / "native" / "iter_6.pth").exists()
