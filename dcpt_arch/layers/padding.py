"""Padding of images to the sizes that a network can process, as pure functions."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def pad_to_multiple(x: torch.Tensor, multiple: int) -> torch.Tensor:
    """Extend an image at its lower and right edge until both sides are multiples of `multiple`.

    The image is reflected; a side too short to be reflected repeats its last pixel for the rest.

    Args:
        x: N x C x H x W, any H, W >= 1.
        multiple: The size multiple, >= 1.

    Returns:
        N x C x ceil(H / multiple) * multiple x ceil(W / multiple) * multiple; `x` itself if it fits already.
    """
    height, width = x.shape[-2:]
    return pad_to_size(x, height + -height % multiple, width + -width % multiple)


def pad_to_size(x: torch.Tensor, high: int, wide: int) -> torch.Tensor:
    """The same to a height and width that are no less than the image's."""
    height, width = x.shape[-2:]
    down, right = high - height, wide - width
    if not (down or right):
        return x
    # Reflection reaches back by at most side - 1 pixels.
    mirrored = F.pad(x, (0, min(right, width - 1), 0, min(down, height - 1)), mode="reflect")
    rest = (0, max(0, right - (width - 1)), 0, max(0, down - (height - 1)))
    return F.pad(mirrored, rest, mode="replicate") if any(rest) else mirrored
