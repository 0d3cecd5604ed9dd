"""What tests of checkpoints share: published weights, and when a network is the one it was saved from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from fingerprint import fill
from small_networks import picture

from dcpt_arch import NAFNet
from dcpt_arch.checkpoints.loading import CheckpointError, compare, load_network

FIGURES = json.loads((Path(__file__).parents[1] / "figures" / "arch.json").read_text(encoding="utf-8"))
NETWORKS = [name for name, entry in FIGURES.items() if isinstance(entry, dict) and "size" in entry]


def published(name):
    """The weights of a published network, with its own names."""
    entry = FIGURES[name]
    base = FIGURES[entry["extends"]]["shapes"] if "extends" in entry else {}
    return fill({**base, **entry["shapes"]})


def assert_loaded(network, original):
    """The network is the original: class, arguments (as its parameters show) and image."""
    assert type(network) is type(original)
    assert not compare(network, original.state_dict())
    (first, *_) = (module for module in original.modules() if isinstance(module, torch.nn.Conv2d))
    wanted = original.intro.in_channels // original.fold**2 if isinstance(original, NAFNet) else first.in_channels
    x = picture(9, 12, channels=wanted)
    with torch.no_grad():
        assert torch.equal(network(x), original.eval()(x))


def saved(tmp_path, content):
    file = tmp_path / "net.pth"
    torch.save(content, file)
    return file


def assert_refused(file, *parts):
    """One line that names the file and says each of `parts`."""
    with pytest.raises(CheckpointError) as caught:
        load_network(file)
    message = str(caught.value)
    assert "\n" not in message and str(file) in message
    for part in parts:
        assert part in message
