"""Stand-ins for data that an option file names and that are not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dcpt_data import DataError, build_train_loader, build_val_loaders, check_folders
from dcpt_data.images.pixels import list_images
from dcpt_data.preparation.trial_data import Usual, trial_data

COMMON = {"phase": "train", "scale": 1, "gt_size": 32}


def mixture(photographs: Path, root: Path, **more: Any) -> dict[str, Any]:
    """A mixture of a published set that is not there, a folder that is there and one that is not."""
    sets = {
        "rain": {"source": "Rain100L-train", "repeat_ratio": 3},
        "noise": {"degradation": "noise", "dataroot_gt": str(photographs), "repeat_ratio": 5},
        "mine": {"degradation": "smoke", "dataroot_gt": str(root / "gt"), "dataroot_lq": str(root / "lq")},
    }
    return {
        **COMMON,
        "name": "mix",
        "type": "DegradationMixtureDataset",
        "datasets_root": str(root),
        "batch_size_per_gpu": 4,
        "sets": sets,
        **more,
    }


def test_stand_ins_have_the_size_and_the_share_of_what_they_stand_for(photographs: Path, tmp_path: Path) -> None:
    datasets = {"train": mixture(photographs, tmp_path / "none")}
    with pytest.raises(DataError):
        check_folders(datasets)
    changed, found = trial_data(datasets, tmp_path / "made", Usual((40, 48), 10))
    check_folders(changed)
    known = {one.name.rpartition(":")[2]: one for one in found}
    assert [one.there for one in known.values()] == [False, True, False]
    assert [one.supposed for one in known.values()] == [False, False, True]
    assert [one.images for one in known.values()] == [200, 2, 10]
    assert [one.size for one in known.values()] == [(481, 321), (112, 96), (40, 48)]
    assert known["rain"].lmdb_bytes == 3 * 481 * 321 * 400
    assert known["noise"].lmdb_bytes == 3 * 96 * 112 * 2
    assert known["mine"].lmdb_bytes == 3 * 40 * 48 * 20
    loader = build_train_loader(changed["train"])
    assert loader.dataset.counts() == {"rain": 3 * 200, "noise": 5 * 2, "smoke": 10}
    batch = next(iter(loader))
    assert batch["lq"].shape == batch["gt"].shape == (4, 3, 32, 32)
    assert datasets["train"]["sets"]["rain"] == {"source": "Rain100L-train", "repeat_ratio": 3}


def test_validation_sets_and_limits(photographs: Path, tmp_path: Path) -> None:
    section = {**COMMON, "phase": "val", "name": "x", "type": "DegradationDataset", "datasets_root": str(tmp_path)}
    datasets = {
        "val_a": {**section, "source": "SOTS-outdoor"},
        "val_b": {**section, "source": "GoPro-test", "limit": 7},
        "val_c": {**section, "degradation": "haze", "dataroot_gt": str(photographs), "limit": 1},
    }
    changed, found = trial_data(datasets, tmp_path / "made", Usual())
    assert [(one.name, one.images, one.there) for one in found] == [
        ("datasets:val_a", 500, False),
        ("datasets:val_b", 7, False),
        ("datasets:val_c", 1, True),
    ]
    assert found[0].lmdb_bytes == 3 * 550 * 413 * (500 + 492)  # some photographs have two degraded images
    shapes = [next(iter(loader))["lq"].shape for loader in build_val_loaders(changed)]
    assert shapes == [(1, 3, 413, 550), (1, 3, 720, 1280), (1, 3, 96, 112)]


def test_sources_are_read_from_lmdbs_where_the_options_say_so(photographs: Path, tmp_path: Path) -> None:
    datasets = {"train": mixture(photographs, tmp_path / "none", io_backend={"type": "lmdb"})}
    changed, _ = trial_data(datasets, tmp_path / "made", Usual((40, 48), 10))
    assert (tmp_path / "made" / "datasets" / "lmdb" / "Rain100L-train.lmdb").is_dir()
    assert len(build_train_loader(changed["train"]).dataset) == 3 * 200 + 5 * 2 + 10


def test_members_that_share_ground_truth_are_made_together(tmp_path: Path) -> None:
    sets = {name: {"source": f"CDD-11-train-{name}"} for name in ("haze", "haze_rain")}
    datasets = {"train": {**mixture(tmp_path, tmp_path), "sets": sets}}
    changed, found = trial_data(datasets, tmp_path / "made", Usual())
    assert [one.size for one in found] == [(1080, 720)] * 2
    assert all(one.supposed for one in found)  # of these the size is not known for certain
    folder = tmp_path / "made" / "datasets" / "CDD-11" / "train"
    assert len([file for one in folder.iterdir() if one.is_dir() for file in list_images(one)]) == 6
    build_train_loader(changed["train"])
