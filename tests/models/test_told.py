"""A network is told what to remove."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from small_networks import build, picture

from dcpt_models.errors import OptionError
from dcpt_models.inference.restorer import Restorer
from dcpt_models.inference.told import classes, tell

KNOWN = ["noise", "haze", "rain"]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """The checkpoint of a run whose classes are KNOWN and clean."""
    (tmp_path / "models").mkdir()
    (tmp_path / "run.yml").write_text(f"degradations: [{', '.join([*KNOWN, 'clean'])}]\n", encoding="utf-8")
    return tmp_path / "models" / "net_g_8.pth"


def test_it_removes_what_it_is_told(weights: Path) -> None:
    network, x = build("GuidedNAFNet").eval(), picture(17, 22)
    assert classes(weights) == KNOWN
    with torch.no_grad():
        for words, row in (("rain", [0.0, 0, 1]), ("haze+noise", [1.0, 1, 0])):
            told = tell(network, words, weights)
            assert told.tolist() == [row]
            expected = network(x, degradations=torch.tensor([row, row]))[0]
            assert torch.equal(network.steered(x, told.expand(2, -1)), expected)
            assert not torch.equal(expected, network(x))


@pytest.mark.parametrize("precision", ["fp32", "auto"])
def test_whole_photographs_and_their_tiles_are_restored_as_told(weights: Path, precision: str) -> None:
    network = build("GuidedNAFNet")
    pixels = np.random.default_rng(0).integers(0, 256, (90, 70, 3)).astype(np.uint8)
    seen: list[torch.Tensor] = []
    steered = network.steered
    network.steered = lambda x, told: (seen.append(told), steered(x, told))[1]
    for tile, count in ((0, 1), (64, 4)):
        restorer = Restorer(network, torch.device("cpu"), precision, tile=tile, overlap=16)
        plain = restorer.restore(pixels)[0]
        seen.clear()
        told = tell(network, "haze", weights)
        restorer = Restorer(network, torch.device("cpu"), precision, tile=tile, overlap=16, told=told)
        result, tiling = restorer.restore(pixels)
        assert tiling.count == count
        assert len(seen) >= count
        assert all(each.tolist() == [[0, 1, 0]] for each in seen)
        assert not np.array_equal(result, plain)


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("NAFNet", "haze", r"net_g_8\.pth: a NAFNet cannot be told what to remove; leave --remove out"),
        ("GuidedNAFNet", "hase", r"--remove hase: this network does not know 'hase'; did you mean 'haze'\?"),
        ("GuidedNAFNet", "clean", r"this network does not know 'clean'"),
        ("GuidedNAFNet", "", r"this network does not know ''"),
    ],
)
def test_what_cannot_be_told(name: str, words: str, message: str, weights: Path) -> None:
    with pytest.raises(OptionError, match=message):
        tell(build(name), words, weights)


def test_the_classes_must_be_known_and_those_of_the_network(weights: Path) -> None:
    file = weights.parents[1] / "run.yml"
    file.write_text("degradations: [noise, clean]\n", encoding="utf-8")
    with pytest.raises(OptionError, match="names 1 degradations, the network has others"):
        tell(build("GuidedNAFNet"), "noise", weights)
    file.unlink()
    with pytest.raises(OptionError, match="put the one there that it was trained with"):
        tell(build("GuidedNAFNet"), "noise", weights)
