"""Diagnosing photographs: calibrated probabilities, unfamiliar images, maps, and the command as a user gives it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from commands import in_this_process
from scipy.special import softmax
from small_runs import NAMES, dcpt_options, launch, write
from torch import nn

from dcpt_arch import FeatureInfo, RestorationBackbone
from dcpt_arch.checkpoints.loading import CheckpointError
from dcpt_data.degradations import degrade
from dcpt_data.images.pixels import list_images, read_image, to_float, to_uint8, write_image
from dcpt_models.inference.calibration import (
    Calibration,
    calibrate,
    calibration_error,
    familiarity,
    fit_limit,
    fit_temperature,
    judged,
    probabilities,
    read_calibration,
)
from dcpt_models.inference.diagnoser import CROPS, UNFAMILIAR, Diagnoser, Diagnosis, spread_crops
from dcpt_models.inference.diagnosis_sheet import LONGEST, draw, heat

ROOT = Path(__file__).resolve().parents[2]


class Levels(RestorationBackbone):
    """A backbone whose features are the image and its halved self."""

    head = ()
    size_multiple = 2

    def __init__(self) -> None:
        super().__init__()
        self.feature_info += [FeatureInfo(3, 1), FeatureInfo(3, 2)]
        self.scale = nn.Parameter(torch.ones(1))

    def encode(self, x):
        return [x * self.scale, nn.functional.avg_pool2d(x, 2) * self.scale], None


class Colours(nn.Module):
    """A classifier whose logits are how red, green and blue an image is on the average, on both levels."""

    def forward(self, features):
        return 4 * sum(feature.mean((-2, -1)) for feature in features)


def diagnoser(**changed: Any) -> Diagnoser:
    made = Diagnoser(Levels(), Colours(), ["red", "green", "blue"], False, 16, {"net_dc.pth": "0"})
    return replace(made, **changed)


def spot(height: int, width: int) -> torch.Tensor:
    """A red square in the dark."""
    image = torch.zeros(3, height, width)
    image[0, 8:16, 20:32] = 1
    return image


# What an image is looked at by


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (15, 40), (100, 33), (500, 700)])
def test_crops_are_evenly_spread_and_of_equal_size(size) -> None:
    height, width = size
    place = torch.stack([torch.arange(height)[:, None].expand(size), torch.arange(width).expand(size)])
    crops = spread_crops(place, 16)
    assert crops.shape[1:] == (2, min(16, height), min(16, width))
    assert len(crops) <= CROPS**2
    assert crops[0, :, 0, 0].tolist() == [0, 0]
    assert crops[-1, :, -1, -1].tolist() == [height - 1, width - 1]
    if max(size) <= 16 * CROPS:
        covered = {tuple(pixel) for crop in crops for pixel in crop.flatten(1).T.tolist()}
        assert len(covered) == height * width


def test_logits_are_those_of_the_crops_averaged() -> None:
    image = torch.rand(3, 40, 50)
    one = [diagnoser(crop=10**6).logits(crop) for crop in spread_crops(image, 16)]
    assert diagnoser().logits(image) == pytest.approx(np.mean(one, axis=0), abs=1e-6)


def test_the_answer_needs_a_calibration_to_say_none() -> None:
    red = torch.zeros(3, 20, 20)
    red[0] = 1
    dark = torch.zeros(3, 20, 20)
    first = diagnoser().diagnose(red)
    assert (first.answer, first.leading, first.familiar) == ("red", "red", None)
    assert first.probabilities["red"] == pytest.approx(softmax([8, 0, 0])[0])
    calibration = Calibration(2.0, 3.0, 0.05, 16, 100, {}, {})
    second = diagnoser(calibration=calibration).diagnose(red)
    assert (second.answer, second.familiar) == ("red", True)
    assert second.probabilities["red"] == pytest.approx(softmax([4, 0, 0])[0])
    third = diagnoser(calibration=calibration).diagnose(dark)
    assert (third.answer, third.familiar) == (UNFAMILIAR, False)
    several = diagnoser(multi_label=True, classifier=nn.Sequential(Colours(), nn.Linear(3, 3)))
    several.classifier[1].load_state_dict({"weight": torch.eye(3), "bias": torch.full((3,), -2.0)})
    purple = red.clone()
    purple[2] = 1
    assert several.diagnose(purple).answer == "red+blue"
    assert several.diagnose(dark).answer == UNFAMILIAR


# Where


@pytest.mark.parametrize("size", [(24, 48), (23, 47), (600, 530)])
def test_evidence_lies_where_the_degradation_is(size) -> None:
    image = spot(*size)
    evidence = diagnoser().evidence(image, "red")
    assert evidence.shape == size
    inside = evidence[8:16, 20:32].sum()
    assert inside > 0.9 * evidence.sum() > 0
    assert evidence[9:15, 21:31].min() > 10 * evidence[20:, :].max()
    assert not diagnoser().evidence(image, "green").any()


def test_evidence_sums_to_the_logit() -> None:
    # Of a classifier that is linear in the features, on every level.
    image = torch.rand(3, 32, 48)
    whole = diagnoser(crop=48)
    for index, name in enumerate(whole.names):
        assert whole.evidence(image, name).sum() == pytest.approx(whole.logits(image)[index], rel=1e-5)


def test_a_picture_of_a_diagnosis() -> None:
    image = spot(300, 1200)
    pixels = to_uint8(image.permute(1, 2, 0).numpy())
    diagnosis = Diagnosis("red", {"blue": 0.1, "red": 0.7, "green": 0.2}, 1.0, None)
    sheet = draw(pixels, diagnoser().evidence(image, "red"), diagnosis)
    assert sheet.dtype == np.uint8
    assert 2 * LONGEST < sheet.shape[1] < 2 * LONGEST + 50
    heated = heat(pixels, diagnoser().evidence(image, "red"))
    assert heated.shape == pixels.shape
    assert heated[12, 26].astype(int).sum() > 300 > heated[200, 900].astype(int).sum()
    tiny = draw(pixels[:1, :1], np.zeros((1, 1)), replace(diagnosis, familiar=True))
    assert tiny.shape[1] >= 400
    # A longer bar for what is more probable.
    bar = [int((cv2.cvtColor(sheet, cv2.COLOR_RGB2HSV)[row, 200:, 1] > 100).sum()) for row in (-75, -49, -23)]
    assert bar[0] > 3 * bar[1] > 5 * bar[2] > 0


# Calibration


def drawn(temperature: float, count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Logits of a classifier that is too sure of itself by a factor, and targets of which its logits are right."""
    rng = np.random.default_rng(0)
    sound = rng.normal(0, 2, (count, 4))
    chosen = [rng.choice(4, p=softmax(row)) for row in sound]
    return sound * temperature, np.eye(4)[chosen]


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_is_found(temperature) -> None:
    logits, targets = drawn(temperature)
    assert fit_temperature(logits, targets, False) == pytest.approx(temperature, rel=0.08)
    rng = np.random.default_rng(0)
    sound = rng.normal(0, 2, (4000, 3))
    several = (rng.random(sound.shape) < 1 / (1 + np.exp(-sound))).astype(float)
    assert fit_temperature(sound * temperature, several, True) == pytest.approx(temperature, rel=0.08)


