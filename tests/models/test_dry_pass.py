"""Networks that do not give images of the shape of gt are refused by name before anything is trained."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch
from basicsr.archs import build_network
from small_runs import launch, restoration_options, write
from torch import nn

import dcpt_arch  # noqa: F401 - registers networks
from dcpt_models.errors import OptionError
from dcpt_models.methods.dry_pass import check_restores

ENGINE = {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 4, "num_block": 1}


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"type": "NAFNet", "width": 8, "out_channels": 1}, "gives images of 1 channels, and gt has 3; .*out_channels"),
        ({"type": "NAFNet", "width": 8, "in_channels": 1}, "does not take an image of 3 channels .*in_channels"),
        ({"type": "NAFNet", "width": 8, "in_channels": 4}, "does not take an image of 3 channels .*in_channels"),
        ({"type": "RRDBNet", **ENGINE, "num_grow_ch": 4, "scale": 4}, "64x64 pixels for 16x16, 4 times .*scale"),
        ({"type": "EDSR", **ENGINE, "upscale": 2}, "32x32 pixels for 16x16, 2 times the side"),
    ],
)
def test_what_does_not_fit_gt_is_named_with_the_reason(section: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=rf"key 'network_g': {section['type']} .*{message}"):
        check_restores(build_network(section), "network_g", side=16)


@pytest.mark.parametrize("name", ["NAFNet", "Restormer", "PromptIR", "DCPTSwinIR"])
def test_a_network_of_full_size_is_checked_in_no_time_and_stays_as_it_was(name: str) -> None:
    network = build_network({"type": name})
    network.train()
    first = next(network.children()).eval()
    state, began = torch.get_rng_state(), time.process_time()
    check_restores(network, "network_g")
    assert time.process_time() - began < 2  # a third of a second where nothing else computes
    assert torch.equal(torch.get_rng_state(), state)
    assert network.training and not first.training
    assert all(parameter.device.type == "cpu" and parameter.grad is None for parameter in network.parameters())


class Random(nn.Module):
    """Needs the values of its input, and random numbers."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, x: torch.Tensor) -> Any:
        restored = x + torch.rand(()) * float(x.mean())
        return restored if self.outputs == 1 else [restored] * self.outputs


def test_a_network_that_needs_values_computes_an_image_without_touching_random_state() -> None:
    state = torch.get_rng_state()
    check_restores(Random(1), "network_g", side=8)
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(OptionError, match="key 'network_g': Random gives a list in place of one image"):
        check_restores(Random(2), "network_g", side=8)


@pytest.mark.parametrize("change", [{"out_channels": 1}, {"in_channels": 1}], ids=str)
def test_no_run_begins_with_such_a_network(change: dict[str, int], photographs: Path, tmp_path: Path) -> None:
    options = restoration_options(photographs, tmp_path / "run")
    options["network_g"].update(change)
    with pytest.raises(OptionError, match="key 'network_g': NAFNet"):
        launch(write(options, tmp_path))
    assert not list((tmp_path / "run" / "models").iterdir())
