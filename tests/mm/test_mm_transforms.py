"""Degradations in pipelines of mmcv."""

from __future__ import annotations

import random
from pathlib import Path

import mmcv.transforms
import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmengine.runner import Runner
from small_runs import assert_same, restoration_options, weights, write
from test_mm_parity import config

import dcpt_mmengine
from dcpt_data import DataError
from dcpt_data.degradations import degrade
from dcpt_mmengine.pipeline_dataset import PipelineDataset

LOAD, PACK = {"type": "LoadImageFromFile"}, {"type": "PackPair"}
NOISE = {"type": "Degrade", "degradation": "noise", "sigma": 25}


def a_photograph(photographs: Path) -> str:
    return str(sorted(photographs.iterdir())[0])


def test_it_is_a_transform_of_mmcv_and_does_what_degrade_does(photographs: Path) -> None:
    assert isinstance(dcpt_mmengine.Degrade("haze"), mmcv.transforms.BaseTransform)
    pipeline = Compose([LOAD, {"type": "Degrade", "degradation": "haze+noise", "noise": {"sigma": 9}, "seed": 3}])
    results = pipeline({"img_path": a_photograph(photographs), "sample_idx": 5, "epoch": 2})
    clean = Compose([LOAD])({"img_path": a_photograph(photographs)})["img"]
    assert np.array_equal(results["gt"], clean)
    assert results["degradation"] == "haze+noise"
    rng = np.random.default_rng([3, 1, 2, 5])
    expected = degrade("haze+noise", clean[..., ::-1].astype(np.float32) / 255, rng, noise={"sigma": 9})
    assert results["img"].dtype == np.uint8
    assert np.array_equal(results["img"], (expected[..., ::-1] * 255).round().clip(0, 255).astype(np.uint8))


def test_floats_are_neither_rounded_nor_clipped() -> None:
    white = np.full((32, 32, 3), 255, np.float32)
    found = dcpt_mmengine.Degrade("noise", sigma=25)({"img": white})["img"]
    assert found.dtype == np.float32
    assert found.max() > 270
    assert found.std() == pytest.approx(25, rel=0.05)


def test_its_randomness_is_its_own(photographs: Path) -> None:
    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    pipeline = Compose([LOAD, {"type": "CropSquare", "size": 40}, NOISE])
    one, two = (pipeline({"img_path": a_photograph(photographs), "sample_idx": 0})["img"] for _ in range(2))
    assert not np.array_equal(one, two)
    key = {"img_path": a_photograph(photographs), "sample_idx": 0, "epoch": 1}
    assert np.array_equal(pipeline(dict(key))["img"], pipeline(dict(key))["img"])
    assert random.getstate() == states[0]
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), states[2])


def test_small_images_are_padded_and_pairs_are_rgb() -> None:
    image = np.zeros((20, 30, 3), np.uint8)
    image[..., 0] = 255  # blue, in the order that mmcv reads
    sample = Compose([{"type": "CropSquare", "size": 32}, NOISE, PACK])({"img": image, "img_path": "a/b.c.png"})
    assert sample["lq"].shape == sample["gt"].shape == (3, 32, 32)
    assert [sample["gt"][channel].mean() for channel in range(3)] == [0, 0, 1]
    assert sample["name"] == "b.c"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: dcpt_mmengine.Degrade("hase"), "did you mean 'haze'"),
        (lambda: dcpt_mmengine.Degrade("noise", sigmas=3), "did you mean 'sigma'"),
        (lambda: dcpt_mmengine.Degrade("haze")({"img": np.zeros((4, 4), np.uint8)}), "H x W x 3"),
        (lambda: dcpt_mmengine.Degrade("haze")({"img": np.zeros((4, 4, 3), np.uint16)}), "uint8 or float32"),
    ],
)
def test_mistakes_are_named(make, said: str) -> None:
    with pytest.raises(DataError, match=said):
        make()


def section(photographs: Path, *pipeline: dict, seed: int = 0) -> dict:
    return {
        "type": "PipelineDataset",
        "name": "p",
        "dataroot_gt": str(photographs),
        "pipeline": list(pipeline),
        "seed": seed,
    }


def test_samples_depend_on_their_key_alone_also_where_mmcv_draws(photographs: Path) -> None:
    flip = {"type": "RandomFlip", "prob": 0.5}
    both = {"type": "RandomChoice", "transforms": [[NOISE], [{"type": "Degrade", "degradation": "haze"}]]}
    data = PipelineDataset(section(photographs, LOAD, flip, both, PACK))
    first = [data[epoch, 1] for epoch in range(8)]
    assert {sample["degradation"] for sample in first} == {"noise", "haze"}
    np.random.seed(1)  # noqa: NPY002
    assert_same(data[3, 1], first[3])


def test_a_pipeline_without_an_end_is_named(photographs: Path) -> None:
    with pytest.raises(DataError, match="end it in PackPair"):
        PipelineDataset(section(photographs, LOAD))[0, 0]
    with pytest.raises(DataError, match="cannot be built"):
        PipelineDataset(section(photographs, {"type": "Lode"}))


def test_a_run_on_a_pipeline_resumes_exactly(photographs: Path, tmp_path: Path) -> None:
    file = write(restoration_options(photographs, tmp_path), tmp_path)
    crop = {"type": "CropSquare", "size": 32}
    data = section(photographs, LOAD, crop, {"type": "RandomFlip", "prob": 0.5}, NOISE, PACK)
    changes = {"datasets": {"_delete_": True, "train": {**data, "batch_size_per_gpu": 2}}}
    for name, lengths in {"whole": [4], "parts": [2, 4]}.items():
        for length in lengths:
            told = config(file, tmp_path / name, **changes, train={"total_iter": length})
            told.resume, told.experiment_name = length != lengths[0], f"{name}{length}"
            Runner.from_cfg(told).train()
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
