"""Small networks of other projects, with random weights, as spandrel has their architectures."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import torch

# Architecture as spandrel names it, class in its module, arguments: all small enough to run in a fraction of a second.
OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "SCUNet": ("SCUNet", {"config": [1] * 7, "dim": 64}),
    "DRUNet": ("DRUNet", {"in_nc": 4, "out_nc": 3, "nc": [8, 16, 16, 16], "nb": 2}),
    "DRUNet, gray": ("DRUNet", {"in_nc": 2, "out_nc": 1, "nc": [8, 16, 16, 16], "nb": 2}),
    "DnCNN": ("DnCNN", {"in_nc": 3, "out_nc": 3, "nc": 8, "nb": 4}),
    "FBCNN": ("FBCNN", {"nc": [8, 16, 16, 512], "nb": 2}),
    "Uformer": ("Uformer", {"img_size": 128, "embed_dim": 8, "depths": [1] * 9, "num_heads": [1] * 9}),
    "MPRNet": ("MPRNet", {"n_feat": 8, "scale_unetfeats": 4, "scale_orsnetfeats": 4, "num_cab": 2}),
    "MIRNet2": ("MIRNet2", {"n_feat": 16, "n_MRB": 1}),
    "M3SNet": ("M3SNet", {"width": 8, "enc_blk_nums": [1, 1, 1, 1]}),
    "RetinexFormer": ("RetinexFormer", {"n_feat": 8, "stage": 1}),
    "MixDehazeNet": ("MixDehazeNet", {"embed_dims": [8, 16, 32, 16, 8]}),
    "FFTformer": ("FFTformer", {"dim": 8, "num_blocks": [1, 1, 1], "num_refinement_blocks": 1}),
    "ESRGAN, x4": ("ESRGAN", {"num_filters": 8, "num_blocks": 1, "scale": 4}),
    "Compact, x2": ("Compact", {"num_feat": 8, "num_conv": 2, "upscale": 2}),
    "RealCUGAN, x2": ("UpCunet2x", {}),
    "SPAN, x2": ("SPAN", {"num_in_ch": 3, "num_out_ch": 3, "feature_channels": 8, "upscale": 2}),
    "SAFMN, x3": ("SAFMN", {"dim": 8, "n_blocks": 1, "upscaling_factor": 3}),
    "SwinIR, x2": (
        "SwinIR",
        {
            "img_size": 16,
            "embed_dim": 12,
            "depths": [2, 2],
            "num_heads": [2, 2],
            "window_size": 8,
            "upscale": 2,
            "upsampler": "pixelshuffle",
            "mlp_ratio": 2.0,
        },
    ),
}
EXTRA = ("MPRNet", "MIRNet2", "M3SNet")  # are in spandrel-extra-arches


def state_of(name: str) -> dict[str, torch.Tensor]:
    """Random weights of one of `OTHERS`."""
    kind, arguments = OTHERS[name]
    module = name.split(",")[0]
    package = "spandrel_extra_arches" if module in EXTRA else "spandrel"
    torch.manual_seed(0)
    network = getattr(import_module(f"{package}.architectures.{module}"), kind)(**arguments)
    return network.state_dict()


def write_other(name: str, file: Path) -> Path:
    """A checkpoint of one of `OTHERS`; returns its path."""
    torch.save(state_of(name), file)
    return file
