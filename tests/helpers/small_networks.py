"""Small networks of every registered backbone, and pictures for them."""

import dcpt_arch  # noqa: F401 - registers the networks, and fixes basicsr before the next lines import it

# isort: split
import pytest
import torch
from basicsr.utils.registry import ARCH_REGISTRY

from dcpt_arch import AnyBackbone, RestorationBackbone

# Arguments for networks of a fraction of a second; a new backbone needs a row here (and nothing else in this file).
SMALL = {
    "NAFNet": {"width": 6, "enc_blk_nums": (1, 2), "middle_blk_num": 1, "dec_blk_nums": (1, 1)},
    "GuidedNAFNet": {
        "width": 6,
        "enc_blk_nums": (1, 2),
        "middle_blk_num": 1,
        "dec_blk_nums": (1, 1),
        "guide_classes": 3,
        "guide_width": 4,
    },
    "PromptIR": {
        "dim": 8,
        "num_blocks": (1, 1, 1, 1),
        "num_refinement_blocks": 1,
        "heads": (1, 2, 2, 4),
        "prompt_dims": (4, 6, 8),
        "prompt_sizes": (4, 3, 2),
        "prompt_len": 2,
    },
    "AdaIR": {
        "dim": 8,
        "num_blocks": (1, 1, 1, 1),
        "num_refinement_blocks": 1,
        "heads": (1, 2, 2, 4),
        "band_unit": 2,
    },
    "XRestormer": {
        "dim": 8,
        "num_blocks": (1, 2, 1, 1),
        "num_refinement_blocks": 1,
        "channel_heads": (1, 2, 2, 4),
        "spatial_heads": (1, 2, 1, 2),
        "spatial_dim_head": 4,
        "window_size": 2,
        "overlap_ratio": 1,
    },
    "Restormer": {"dim": 8, "num_blocks": (1, 2, 1, 1), "num_refinement_blocks": 1, "heads": (1, 2, 2, 4)},
    "DCPTSwinIR": {"embed_dim": 12, "depths": (2, 1, 2, 2), "num_heads": (2, 3, 2, 4), "window_size": 4},
}
# Sides of images in which no part of a network is idle, where 16 are too few: AdaIR needs both bands at every level.
SIDES = {"AdaIR": 48}
# AnyBackbone is no network of its own: tests/arch/test_any_backbone.py, tests/models/test_foreign_networks.py.
BACKBONES = sorted(
    name
    for name, item in ARCH_REGISTRY
    if isinstance(item, type) and issubclass(item, RestorationBackbone) and item is not AnyBackbone
)
SIZES = [(1, 1), (3, 50), (33, 47)]

every_backbone = pytest.mark.parametrize("name", BACKBONES)
every_size = pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")


def build(name, seed=0, **arguments):
    """A small network without zero tensors, behind which a mistake (or a missing gradient) would not be seen."""
    torch.manual_seed(seed)
    net = ARCH_REGISTRY.get(name)(**{**SMALL[name], **arguments})
    for parameter in net.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.3)
    return net.eval()


def picture(height, width, channels=3, batch=2):
    generator = torch.Generator().manual_seed(height * 1000 + width)
    return torch.rand(batch, channels, height, width, generator=generator)
