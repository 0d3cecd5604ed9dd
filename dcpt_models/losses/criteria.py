"""The losses that the `train` section names: built, and tried on small inputs so that unsuitable ones are refused."""

from __future__ import annotations

from typing import Any

import torch
from basicsr.losses import build_loss
from torch import nn

from dcpt_models.errors import OptionError


def build_pixel_loss(section: dict[str, Any]) -> nn.Module:
    """The loss of `train:pixel_opt` between two images, N x 3 x H x W in [0, 1].

    Args:
        section: `type` in BasicSR's registry of losses (L1Loss by default), and its arguments.

    Raises:
        OptionError: If the loss does not take two images, or gives more than one number.
    """
    images = torch.zeros(2, 1, 3, 8, 8)
    return _tried("pixel_opt", {"type": "L1Loss", **section}, images[0], images[1], "L1Loss")


def build_cls_loss(section: dict[str, Any], multi_label: bool) -> nn.Module:
    """The loss of `train:cls_opt` between logits, N x classes, and the classes of the images.

    Args:
        section: `type` in BasicSR's registry of losses, and its arguments.
        multi_label: Whether the target is N x classes of 0 and 1; otherwise it is N class indices.

    Raises:
        OptionError: If the loss does not take these, or gives more than one number.
    """
    target = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]) if multi_label else torch.tensor([0, 1, 0])
    return _tried("cls_opt", section, torch.zeros(3, 2), target, "BinaryFocalLoss" if multi_label else "FocalLoss")


def _tried(key: str, section: dict[str, Any], output: torch.Tensor, target: torch.Tensor, suited: str) -> nn.Module:
    """A loss that gives one number for `output` and `target`; `suited` is one that would."""
    loss = build_loss(section)
    try:
        value = loss(output, target)
    except Exception as error:
        raise OptionError(
            f"key 'train:{key}': {type(loss).__name__} cannot be used here ({error}); try {suited}"
        ) from error
    if not isinstance(value, torch.Tensor) or value.dim():
        raise OptionError(f"key 'train:{key}': {type(loss).__name__} gives no single number; try {suited}")
    return loss
