"""Feature levels as one sequence of tokens, and the classifier around a stack of blocks over them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from dcpt_arch.backbones.base import FeatureInfo
from dcpt_arch.classifiers.base import LevelClassifier, Levels, check_positive


def sine_cosine_positions(height: int, width: int, channels: int, extent: float, like: torch.Tensor) -> torch.Tensor:
    """Encode the cells of a grid by sines and cosines of their centres (Vaswani et al., 2017), half for each axis.

    Args:
        height: Rows of the grid.
        width: Columns of the grid.
        channels: C, any number from 1.
        extent: Both axes run from 0 to this, so that grids of different sizes over one image agree.
        like: A tensor of the wanted device.

    Returns:
        (height * width) x C in [-1, 1], rows first, float32.
    """
    steps = -(-channels // 4)
    frequencies = 10000.0 ** (-torch.arange(steps, device=like.device) / steps)

    def angles(cells: int) -> torch.Tensor:
        centres = (torch.arange(cells, device=like.device) + 0.5) * (extent / cells)
        return centres.unsqueeze(-1) * frequencies

    y = angles(height)[:, None].expand(-1, width, -1)
    x = angles(width)[None].expand(height, -1, -1)
    waves = torch.stack((y.sin(), x.sin(), y.cos(), x.cos()), dim=-1)
    return waves.reshape(height * width, 4 * steps)[:, :channels]


def cell_statistics(x: torch.Tensor, grid: int) -> torch.Tensor:
    """Describe each cell of a grid by the mean and the standard deviation of every channel.

    Args:
        x: N x C x H x W, any H, W >= 1.
        grid: Largest number of rows and of columns; there are no more than pixels.

    Returns:
        N x T x 2C for T = min(H, grid) * min(W, grid), rows first, float32.
    """
    x = x.float()
    size = (min(x.shape[-2], grid), min(x.shape[-1], grid))
    mean = F.adaptive_avg_pool2d(x, size)
    variance = F.adaptive_avg_pool2d(x.square(), size) - mean.square()
    deviation = (variance.clamp(min=0) + 1e-6).sqrt()
    return torch.cat((mean, deviation), dim=1).flatten(2).transpose(1, 2)


class LevelTokens(nn.Module):
    """Feature levels -> tokens: a linear layer and LayerNorm on the statistics of each cell, level and position added.

    Every level gives its own tokens. Summing the levels cell by cell would make the sequence shorter, but the blocks
    could then not compare levels, and it is the levels in which degradations differ: noise shows in the finest, haze in
    all of them. With four levels of 8 x 8 cells a sequence has 256 tokens, at any image size.

    A cell is described by its standard deviations besides its means, because averages alone lose whatever is zero-mean
    inside a cell, such as noise and compression artefacts.

    Args:
        levels: The levels that are read.
        width: Channels of a token.
        grid: Largest number of cells along each axis.
    """

    def __init__(self, levels: Sequence[FeatureInfo], width: int, grid: int) -> None:
        super().__init__()
        self.grid = grid
        self.projections = nn.ModuleList(
            nn.Sequential(nn.Linear(2 * info.channels, width), nn.LayerNorm(width)) for info in levels
        )
        self.level_embedding = nn.Parameter(torch.empty(len(levels), width))
        nn.init.trunc_normal_(self.level_embedding, std=0.02)

    def forward(self, features: Sequence[torch.Tensor], coefficients: torch.Tensor) -> torch.Tensor:
        """Turn features into tokens.

        Args:
            features: One N x C_i x H_i x W_i for each level.
            coefficients: A factor for each level's tokens, before level and position are added.

        Returns:
            N x T x width, level after level; T is at most levels * grid * grid.
        """
        tokens = []
        inputs = zip(features, self.projections, coefficients, self.level_embedding, strict=True)
        for feature, project, coefficient, level in inputs:
            content = project(cell_statistics(feature, self.grid)) * coefficient
            rows, columns = (min(size, self.grid) for size in feature.shape[-2:])
            place = sine_cosine_positions(rows, columns, content.shape[-1], self.grid, like=feature)
            tokens.append(content + level + place)
        return torch.cat(tokens, dim=1)


class TokenClassifier(LevelClassifier):
    """Tokens -> the blocks that a subclass puts into `blocks` -> LayerNorm, mean over the tokens, linear.

    Tokens are as wide as the deepest level, or `width` where that is less.

    Args:
        feature_info: The levels that the backbone declares (`net.feature_info`), highest resolution first.
        classes: Number of degradations.
        levels: "all" feature levels, or the "deepest" alone.
        width: Upper bound of the width of a token; None for no bound.
        grid: Each level is pooled to at most this many cells along each axis.

    Raises:
        ValueError: As `LevelClassifier`, or if `grid` is below 1.
    """

    blocks: nn.Sequential

    def __init__(
        self, feature_info: Sequence[FeatureInfo], classes: int, levels: Levels, width: int | None, grid: int
    ) -> None:
        super().__init__(feature_info, classes, levels, width)
        check_positive({"grid": grid})
        deepest = self.used[-1].channels
        self.width = deepest if width is None else min(deepest, width)
        self.tokens = LevelTokens(self.used, self.width, grid)
        self.norm = nn.LayerNorm(self.width)
        self.fc = nn.Linear(self.width, classes)

    def forward(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """Classify.

        Args:
            features: One N x C_i x H_i x W_i for each declared level, highest resolution first.

        Returns:
            Logits, N x classes.
        """
        tokens = self.tokens(self.select(features), self.coefficients())
        return self.fc(self.norm(self.blocks(tokens)).mean(dim=1))
