"""Which images a study of features is made on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import NAMES, completed, dcpt_options, write

from dcpt_data import DataError
from dcpt_data.datasets.feature_crops import FIVE, StudySource, study_crops
from dcpt_data.images.pixels import read_image, to_float, write_image


def test_every_degradation_is_made_of_the_same_photographs(crop_folder: Path) -> None:
    source = StudySource(gt=crop_folder, degradations=["clean", "noise", "low_light"])
    crops = study_crops(source, count=4, size=64)
    assert crops.counts == {"clean": 4, "noise": 4, "low_light": 4}
    assert crops.images.shape == (12, 3, 64, 64)
    assert crops.images.dtype == torch.float32
    clean, noisy, dark = crops.images.split(4)
    whole = {file.stem: to_float(read_image(file)) for file in crop_folder.iterdir()}
    centres = [torch.from_numpy(image[4:68, 16:80]).permute(2, 0, 1) for image in whole.values()]
    chosen = [next(i for i, centre in enumerate(centres) if torch.equal(centre, crop)) for crop in clean]
    assert len(set(chosen)) == 4
    for crop, noise, low in zip(clean, noisy, dark, strict=True):
        assert 0.04 < (noise - crop).std() < 0.25  # sigma 15 to 50
        assert low.mean() < crop.mean()
    # One pattern for all images, as in the published test noise, would be a label.
    assert torch.corrcoef((noisy - clean).flatten(1)).triu(1).abs().max() < 0.05


def test_the_seed_decides_and_nothing_else(crop_folder: Path) -> None:
    source = StudySource(gt=crop_folder, degradations=["clean", "rain"])
    first, again, other = (study_crops(source, count=3, size=64, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, other.images)
    alone = study_crops(StudySource(gt=crop_folder, degradations=["rain"]), count=3, size=64, seed=1)
    assert torch.equal(alone.images, first.images[3:])  # whatever stands beside it


def test_tiles_are_whole_and_do_not_overlap(crop_folder: Path) -> None:
    crops = study_crops(StudySource(gt=crop_folder, degradations=["clean"], tiles=True), size=24)
    assert len(crops.labels) == 6 * (72 // 24) * (96 // 24)
    assert len({crop.numpy().tobytes() for crop in crops.images}) == len(crops.labels)


def test_without_a_source_installed_photographs_are_cut() -> None:
    crops = study_crops(StudySource(), count=5)
    assert crops.counts == dict.fromkeys(FIVE, 5)
    assert crops.images.shape == (25, 3, 128, 128)


def test_degraded_folders_are_taken_as_they_are(crops: dict[str, np.ndarray], tmp_path: Path) -> None:
    for name, image in crops.items():
        folder = tmp_path / ("smoke" if name in ("cat", "cup") else "dust")
        folder.mkdir(exist_ok=True)
        write_image(folder / f"{name}.png", image)
    found = study_crops(StudySource(lq={"smoke": tmp_path / "smoke", "dust": tmp_path / "dust"}), count=3, size=72)
    assert found.counts == {"smoke": 2, "dust": 3}
    images = {torch.from_numpy(to_float(image[:, 12:84])).permute(2, 0, 1).contiguous() for image in crops.values()}
    for crop in found.images:
        assert any(torch.equal(crop, image) for image in images)


def test_the_sets_of_an_option_file(photographs: Path, tmp_path: Path) -> None:
    options = dcpt_options(photographs, tmp_path / "run")
    options["datasets"]["val_noise"]["parameters"] = {"sigma": 0}
    datasets = completed(write(options, tmp_path))["datasets"]
    tested = study_crops(StudySource(datasets=datasets), count=2, size=64)
    assert tested.counts == dict.fromkeys(NAMES, 1)  # each set has `limit: 1`
    clean = study_crops(StudySource(gt=photographs, degradations=["clean"]), size=64)
    noisy = tested.images[NAMES.index("noise")]
    assert any(torch.equal(noisy, image) for image in clean.images)
    trained = study_crops(StudySource(datasets=datasets, train=True), count=2, size=64)
    assert trained.counts == dict.fromkeys(NAMES, 2)
    with pytest.raises(DataError, match="no training sets"):
        study_crops(StudySource(datasets={"val_noise": datasets["val_noise"]}, train=True))


def test_mistakes_are_told(crop_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\w+\.png: 96x72 pixels are less than a crop of 80"):
        study_crops(StudySource(gt=crop_folder), size=80)
    with pytest.raises(DataError, match="less than a crop of 80"):
        study_crops(StudySource(gt=crop_folder, tiles=True), size=80)
    with pytest.raises(DataError, match="did you mean 'haze'"):
        study_crops(StudySource(gt=crop_folder, degradations=["hazy"]), size=8)
    with pytest.raises(DataError, match="no such folder"):
        study_crops(StudySource(lq={"haze": tmp_path / "none"}))
