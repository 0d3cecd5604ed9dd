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
            expected = network(x, degradations=torch.tensor([row, row]))[0]
            assert torch.equal(tell(network, words, weights)(x), expected)
            assert not torch.equal(expected, network(x))


def test_it_is_run_as_the_network_is(weights: Path) -> None:
    network = build("GuidedNAFNet")
    told, plain = (Restorer(each, torch.device("cpu"), "fp32") for each in (tell(network, "haze", weights), network))
    assert (told.name, told.multiple, told.channels) == (plain.name, plain.multiple, plain.channels)
    assert told.per_pixel == pytest.approx(plain.per_pixel, rel=0.1)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    assert not np.array_equal(told.restore(pixels)[0], plain.restore(pixels)[0])


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
