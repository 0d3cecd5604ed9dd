"""Weights and images that are functions of names and seeds, and a summary of an output.

Two implementations that fill their weights from the same names can be compared by the summaries alone, so that the
figures of published networks (figures/arch.json) hold neither weights nor code.
"""

import zlib
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F


def fill(shapes: Mapping[str, Sequence[int]]) -> dict[str, torch.Tensor]:
    """Draw a float32 tensor for each name, from a generator seeded by the name's crc32."""
    state = {}
    for name, shape in shapes.items():
        seeded = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        noise = torch.randn(tuple(shape), generator=seeded)
        # What multiplies stays near 1; everything else is scaled so that activations keep their magnitude.
        if name.endswith("temperature") or ("norm" in name and name.endswith("weight")):
            state[name] = 1 + 0.05 * noise
        else:
            fan_in = max(1, noise[0].numel()) if noise.dim() > 1 else 16
            state[name] = noise / fan_in**0.5 * 0.7
    return state


def image(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """A smooth random image with a little noise, 1 x 3 x H x W in [0, 1]."""
    seeded = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, height // 8 + 1, width // 8 + 1, generator=seeded)
    smooth = F.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=False)
    return (smooth + 0.05 * torch.randn(1, 3, height, width, generator=seeded)).clamp(0, 1)


def summary(output: torch.Tensor) -> dict:
    """Shape, mean, standard deviation, and 16 evenly spaced samples."""
    flat = output.detach().double().flatten()
    picked = torch.linspace(0, flat.numel() - 1, 16).long()
    return {
        "shape": list(output.shape),
        "mean": flat.mean().item(),
        "std": flat.std().item(),
        "samples": flat[picked].tolist(),
    }
