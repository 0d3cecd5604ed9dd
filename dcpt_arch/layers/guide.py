"""A small classifier of an image's degradations, and how its answer steers the stages of a restoration network."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class _Residual(nn.Module):
    """A convolution of stride 1, added to its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + F.gelu(self.conv(x))


class Guide(nn.Module):
    """Tells which degradations an image has: convolutions on the image and its fine detail, then means and deviations.

    Four convolutions of stride 2, each but the last followed by a residual one of stride 1. The mean and the standard
    deviation over the image go through two linear layers. There is no normalisation, since the strength of a
    degradation is in the size of the features; instead weights begin as in He et al., ICCV 2015.

    Args:
        in_channels: Channels of the image.
        classes: Degradations that are told apart; an image without any has none of them.
        width: Channels after the first convolution; up to four times as many follow.
    """

    def __init__(self, in_channels: int, classes: int, width: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 2 * in_channels
        for after in (width, 2 * width, 4 * width):
            layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.GELU()]
            layers.append(_Residual(after))
            before = after
        self.body = nn.Sequential(*layers, nn.Conv2d(before, before, 4, stride=2, padding=1), nn.GELU())
        self.head = nn.Sequential(nn.Linear(2 * before, before), nn.GELU(), nn.Linear(before, classes))
        for layer in self.body.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Classify images.

        Args:
            x: N x C x H x W in [0, 1], H and W multiples of 16.

        Returns:
            Logits, N x classes: above 0 where an image has the degradation.
        """
        return self.answer(self.features(x))

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """What the answer is made of, N x 4 width x H / 16 x W / 16."""
        fine = 4 * (x - F.avg_pool2d(x, 5, stride=1, padding=2, count_include_pad=False))
        features: torch.Tensor = self.body(torch.cat([x - 0.4, fine], 1))
        return features

    def answer(self, features: torch.Tensor) -> torch.Tensor:
        """The logits, N x classes, of an image's features."""
        features = features.flatten(2)
        # The variance in float32: in bfloat16 the difference of two means of squares would be noise.
        deviation = (features.float().var(2, correction=0) + 1e-6).sqrt()
        logits: torch.Tensor = self.head(torch.cat([features.mean(2), deviation.to(features.dtype)], 1))
        return logits


class Steering(nn.Module):
    """Scales and shifts the channels of a stage's input by what degradations there are (FiLM, Perez et al., AAAI 2018).

    Without any degradation it is the identity, and so it is before training.

    Args:
        classes: Degradations.
        channels: Channels of the stage.
    """

    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(classes, 2 * channels, bias=False)
        nn.init.zeros_(self.linear.weight)

    def forward(self, x: torch.Tensor, degradations: torch.Tensor) -> torch.Tensor:
        """Steer features.

        Args:
            x: N x C x H x W.
            degradations: How sure it is that an image has each degradation, N x classes in [0, 1].
        """
        scale, shift = self.linear(degradations)[..., None, None].chunk(2, 1)
        return torch.addcmul(x + shift, x, scale)
