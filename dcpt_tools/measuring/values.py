"""Whether a device computes what it should: networks, classifiers, metrics, degradations, a step of each method."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from basicsr.archs import build_network
from torch import nn

from dcpt_data.degradations import degradation_names
from dcpt_data.degradations.arrays import TensorRng
from dcpt_data.degradations.registry import find
from dcpt_models.metrics.by_name import psnr, ssim
from dcpt_models.training.loop import set_tf32
from dcpt_tools.measuring.made_models import CLASSIFIER, DEGRADATIONS, NETWORK, OPTIMIZER, SMALL, Batch, made
from dcpt_tools.measuring.session import Row, Session
from dcpt_tools.measuring.textbook import wake

SIDE = 64
# The greatest differences that are right, as shares of the size of what is compared: roundings of a precision add up
# over the layers of a network.
ALLOWED = {"fp32": 1e-3, "bf16": 0.2}
CLASSIFIERS: dict[str, dict[str, Any]] = {
    "DegradationClassifier": {},
    "ViTDegradationClassifier": {},
    "VimDegradationClassifier": {"depth": 1, "grid": 4},
}
# What computes some things in float32 whatever it is given.
SINGLE = ("ViTDegradationClassifier", "VimDegradationClassifier")
# What pixels are drawn for anew on each device is compared by means over squares of this side.
SQUARE = 16
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "restoration": ("RestorationModel", {}),
    "DCPT": ("DCPTModel", {"optim_dc": OPTIMIZER}),
    "DCPT, joint": ("DCPTModel", {"optim_dc": OPTIMIZER, "schedule": "joint"}),
    "DCPT of several labels": ("MultiLabelDCPTModel", {"optim_dc": OPTIMIZER}),
    "DC-Train": ("DCTrainModel", {"optim_dc": OPTIMIZER}),
    "masked DCPT": ("MaskedDCPTModel", {"optim_dc": OPTIMIZER}),
}
RANDOM_ON_DEVICE = ("masked DCPT",)  # what they compute is not the same on two devices


def networks(session: Session) -> Iterator[Row]:
    """Each network and classifier, its result and its gradients, against the processor, in float64 where it can be."""
    set_tf32(False)
    for name, arguments in SMALL.items():
        torch.manual_seed(0)
        network = build_network({"type": name, **arguments})
        wake(network)
        yield from _compared(session, name, network, torch.rand(1, 3, SIDE, SIDE))
    info = build_network(dict(NETWORK)).feature_info
    for name, arguments in CLASSIFIERS.items():
        torch.manual_seed(0)
        classifier = build_network({"type": name, "feature_info": info, "classes": 5, **arguments}).eval()
        features = [torch.rand(2, level.channels, SIDE // level.stride, SIDE // level.stride) for level in info]
        yield from _compared(session, name, classifier, features)


def _compared(session: Session, name: str, network: nn.Module, given: Any) -> Iterator[Row]:
    if name in SINGLE:
        exact = _result_and_gradients(copy.deepcopy(network), given)
    else:
        exact = _result_and_gradients(copy.deepcopy(network).double(), _each(given, torch.Tensor.double))
    moved = copy.deepcopy(network).to(session.device).to(memory_format=torch.channels_last)
    for precision, allowed in ALLOWED.items():
        mixed = torch.autocast(session.device.type, torch.bfloat16) if precision == "bf16" else nullcontext()
        with mixed:
            found = _result_and_gradients(moved, _each(given, lambda x: x.to(session.device)))
        differences = [_difference(a, b) for a, b in zip(found, exact, strict=True)]
        yield {
            "what": f"{name}, {precision}",
            "difference": differences[0],
            "of gradients": differences[1],
            "allowed": allowed,
            "ok": max(differences) <= allowed,
        }


def _each(given: Any, change: Any) -> Any:
    return [change(x) for x in given] if isinstance(given, list) else change(given)


def _result_and_gradients(network: nn.Module, given: Any) -> tuple[torch.Tensor, torch.Tensor]:
    network.zero_grad()
    result = network(given)
    weights = torch.linspace(-1, 1, result.numel(), dtype=torch.float64).view(result.shape)
    (result * weights.to(result)).sum().backward()
    gradients = [p.grad.flatten().double().cpu() for p in network.parameters() if p.grad is not None]
    return result.detach().double().cpu(), torch.cat(gradients)


def _difference(a: torch.Tensor, b: torch.Tensor) -> float:
    """Of two tensors, as a share of the size of the second."""
    return ((a - b).norm() / b.norm()).item()


def metrics(session: Session) -> Iterator[Row]:
    """PSNR and SSIM, against the processor."""
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(2, 3, 96, 128, generator=generator) * 255
    images = (target + 20 * torch.randn(target.shape, generator=generator)).clamp(0, 255).round()
    for name, metric in (("PSNR", psnr), ("SSIM", ssim)):
        for luma in (False, True):
            a = metric(images.to(session.device), target.to(session.device), test_y_channel=luma).cpu()
            b = metric(images.double(), target.double(), test_y_channel=luma)
            difference = (a - b).abs().max().item()
            what = f"{name}{' of Y' if luma else ''}"
            yield {"what": what, "difference": difference, "allowed": 1e-4, "ok": difference <= 1e-4}


def degradations(session: Session) -> Iterator[Row]:
    """Each degradation that tensors can have, against the processor, with the same numbers drawn."""
    y, x = torch.meshgrid(torch.linspace(0, 9, 96), torch.linspace(0, 12, 128), indexing="ij")
    image = torch.stack([x.sin() * y.cos(), (x * y / 9).sin(), (x - y).cos()], -1) * 0.4 + 0.5
    for name in degradation_names():
        function, information = find(name)[:2]
        if not information.tensors:
            continue
        results = []
        for device in (session.device, torch.device("cpu")):
            rng = TensorRng(7, torch.Generator(device).manual_seed(7))
            result: Any = function(image.to(device), rng)
            results.append(F.avg_pool2d(result.permute(2, 0, 1)[None].cpu().float(), SQUARE))
        difference = (results[0] - results[1]).abs().max().item()
        yield {"what": name, "difference": difference, "allowed": 0.05, "ok": difference <= 0.05}


def methods(session: Session) -> Iterator[Row]:
    """Two iterations of every method: the losses of the first against the processor's, and that all stay finite."""
    for name, (model, train) in METHODS.items():
        others = {"model_type": model, "degradations": DEGRADATIONS, "network_dc": {**CLASSIFIER, "width": 16}}
        if model == "RestorationModel":
            others = {"model_type": model}
        losses: dict[str, dict[str, float]] = {}
        for label, device in (("here", str(session.device)), ("processor", "cpu")):
            torch.manual_seed(0)
            made_model = made(others, {**train, "grad_clip": 1.0, "ema_decay": 0.9}, Batch(2, SIDE, device))
            made_model.optimize_parameters(1)
            losses[label] = {key: value for key, value in made_model.get_current_log().items() if key.startswith("l_")}
        for precision in ("bf16", "fp16") if session.on_gpu else ("bf16",):
            reduced = made(others, {**train, "precision": precision}, Batch(2, SIDE, str(session.device)))
            for iteration in (1, 2):
                reduced.optimize_parameters(iteration)
            losses[precision] = reduced.get_current_log()
        finite = all(value == value and abs(value) < 1e30 for one in losses.values() for value in one.values())
        pairs = zip(losses["here"].values(), losses["processor"].values(), strict=True)
        difference = max(abs(a - b) / max(abs(b), 1e-6) for a, b in pairs)
        compared = name not in RANDOM_ON_DEVICE
        row: Row = {"what": name, "losses": ", ".join(f"{k} {v:.4f}" for k, v in losses["here"].items())}
        if compared:
            row |= {"difference": difference, "allowed": 1e-2}
        yield {**row, "ok": finite and (not compared or difference <= 1e-2)}