def test_a_calibration_makes_confidence_true() -> None:
    logits, targets = drawn(3.0)
    found = calibrate(logits, targets, np.empty((0, 4)), False, 0.05, 64, {})
    assert found.held_out["error_uncalibrated"] > 0.1
    assert found.held_out["error"] < 0.03
    assert found.held_out["nll"] < found.held_out["nll_uncalibrated"] - 0.1
    assert found.held_out["accuracy"] == pytest.approx((logits.argmax(1) == targets.argmax(1)).mean(), abs=0.001)
    assert "clean_unfamiliar" not in found.held_out
    assert found.images == 4000


def test_the_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    right = np.array([True] * 6 + [False] * 4)
    assert calibration_error(np.full(10, 0.9), right) == pytest.approx(0.3)
    assert calibration_error(np.array([0.62] * 5 + [1.0] * 5), np.array([1, 1, 1, 0, 0] + [1] * 5)) == pytest.approx(
        0.01
    )
    confidence, right = judged(np.array([[0.8, 0.4]]), np.array([[1.0, 1.0]]), True)
    assert confidence.tolist() == [0.8, 0.6]
    assert right.tolist() == [True, False]


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_false_alarms_are_as_stated(share) -> None:
    rng = np.random.default_rng(0)
    alarms = [(rng.normal(size=400) < fit_limit(rng.normal(size=99), share)).mean() for _ in range(300)]
    assert np.mean(alarms) == pytest.approx(share, abs=0.01)
    with pytest.raises(ValueError, match=r"3 images are too few for 5\.0% false alarms; 19 are needed"):
        fit_limit(np.zeros(3), 0.05)


