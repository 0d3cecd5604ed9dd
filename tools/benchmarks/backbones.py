"""The classification pass of networks of other projects against a whole pass: it costs their share of the network."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch

from dcpt_arch import AnyBackbone
from dcpt_models.runtime.memory import LiveTensors
from dcpt_tools.measuring.timing import count, in_turns

HELP = "networks of other projects as backbones: the classification pass against a whole pass, forward and backward"

RGB = {"num_in_ch": 3, "num_out_ch": 3}
# Arguments of the networks with --full, mostly as published; and what is smaller without it.
NETWORKS: dict[str, dict[str, Any]] = {
    "EDSR": {"type": "EDSR", **RGB, "num_feat": 64, "num_block": 16, "upscale": 1},
    "RCAN": {"type": "RCAN", **RGB, "num_feat": 64, "num_group": 10, "num_block": 20, "upscale": 1},
    "RRDBNet": {"type": "RRDBNet", **RGB, "scale": 1, "num_feat": 64, "num_block": 23},
    "SwinIR": {"type": "SwinIR", "embed_dim": 180, "depths": [6] * 6, "num_heads": [6] * 6, "window_size": 8},
    "SCUNet": {"type": "spandrel:SCUNet", "config": [4] * 7, "dim": 64},
    "DRUNet": {"type": "spandrel:DRUNet", "in_nc": 3, "out_nc": 3, "nc": [64, 128, 256, 512], "nb": 4},
    "Uformer": {"type": "spandrel:Uformer", "embed_dim": 32},
}
SMALLER: dict[str, dict[str, Any]] = {
    "EDSR": {"num_feat": 32, "num_block": 8},
    "RCAN": {"num_feat": 32, "num_group": 3, "num_block": 4},
    "RRDBNet": {"num_feat": 32, "num_block": 6, "num_grow_ch": 16},
    "SwinIR": {"embed_dim": 60, "depths": [2] * 4, "num_heads": [6] * 4},
    "SCUNet": {"config": [1] * 7},
    "DRUNet": {"nc": [16, 32, 64, 128], "nb": 2},
    "Uformer": {"embed_dim": 16, "depths": [1] * 9},
}
SIDE = 64  # pixels


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS), help="these alone")
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="images a pass (default: 1)")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    rows = [of_network(name, arguments) for name in arguments.networks]
    size = f"{arguments.batch} x {SIDE}^2"
    return {
        "tables": [
            {
                "title": f"The classification pass against a whole one{'' if arguments.full else ', small'}, {size}",
                "rows": rows,
                "notes": [
                    "Forward and backward pass of the features (`features: auto`) and of the image, in turns; the "
                    "classifier's own pass is in neither. Operations: what convolutions, matrix products and attention "
                    "of the one take as a share of the other's, which is the features' share of the network. Memory: "
                    "of the tensors that are alive at a time, at their peak."
                ],
            }
        ]
    }


def of_network(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """The row of a network."""
    section = NETWORKS[name] | ({} if arguments.full else SMALLER[name])
    network = AnyBackbone(section).to(arguments.device).train()
    x = torch.rand(arguments.batch, 3, SIDE, SIDE, device=arguments.device)

    def whole() -> None:
        network.zero_grad()
        network(x).mean().backward()

    def features() -> None:
        network.zero_grad()
        torch.stack([level.mean() for level in network(x, features="only")]).sum().backward()

    calls: dict[str, Callable[[], Any]] = {"whole": whole, "features": features}
    found = in_turns(calls, arguments.repeats, device=arguments.device)
    peaks = {label: held_at_most(call) for label, call in calls.items()}
    operations = {label: count(call).flops for label, call in calls.items()}
    ratios = found.ratios("features", "whole")
    return {
        "network": name,
        "levels": ", ".join(network.plan.features),
        "whole ms": 1e3 * found.median("whole"),
        "features ms": 1e3 * found.median("features"),
        "time": found.ratio("features", "whole"),
        "time, least to greatest": f"{min(ratios):.2f} to {max(ratios):.2f}",
        "operations": operations["features"] / operations["whole"],
        "memory": peaks["features"] / peaks["whole"],
    }


def held_at_most(call: Callable[[], Any]) -> int:
    """Bytes of the tensors that a call makes and holds at a time, at most; the same on every machine."""
    with LiveTensors() as live:
        call()
    return live.peak
