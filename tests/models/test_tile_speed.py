"""The size of tiles on a processor is the fastest one, as measured on the first images."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from dcpt_models.inference import restorer as restoring
from dcpt_models.inference.restorer import Restorer

CPU = torch.device("cpu")


class Timed(nn.Module):
    """A network of no effect that puts a clock forward by what each pixel costs, by the size of the tile."""

    size_multiple = 8

    def __init__(self, small: float, large: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.small, self.large = small, large
        self.now, self.sizes, self.pixels = 0.0, [], 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.device.type == "cpu" and torch.is_inference_mode_enabled():
            side = x.shape[-1]
            self.sizes.append(side)
            self.pixels += x.shape[-1] * x.shape[-2]
            self.now += x.shape[-1] * x.shape[-2] * (self.small if side <= 300 else self.large)
        return x + self.weight


def restorer(network: Timed, monkeypatch: pytest.MonkeyPatch, **options: int) -> Restorer:
    monkeypatch.setattr(restoring, "time", SimpleNamespace(perf_counter=lambda: network.now))
    monkeypatch.setattr(restoring, "bytes_per_pixel", lambda network, channels: 1.0)
    made = Restorer(network, CPU, "fp32", **options)  # type: ignore[arg-type]
    network.sizes.clear()
    network.pixels = 0
    return made


PIXELS = np.random.default_rng(0).integers(0, 255, (1100, 1200, 3), np.uint8)


def seconds_of_an_image(network: Timed, made: Restorer) -> float:
    begin = network.now
    restored, _ = made.restore(PIXELS)
    assert np.array_equal(restored, PIXELS)
    return network.now - begin


def test_small_tiles_are_taken_where_they_are_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Timed(small=1.0, large=3.0)
    made = restorer(network, monkeypatch)
    for _ in range(2):
        seconds_of_an_image(network, made)
        assert network.sizes[-1] == 1200  # whole, until it is known what that takes
    known = seconds_of_an_image(network, made)
    assert max(network.sizes[-20:]) <= 256
    fixed = Timed(small=1.0, large=3.0)
    assert known == seconds_of_an_image(fixed, restorer(fixed, monkeypatch, tile=256))


def test_large_tiles_are_taken_where_they_are_no_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    # What small tiles share with their neighbours is computed twice, so that equal rates speak for the large.
    network = Timed(small=1.0, large=1.0)
    made = restorer(network, monkeypatch)
    for _ in range(4):
        seconds_of_an_image(network, made)
    assert network.sizes.count(1200) == 4


def test_trying_costs_little_and_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Timed(small=1.0, large=1.0)
    made = restorer(network, monkeypatch)
    whole = 1104 * 1200
    seconds_of_an_image(network, made)
    assert whole < network.pixels < 1.2 * whole
    before = network.pixels
    seconds_of_an_image(network, made)
    assert network.pixels - before == whole


def test_small_images_and_tiles_of_a_given_size_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Timed(small=1.0, large=1.0)
    made = restorer(network, monkeypatch)
    made.restore(PIXELS[:300, :300])
    assert network.sizes == [304]
    given = restorer(network, monkeypatch, tile=0)
    given.restore(PIXELS)
    assert network.sizes == [1200]