@pytest.mark.parametrize("multi_label", [False, True])
def test_small_logits_are_unfamiliar(multi_label) -> None:
    rng = np.random.default_rng(0)
    known = rng.normal(0, 0.3, (200, 3))
    known[np.arange(200), np.arange(200) % 3] += 5
    targets = np.eye(3)[np.arange(200) % 3]
    clean = rng.normal(0, 0.3, (50, 3))
    found = calibrate(known, targets, clean, multi_label, 0.05, 64, {})
    assert found.held_out["clean_unfamiliar"] == 1
    assert found.held_out["false_alarms"] == pytest.approx(0.05, abs=0.03)
    assert (familiarity(known, multi_label) < found.limit).mean() <= 0.05
    assert probabilities(known[:1], 2.0, multi_label)[0, 0] == probabilities(known[:1] / 2, 1.0, multi_label)[0, 0]


def test_a_calibration_is_of_its_weights(tmp_path) -> None:
    calibration = Calibration(1.5, 2.0, 0.05, 64, 100, {"net_g.pth": "1", "net_dc.pth": "2"}, {"accuracy": 0.5})
    calibration.write(tmp_path / "a.json")
    assert read_calibration(tmp_path / "a.json", calibration.weights) == calibration
    with pytest.raises(CheckpointError, match=r"a\.json: was made for other weights .*--calibrate` again"):
        read_calibration(tmp_path / "a.json", {"net_g.pth": "1", "net_dc.pth": "3"})
    for text in ("{", "{}", "[]"):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(CheckpointError, match="not a calibration"):
            read_calibration(tmp_path / "a.json", {})


# The command


@pytest.fixture(scope="module")
def run(photographs, tmp_path_factory) -> Path:
    """The folder of a tiny DCPT run."""
    home = tmp_path_factory.mktemp("run")
    options = dcpt_options(photographs, home / "run")
    for key, section in options["datasets"].items():
        if key != "train":
            section["limit"] = 2
    launch(write(options, home))
    return home / "run"


@pytest.fixture
def classifier(run, tmp_path) -> Path:
    """The classifier of a run of its own, which has no calibration yet."""
    shutil.copytree(run / "models", tmp_path / "run" / "models")
    shutil.copy(next(run.glob("*.yml")), tmp_path / "run")
    return tmp_path / "run" / "models" / "net_dc_latest.pth"


run_here = partial(in_this_process, "diagnose.py")


