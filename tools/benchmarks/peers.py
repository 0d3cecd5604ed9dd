"""A network that restores against classical methods, in PSNR, on photographs: what is to be had without a network."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.classical import METHODS, Image, Method
from dcpt_arch.checkpoints.loading import load_network
from dcpt_data import DegradationDataset
from dcpt_models.inference.packaged import default_package

HELP = "restoring, against classical methods: PSNR of ten degradations"
Pairs = Sequence[tuple[Image, Image]]  # degraded and clean, H x W x 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--folder", required=True, help="photographs to compare on")
    parser.add_argument("--tune", required=True, help="other photographs, on which the methods' parameters are chosen")
    parser.add_argument("--limit", type=int, default=12, metavar="N", help="photographs of each (default: 12)")
    parser.add_argument("--weights", type=Path, help="network (default: the package's)")
    parser.add_argument("--degradations", nargs="+", help="only these (default: all that methods are for)")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    network = load_network(arguments.weights or default_package().network).eval().to(arguments.device)
    missing = sorted({m.needs for m in METHODS if m.needs and not importlib.util.find_spec(m.needs.replace("-", "_"))})
    chosen = arguments.degradations or list(dict.fromkeys(method.degradation for method in METHODS))
    rows = []
    for degradation in chosen:
        pairs, others = (_pairs(folder, degradation, arguments.limit) for folder in (arguments.folder, arguments.tune))
        restored = [_by_network(network, lq, arguments.device) for lq, _ in pairs]
        row = {
            "degradation": degradation,
            "input": _mean([_psnr(lq, gt) for lq, gt in pairs]),
            "network": _mean([_psnr(image, gt) for image, (_, gt) in zip(restored, pairs, strict=True)]),
        }
        for method in METHODS:
            if method.degradation == degradation and method.needs not in missing:
                value, found = _best(method, others, pairs)
                rows.append({**row, "method": method.name, "PSNR": found, "value": str(value), "knows": method.knows})
    notes = [f"Left out, since these packages are missing: {', '.join(missing)}"] if missing else []
    title = "PSNR in dB of the input, restored by the network, and restored by each method with its best value"
    return {"tables": [{"title": title, "rows": rows, "notes": notes}]}


def _pairs(folder: str, degradation: str, limit: int) -> Pairs:
    section = {"name": degradation, "type": "DegradationDataset", "phase": "test", "degradation": degradation}
    dataset = DegradationDataset({**section, "dataroot_gt": folder, "limit": limit})
    samples = (dataset[index] for index in range(len(dataset)))
    return [(_image(sample["lq"]), _image(sample["gt"])) for sample in samples]


def _image(tensor: torch.Tensor) -> Image:
    return np.ascontiguousarray(tensor.permute(1, 2, 0).cpu().numpy())


@torch.inference_mode()
def _by_network(network: torch.nn.Module, image: Image, device: str) -> Image:
    return _image(network(torch.from_numpy(image).permute(2, 0, 1)[None].to(device))[0])


def _best(method: Method, others: Pairs, pairs: Pairs) -> tuple[Any, float]:
    """The value that is best on the other photographs, and the PSNR that it gives on these."""
    values = list(method.values)
    if len(values) > 1:
        values.sort(key=lambda value: -_gain(method, value, others))
    return values[0], _gain(method, values[0], pairs)


def _gain(method: Method, value: Any, pairs: Pairs) -> float:
    return _mean([_psnr(method.restore(lq, value, gt), gt) for lq, gt in pairs])


def _psnr(image: Image, gt: Image) -> float:
    """As of 8-bit files, in dB; 100 for equal ones."""
    a, b = ((x.clip(0, 1) * 255).round() for x in (image, gt))
    return float(min(100, 10 * np.log10(255**2 / max(1e-9, np.square(a - b, dtype=np.float64).mean()))))


def _mean(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), 2)
