"""PSNR and SSIM of this package against the engine's, from equal restored images to equal values."""

from __future__ import annotations

import argparse
from typing import Any

import cv2
import torch
from basicsr.metrics import calculate_psnr, calculate_ssim
from basicsr.metrics.psnr_ssim import calculate_ssim_pt
from basicsr.utils import tensor2img

from dcpt_models.metrics.by_name import on_scale_of_8_bit, psnr, ssim
from dcpt_tools.measuring.timing import Call, in_turns

HELP = "PSNR and SSIM, against the engine's"

SIZE, ALL_SIZES = [(720, 1280)], [(321, 481), (720, 1280), (2160, 3840)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images", type=int, default=4, metavar="N", help="images that are measured at once on a GPU")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    cv2.setNumThreads(torch.get_num_threads())
    on_gpu = torch.device(arguments.device).type == "cuda"
    tables = []
    for height, width in ALL_SIZES if arguments.full else SIZE:
        for luma in (False, True) if arguments.full else (False,):
            restored, gt = _pair(arguments.images if on_gpu else 1, height, width, arguments)
            for name, engine in (("SSIM", calculate_ssim), ("PSNR", calculate_psnr)):
                tables.append(_compare(name, engine, restored, gt, luma, arguments))
    return {"tables": tables}


def _pair(images: int, height: int, width: int, arguments: argparse.Namespace) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(arguments.seed)
    gt = torch.rand(images, 3, height, width, generator=generator)
    noise = 0.05 * torch.randn(gt.shape, generator=generator)
    return [image.to(arguments.device) for image in (gt + noise, gt)]


def _compare(
    name: str, engine: Any, restored: torch.Tensor, gt: torch.Tensor, luma: bool, arguments: argparse.Namespace
) -> dict[str, Any]:
    ours = {"SSIM": ssim, "PSNR": psnr}[name]

    def by_ours() -> list[float]:
        a, b = (on_scale_of_8_bit(x, rounded=True) for x in (restored, gt))
        return ours(a, b, test_y_channel=luma).tolist()

    def by_engine() -> list[float]:
        pairs = ([tensor2img(x[None]) for x in pair] for pair in zip(restored, gt, strict=True))
        return [engine(a, b, crop_border=0, test_y_channel=luma) for a, b in pairs]

    functions: dict[str, Call] = {"ours": by_ours, "basicsr": by_engine}
    if name == "SSIM" and (arguments.full or restored.device.type == "cuda"):
        # Which does not round, so that its values are others.
        functions["basicsr, on tensors"] = lambda: calculate_ssim_pt(restored, gt, 0, luma).tolist()
    difference = max(abs(x - y) for x, y in zip(by_ours(), by_engine(), strict=True))
    found = in_turns(functions, arguments.repeats, device=arguments.device)
    count, _, height, width = restored.shape
    colour = "Y" if luma else "RGB"
    return {
        "title": f"{name} of {count} restored image{'s' if count > 1 else ''}, {width}x{height}, {colour}, rounded",
        "rows": [found.row(label) for label in functions],
        "notes": [f"largest difference between ours and basicsr: {difference:.1e}"],
        "difference": difference,
    }
