"""The networks that come with the package do what their model card says, on photographs that they have not seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import in_this_process

from dcpt_arch.checkpoints.loading import load_network
from dcpt_data import DegradationDataset
from dcpt_data.degradations import degrade
from dcpt_data.images.pixels import to_uint8, write_image
from dcpt_data.images.sample_photographs import TEST, load
from dcpt_models.inference.diagnoser import load_diagnoser
from dcpt_models.inference.packaged import FOLDER, default_package
from dcpt_models.options.command_line import datasets_of
from dcpt_models.options.files import read_options

ROOT = Path(__file__).resolve().parents[2]
DEMO = read_options(ROOT / "options" / "_base_" / "data" / "demo_test.yml").values["datasets"]
SIZE = 320  # of the demo's photographs


def psnr(image: torch.Tensor, gt: torch.Tensor) -> float:
    """In dB, as 8-bit files would have it."""
    a, b = (torch.round(x.clamp(0, 1) * 255) for x in (image, gt))
    return float(10 * torch.log10(255**2 / (a - b).square().mean().clamp_min(1e-10)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's test photographs."""
    home = tmp_path_factory.mktemp("photographs")
    for name, photograph in TEST.items():
        write_image(home / f"{name}.png", load(photograph, SIZE))
    return home


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    return load_network(default_package().network)


def samples(section: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    dataset = DegradationDataset({**section, "phase": "test", "dataroot_gt": str(folder)})
    return [dataset[index] for index in range(len(dataset))]


def gain(network: torch.nn.Module, found: list[dict[str, Any]]) -> float:
    """Of the samples' PSNR by the network, in dB."""
    with torch.inference_mode():
        return float(np.mean([psnr(network(s["lq"][None])[0], s["gt"]) - psnr(s["lq"], s["gt"]) for s in found]))


def test_they_come_with_the_local_converter_that_they_were_validated_with(network) -> None:
    assert network.tlc_size == read_options(default_package().options).values["network_g"]["tlc_size"]


def test_they_are_small() -> None:
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) <= 16e6


def test_the_five_degradations_of_the_demo_are_reduced(folder, network) -> None:
    gains = {section["name"]: gain(network, samples(section, folder)) for section in DEMO.values()}
    assert len(gains) == 5
    least = {"haze": 6.5, "rain": 7.5, "noise": 8.7, "motion_blur": 0.5, "low_light": 13.0}
    assert all(gains[name] >= least[name] for name in least), gains


@pytest.mark.parametrize(
    ("name", "least"),
    [("defocus_blur", 1.1), ("jpeg", 0.6), ("snow", 6.2), ("demosaic", 4.2), ("inpainting", 6.0)],
)
def test_so_are_the_others(folder, network, name: str, least: float) -> None:
    found = samples({"name": name, "degradation": name}, folder)
    assert gain(network, found) >= least


@pytest.mark.parametrize(
    ("name", "least"), [("haze+noise", 6.2), ("low_light+noise", 11.0), ("motion_blur+jpeg", 0.05), ("rain+haze", 5.5)]
)
def test_and_two_at_once(folder, network, name: str, least: float) -> None:
    found = samples({"name": name, "degradation": name}, folder)
    assert gain(network, found) >= least


def test_faint_noise_is_reduced_too(folder, network) -> None:
    found = samples({"name": "noise", "degradation": "noise", "parameters": {"sigma": 5}}, folder)
    assert gain(network, found) >= 3.2


def test_clean_photographs_come_back_unharmed(folder, network) -> None:
    for sample in samples({"name": "clean", "degradation": "clean"}, folder):
        with torch.inference_mode():
            assert psnr(network(sample["lq"][None])[0], sample["gt"]) >= 48


def test_the_classifier_knows_what_the_photographs_have(folder) -> None:
    package = default_package()
    diagnoser = load_diagnoser(package.classifier, package.network, package.options, torch.device("cpu"))
    assert diagnoser.calibration is not None
    assert len(diagnoser.names) == 11
    right = [
        diagnoser.diagnose(sample["lq"].clamp(0, 1)).leading == section["name"]
        for section in DEMO.values()
        for sample in samples(section, folder)
    ]
    assert np.mean(right) >= 0.7  # 1 in 11 by chance


@pytest.mark.parametrize("name", ["test", "calibrate"])
def test_the_option_files_of_the_model_card_are_right(name: str) -> None:
    sets = datasets_of(str(ROOT / "options" / "package" / f"{name}.yml"), ROOT)
    names = read_options(default_package().options).values["degradations"]
    assert sorted(opt["name"] for key, opt in sets.items() if key != "train") == sorted(names)


def test_both_tools_use_them_by_default(folder, tmp_path, monkeypatch, capsys) -> None:
    noisy = degrade("noise", load(TEST["coffee"], SIZE).astype(np.float32) / 255, np.random.default_rng(0), sigma=50)
    write_image(tmp_path / "noisy.png", to_uint8(noisy.clip(0, 1)))

    def tool(*command: str) -> dict[str, Any]:
        assert in_this_process(command[0], monkeypatch, tmp_path, *command[1:], "--json") == 0
        return json.loads(capsys.readouterr().out)

    assert tool("restore.py", "noisy.png")["weights"] == str(default_package().network)
    assert (tmp_path / "restored" / "noisy.png").is_file()
    (diagnosis,) = tool("diagnose.py", "noisy.png")["files"]
    assert diagnosis["answer"] == "noise"
