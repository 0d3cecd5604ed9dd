"""What validation says of values that are none: metrics that cannot be computed, and best values that are NaN."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from small_runs import launch, restoration_options, write

from dcpt_models.errors import MetricError
from dcpt_models.metrics.by_name import measure
from dcpt_models.validation.best import Best
from dcpt_models.validation.validate import shown

NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize("lower", [set(), {"psnr"}], ids=["higher is better", "lower is better"])
@pytest.mark.parametrize("bad", [NAN, INFINITE, -INFINITE])
def test_what_is_not_finite_never_is_the_best(bad: float, lower: set[str]) -> None:
    best = Best()
    best.update({"rain": {"psnr": bad}}, 1, lower)
    assert best.records == {"rain": {}}
    best.update({"rain": {"psnr": 20.0}}, 2, lower)
    best.update({"rain": {"psnr": bad}}, 3, lower)
    assert best.records["rain"]["psnr"] == {"val": 20.0, "iter": 2}


def test_a_best_value_that_an_older_checkpoint_has_as_nan_is_replaced() -> None:
    best = Best()
    best.records = {"rain": {"psnr": {"val": NAN, "iter": 1}}}
    best.update({"rain": {"psnr": 20.0}}, 2, set())
    assert best.records["rain"]["psnr"] == {"val": 20.0, "iter": 2}


@pytest.mark.parametrize(
    ("section", "size", "why"),
    [
        ({"type": "calculate_psnr", "crop_border": 8}, (16, 12), "crop_border 8 leaves nothing of 12x16"),
        ({"type": "calculate_ssim"}, (9, 40), "SSIM needs 11x11 pixels or more, not 40x9"),
        ({"type": "calculate_niqe", "crop_border": 0}, (20, 20), "calculate_niqe cannot be computed on 20x20 pixels"),
    ],
)
def test_a_metric_that_cannot_be_computed_names_its_key_and_the_size(
    section: dict[str, Any], size: tuple[int, int], why: str
) -> None:
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    with pytest.raises(MetricError) as error:
        measure(image, image, {"mine": section}, rounded=True)
    message = str(error.value)
    assert "key 'val:metrics:mine'" in message and f"{size[1]}x{size[0]} pixels" in message and why in message
    assert "leave such images out" in message


def _small_images(folder: Path, *sides: int) -> str:
    folder.mkdir()
    for number, side in enumerate(sides):
        pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3), np.uint8)
        cv2.imwrite(str(folder / f"image{number}.png"), pixels)
    return str(folder)


def test_an_image_that_is_too_small_for_a_metric_is_named(photographs: Path, tmp_path: Path) -> None:
    options = restoration_options(photographs, tmp_path / "run")
    section = {"type": "DegradationDataset", "degradation": "rain"}
    options["datasets"]["val_own"] = {**section, "dataroot_gt": _small_images(tmp_path / "own", 40, 10)}
    with pytest.raises(MetricError, match=r"image 'image1' \(.*image1.png\): key 'val:metrics:ssim': .* on 10x10"):
        launch(write(options, tmp_path))
    # The state of the iterations before is there to resume from.
    assert (tmp_path / "run" / "training_states" / "3.state").exists()


def test_a_set_whose_first_image_is_too_small_ends_the_run_before_it_begins(photographs: Path, tmp_path: Path) -> None:
    options = restoration_options(photographs, tmp_path / "run")
    section = {"type": "DegradationDataset", "degradation": "rain"}
    options["datasets"]["val_own"] = {**section, "dataroot_gt": _small_images(tmp_path / "own", 10)}
    with pytest.raises(MetricError, match=r"validation set 'val_own', .*image0.png: key 'val:metrics:ssim': .* 10x10"):
        launch(write(options, tmp_path))
    assert not list((tmp_path / "run" / "training_states").iterdir())


@pytest.mark.parametrize(("terminal", "rank", "seen"), [(True, 0, True), (False, 0, False), (True, 1, False)])
def test_a_bar_shows_how_far_a_set_is_in_a_terminal_alone(terminal, rank, seen, monkeypatch) -> None:
    written = io.StringIO()
    written.isatty = lambda: terminal
    monkeypatch.setattr(sys, "stderr", written)
    assert list(shown([1, 2, 3], "rain", rank)) == [1, 2, 3]
    assert ("rain" in written.getvalue()) == seen
