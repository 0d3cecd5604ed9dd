"""Image metrics of an option file's `val: metrics:` section, as the engine computes them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from basicsr.utils.registry import METRIC_REGISTRY

# A perfect image has an infinite PSNR, with which no average can be formed; no 8-bit image that is not perfect
# comes near this value.
PERFECT_PSNR = 100.0


def to_pixels(image: torch.Tensor, rounded: bool) -> np.ndarray:
    """One image, 1 x C x H x W in [0, 1] -> H x W x C, BGR, [0, 255], as the engine's metrics expect it.

    Args:
        image: The image; values outside of [0, 1] are clamped.
        rounded: To uint8; otherwise float64.
    """
    pixels = (image[0].clamp(0, 1).permute(1, 2, 0).flip(-1).double().cpu() * 255).numpy()
    return pixels.round().astype(np.uint8) if rounded else pixels


def measure(
    image: torch.Tensor, target: torch.Tensor, metrics: dict[str, dict[str, Any]], rounded: bool
) -> dict[str, float]:
    """All metrics of one pair of images.

    Args:
        image: 1 x C x H x W in [0, 1].
        target: The ground truth, likewise.
        metrics: Name -> {"type": registered function, its arguments..., "better": "higher" or "lower"}.
        rounded: Whether both are rounded to 8 bit first.

    Returns:
        Name -> value.
    """
    a, b = to_pixels(image, rounded), to_pixels(target, rounded)
    values = {}
    for name, opt in metrics.items():
        arguments = {key: value for key, value in opt.items() if key not in ("type", "better")}
        value = float(METRIC_REGISTRY.get(opt["type"])(img=a, img2=b, **arguments))
        values[name] = PERFECT_PSNR if math.isinf(value) else value
    return values
