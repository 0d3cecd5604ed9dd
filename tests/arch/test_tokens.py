import pytest
import torch

from dcpt_arch import FeatureInfo
from dcpt_arch.classifiers.tokens import LevelTokens, cell_statistics, sine_cosine_positions


def test_statistics_of_each_cell():
    x = torch.randn(2, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    statistics = cell_statistics(x, grid=4)
    assert statistics.shape == (2, 16, 6)
    cell = x[:, :, 2:4, 6:9].flatten(2)  # row 1, column 2
    assert torch.allclose(statistics[:, 1 * 4 + 2, :3], cell.mean(-1), atol=1e-5)
    assert torch.allclose(statistics[:, 1 * 4 + 2, 3:], cell.std(-1, unbiased=False), atol=1e-4)


@pytest.mark.parametrize(("size", "tokens"), [((1, 1), 1), ((3, 50), 12), ((4, 4), 16), ((100, 101), 16)])
def test_no_more_cells_than_pixels(size, tokens):
    statistics = cell_statistics(torch.ones(1, 2, *size), grid=4)
    assert statistics.shape == (1, tokens, 4)
    assert torch.allclose(statistics, torch.tensor([1.0, 1.0, 1e-3, 1e-3]), atol=1e-3)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7, 16])
def test_positions_of_any_width(channels):
    places = sine_cosine_positions(5, 3, channels, 8.0, like=torch.zeros(1))
    assert places.shape == (15, channels) and places.abs().max() <= 1


def test_every_cell_has_its_own_position():
    places = sine_cosine_positions(8, 8, 16, 8.0, like=torch.zeros(1))
    distances = torch.cdist(places, places) + 10 * torch.eye(64)
    assert distances.min() > 0.5


def test_positions_are_places_in_the_image():
    # The middle of three rows and the third of five lie at the same height.
    three = sine_cosine_positions(3, 1, 8, 8.0, like=torch.zeros(1))
    five = sine_cosine_positions(5, 1, 8, 8.0, like=torch.zeros(1))
    assert torch.allclose(three[1], five[2], atol=1e-6)


def test_tokens_come_level_after_level():
    levels = [FeatureInfo(3, 1), FeatureInfo(5, 2)]
    embed = LevelTokens(levels, width=6, grid=4)
    features = [torch.randn(2, 3, 8, 8), torch.randn(2, 5, 3, 2)]
    tokens = embed(features, torch.tensor([0.5, 0.5]))
    assert tokens.shape == (2, 16 + 6, 6)
    changed = embed([features[0], features[1] + 1], torch.tensor([0.5, 0.5]))
    assert torch.equal(changed[:, :16], tokens[:, :16]) and not torch.equal(changed[:, 16:], tokens[:, 16:])
