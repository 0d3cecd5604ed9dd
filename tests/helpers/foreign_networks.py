"""Small networks of other projects, as `network_g: {type: AnyBackbone, network: ...}` names them."""

from __future__ import annotations

import dcpt_arch  # noqa: F401 - fixes basicsr before it is imported

# isort: split
from typing import Any

import torch
from torch import nn

from dcpt_arch import AnyBackbone
from dcpt_arch.adapter.sources import build as build_section

SECTIONS: dict[str, dict[str, Any]] = {
    "EDSR": {"type": "EDSR", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_block": 3, "upscale": 1},
    "RCAN": {
        "type": "RCAN",
        "num_in_ch": 3,
        "num_out_ch": 3,
        "num_feat": 16,
        "num_group": 3,
        "num_block": 1,
        "upscale": 1,
    },
    "RRDBNet": {
        "type": "RRDBNet",
        "num_in_ch": 3,
        "num_out_ch": 3,
        "scale": 1,
        "num_feat": 8,
        "num_block": 3,
        "num_grow_ch": 4,
    },
    "SwinIR": {
        "type": "SwinIR",
        "img_size": 16,
        "embed_dim": 8,
        "depths": [2, 1, 1],
        "num_heads": [2, 2, 2],
        "window_size": 4,
        "mlp_ratio": 2,
    },
    "SCUNet": {"type": "spandrel:SCUNet", "config": [0, 0, 0, 0, 0, 0, 1], "dim": 64},
    "DRUNet": {"type": "spandrel:DRUNet", "in_nc": 3, "out_nc": 3, "nc": [4, 8, 8, 16], "nb": 1},
    "Uformer": {
        "type": "spandrel:Uformer",
        "embed_dim": 4,
        "depths": [1] * 9,
        "num_heads": [1] * 9,
        "win_size": 2,
        "img_size": 16,
    },
}


def adapted(name: str, seed: int = 0, **arguments: Any) -> AnyBackbone:
    """A network of `SECTIONS` as a backbone, in eval mode."""
    torch.manual_seed(seed)
    return AnyBackbone(SECTIONS[name], **arguments).eval()


def original(name: str) -> nn.Module:
    """The same network as its own project builds it, without anything of ours around it."""
    return build_section(SECTIONS[name])[0].eval()
