"""Networks that spandrel opens: the same images as by spandrel itself, of any size; and what is said of others."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch
from other_networks import OTHERS, state_of, write_other
from small_networks import build, picture
from spandrel import MAIN_REGISTRY, ModelLoader
from spandrel_extra_arches import EXTRA_REGISTRY

from dcpt_arch import NAFNet
from dcpt_arch.checkpoints.loading import CheckpointError
from dcpt_arch.checkpoints.others import SpandrelNetwork, describe, is_of_others, open_network

PAGE = Path(__file__).resolve().parents[2] / "docs" / "CHECKPOINTS.md"


@pytest.fixture(scope="module")
def loader() -> ModelLoader:
    registry = type(MAIN_REGISTRY)()
    for source in (MAIN_REGISTRY, EXTRA_REGISTRY):
        registry.add(*source.architectures())
    return ModelLoader(device="cpu", registry=registry)


@pytest.mark.parametrize("name", OTHERS)
def test_the_same_image_as_by_spandrel(name: str, loader: ModelLoader, tmp_path: Path) -> None:
    network = open_network(write_other(name, tmp_path / "net.pth"))
    assert isinstance(network, SpandrelNetwork)
    theirs = loader.load_from_state_dict(state_of(name)).eval()
    assert network.architecture == name.split(",")[0].replace("Compact", "RealESRGAN Compact")
    assert network.scale == int(name.partition(", x")[2] or 1) == theirs.scale
    x = picture(50, 67, batch=2)
    with torch.no_grad():
        found = network(x)
        channels = theirs.input_channels
        expected = torch.cat([torch.cat([theirs(c) for c in image.split(channels, 1)], 1) for image in x.split(1)])
    assert found.shape == (2, 3, 50 * network.scale, 67 * network.scale)
    assert torch.equal(found, expected)
    assert float(found.std()) > 1e-3  # a network that gives one colour would be equal, too


def test_the_page_lists_what_is_compared_here() -> None:
    rows = PAGE.read_text(encoding="utf-8").split("## Opened and compared")[1].split("\n## ")[0]
    assert {line.split("|")[1].strip() for line in rows.splitlines() if line.startswith("| ")} - {"network"} == set(
        OTHERS
    )


def test_ours_stay_ours(tmp_path: Path) -> None:
    torch.save({"params": build("NAFNet").state_dict()}, tmp_path / "net.pth")
    assert isinstance(open_network(tmp_path / "net.pth"), NAFNet)
    assert not is_of_others(tmp_path / "net.pth")


@pytest.mark.parametrize("key", ["params_ema", "state_dict"])
def test_weights_below_a_key_and_a_prefix(key: str, tmp_path: Path) -> None:
    state = {f"module.{name}": value for name, value in state_of("DRUNet").items()}
    torch.save({key: state, "iter": 3}, tmp_path / "net.pth")
    assert open_network(tmp_path / "net.pth").architecture == "DRUNet"
    assert is_of_others(tmp_path / "net.pth")


def test_a_network_that_nobody_knows(tmp_path: Path) -> None:
    torch.save({"odd.weight": torch.ones(3)}, tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match=r"net.pth: .*unknown network .*'odd.weight'.* nor spandrel"):
        open_network(tmp_path / "net.pth")
    assert not is_of_others(tmp_path / "net.pth")


def test_what_is_no_network_for_photographs_is_refused() -> None:
    state = state_of("DnCNN")
    state["model.6.weight"], state["model.6.bias"] = torch.ones(2, 8, 3, 3), torch.ones(2)
    with pytest.raises(CheckpointError, match="it: "):
        describe(state, "it")


def test_without_spandrel_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_other("DRUNet", tmp_path / "net.pth")
    real = importlib.import_module

    def missing(name: str, *more: str) -> object:
        if name.startswith("spandrel"):
            raise ImportError(name)
        return real(name, *more)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(CheckpointError, match=r'spandrel opens many of others: pip install "dcpt\[spandrel\]"'):
        open_network(file)


def test_a_file_of_nan_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    state = state_of("DRUNet")
    state["m_head.weight"][0] = float("nan")
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match="NaN or infinite"):
        open_network(tmp_path / "net.pth")
