"""The degradation classifier of DCPT (Section 3.2, Figure 2a): features of a restoration network -> logits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn

from dcpt_arch.backbones.base import FeatureInfo
from dcpt_arch.classifiers.base import LevelClassifier, Levels
from dcpt_arch.layers.norm_and_stage import LayerNorm2d
from dcpt_common import Count


class NormedConv2d(nn.Conv2d):
    """A convolution without bias, its layer normalisation under the published name `norm`."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False)
        self.norm = LayerNorm2d(out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(super().forward(x))


class ResidualBlock(nn.Module):
    """A residual block of ResNet (He et al., CVPR 2016) with LayerNorm for BatchNorm: 1x1, 3x3, 1x1 at twice the width.

    This is the block of the released classifier, whose output `tests/figures/arch.json` holds.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = NormedConv2d(channels, 2 * channels, 1)
        self.conv2 = NormedConv2d(2 * channels, 2 * channels, 3)
        self.conv3 = NormedConv2d(2 * channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.conv1(x))
        y = F.relu(self.conv2(y))
        return F.relu(x + self.conv3(y))


@ARCH_REGISTRY.register()
class DegradationClassifier(LevelClassifier):
    """Classifies the degradation of an image from a backbone's features alone; it never sees the image.

    From the highest resolution down, each level is scaled by its learnable coefficient (softmax over all levels; all
    equal at the start) and added to the running map, which passes two residual blocks and is halved (1x1 convolution to
    the next level's width, 2x2 max-pooling, ReLU). A last stage, global average pooling and one linear layer follow.

    Args:
        feature_info: The levels that the backbone declares (`net.feature_info`), highest resolution first.
        classes: Number of degradations.
        levels: "all" feature levels, or the "deepest" alone (the ablation of Table 11).
        width: Upper bound of the channels at any level; wider features pass a 1x1 convolution first. None, as
            published, has no bound: 49 million parameters on NAFNet of width 64.

    Raises:
        ValueError: If there are no levels, fewer than two classes, or `width` is below 1.
    """

    def __init__(
        self,
        feature_info: Sequence[FeatureInfo],
        classes: int,
        levels: Levels = "all",
        width: Count | None = None,
    ) -> None:
        super().__init__(feature_info, classes, levels, width)
        widths = [info.channels if width is None else min(info.channels, width) for info in self.used]

        self.projections = nn.ModuleList(
            nn.Identity() if info.channels == w else nn.Conv2d(info.channels, w, 1, bias=False)
            for info, w in zip(self.used, widths, strict=True)
        )
        self.bottleneck_layers = nn.ModuleList(nn.Sequential(ResidualBlock(w), ResidualBlock(w)) for w in widths)
        following = [*widths[1:], widths[-1]]
        self.downsample_layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(w, n, 1, bias=False), nn.MaxPool2d(2, ceil_mode=True), nn.ReLU())
            for w, n in zip(widths, following, strict=True)
        )
        self.last_stage = nn.Sequential(ResidualBlock(widths[-1]), ResidualBlock(widths[-1]))
        self.fc = nn.Linear(widths[-1], classes)

    def forward(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """Classify.

        Args:
            features: One N x C_i x H_i x W_i for each declared level, highest resolution first.

        Returns:
            Logits, N x classes.
        """
        running: torch.Tensor | None = None
        stages = zip(
            self.select(features),
            self.projections,
            self.coefficients(),
            self.bottleneck_layers,
            self.downsample_layers,
            strict=True,
        )
        for feature, project, scale, blocks, halve in stages:
            x = project(feature) * scale
            if running is not None:
                # Levels of one stride (SwinIR) are pooled to the pyramid's size.
                x = running + F.adaptive_avg_pool2d(x, (running.shape[-2], running.shape[-1]))
            running = halve(blocks(x))
        assert running is not None
        return self.fc(self.last_stage(running).mean((-2, -1)))