def test_photographs_as_a_user_diagnoses_them(classifier, crop_folder, tmp_path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index, path in enumerate(list_images(crop_folder)[:2]):
        noisy = degrade("noise", to_float(read_image(path)), rng, sigma=25)
        write_image(tmp_path / "in" / ("" if index else "deep") / path.name, to_uint8(noisy))
    (tmp_path / "in" / "bad.png").write_bytes(b"no image")
    line = [
        sys.executable,
        str(ROOT / "tools" / "diagnose.py"),
        "in",
        "--classifier",
        str(classifier),
        "--maps",
        "maps",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [*line, "--json"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "error: 1 of 3 images failed:\n  in/bad.png: not an image" in done.stderr
    assert "Traceback" not in done.stderr
    record = json.loads(done.stdout)
    assert [entry["input"] for entry in record["failed"]] == ["in/bad.png"]
    assert record["calibrated"] is False
    assert sum(record["summary"].values()) == len(record["files"]) == 2
    for entry in record["files"]:
        assert list(entry["probabilities"]) == NAMES
        assert sum(entry["probabilities"].values()) == pytest.approx(1)
        assert entry["answer"] == max(NAMES, key=entry["probabilities"].__getitem__)
        sheet = read_image(tmp_path / entry["map"])
        assert sheet.shape[1] >= 2 * 96
    assert sorted(path.relative_to(tmp_path / "maps").as_posix() for path in list_images(tmp_path / "maps")) == [
        "cup.png",
        "deep/cat.png",
    ]


def test_a_classifier_is_calibrated_and_then_says_so(classifier, crop_folder, tmp_path, monkeypatch, capsys) -> None:
    given = ("--classifier", classifier)
    assert run_here(monkeypatch, tmp_path, "--calibrate", *given, "--false-alarms", 0.3, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    file = classifier.with_name("net_dc_latest.calibration.json")
    assert found["file"] == str(file)
    assert json.loads(file.read_text()) == {key: value for key, value in found.items() if key != "file"}
    assert (found["images"], found["crop"], found["false_alarms"]) == (10, 32, 0.3)
    assert set(found["weights"]) == {"net_g_latest.pth", "net_dc_latest.pth"}
    fitted = {"error", "error_uncalibrated", "nll", "nll_uncalibrated"}
    assert set(found["held_out"]) == {"accuracy", "false_alarms", "clean_unfamiliar", *fitted}

    assert run_here(monkeypatch, tmp_path, crop_folder, *given) == 0
    shown = capsys.readouterr().out
    assert "6 images: " in shown
    assert "Not calibrated" not in shown
    # With a limit that nothing reaches, nothing is familiar.
    file.write_text(json.dumps({**json.loads(file.read_text()), "limit": 1e9}))
    assert run_here(monkeypatch, tmp_path, crop_folder / "cat.png", *given) == 0
    assert f"cat.png: {UNFAMILIAR} (" in capsys.readouterr().out

    stale = json.loads(file.read_text())
    stale["weights"]["net_dc_latest.pth"] = "another"
    file.write_text(json.dumps(stale))
    assert run_here(monkeypatch, tmp_path, crop_folder / "cat.png", *given) == 1
    assert "was made for other weights" in capsys.readouterr().err
    # Calibrating anew does not trip over what there was.
    assert run_here(monkeypatch, tmp_path, "--calibrate", *given) == 2
    assert "5 images are too few for 5.0% false alarms; 19 are needed" in capsys.readouterr().err
    assert run_here(monkeypatch, tmp_path, "--calibrate", *given, "--false-alarms", 0.3) == 0
    assert "temperature" in capsys.readouterr().out
    assert run_here(monkeypatch, tmp_path, crop_folder / "cat.png", *given) == 0


def test_bad_arguments(classifier, crop_folder, tmp_path, monkeypatch, capsys) -> None:
    def refusal(*arguments: Any, code: int) -> str:
        assert run_here(monkeypatch, tmp_path, *arguments) == code
        return capsys.readouterr().err

    cat, given = crop_folder / "cat.png", ("--classifier", classifier)
    assert "give images, or --calibrate" in refusal(*given, code=2)
    assert "give images, or --calibrate" in refusal(cat, "--calibrate", *given, code=2)
    assert "must be a share between 0 and 1" in refusal("--calibrate", "--false-alarms", 2, *given, code=2)
    assert "no such file or folder" in refusal("nowhere", *given, code=1)
    assert "no such checkpoint" in refusal(cat, "--classifier", classifier.with_name("net_dc_7.pth"), code=1)
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "cat.png").write_text("mine")
    assert "cat.png exists; choose another --maps, or give --overwrite" in refusal(
        cat, *given, "--maps", "maps", code=2
    )
    backbone = classifier.with_name("net_g_latest.pth")
    backbone.rename(tmp_path / "backbone.pth")
    assert "no net_g beside it; give the backbone's checkpoint by --weights" in refusal(cat, *given, code=2)
    assert run_here(monkeypatch, tmp_path, cat, *given, "--weights", tmp_path / "backbone.pth") == 0
    next(classifier.parent.parent.glob("*.yml")).unlink()
    assert "give the one it was trained with by -opt" in refusal(cat, *given, code=2)
    write({"name": "plain", "model_type": "RestorationModel"}, tmp_path)
    assert "options.yml has no `network_dc`" in refusal(cat, *given, "-opt", "options.yml", code=2)


def test_a_diagnosis_is_led_by_what_is_most_probable() -> None:
    assert Diagnosis(UNFAMILIAR, {"rain": 0.2, "haze": 0.8}, 0.0, False).leading == "haze"
