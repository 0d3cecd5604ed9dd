"""Iterations of DCPT and of restoration training: the real models, against the published forms."""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from basicsr.models import build_model

from benchmarks.loop import NETWORK, NETWORKS, OPTIMIZER, options
from benchmarks.textbook import PUBLISHED, PlainTraining, wake
from benchmarks.timing import (
    PRECISIONS,
    Floor,
    floor_note,
    in_turns,
    measure_floor,
    peak_memory,
    share_of_floor,
)
from dcpt_models.methods.base_model import DegradationModel
from dcpt_models.runtime.devices import has_bfloat16

HELP = "an iteration of DCPT and one of restoration training, against the published forms with equal weights"

DEGRADATIONS = ["haze", "rain", "noise", "motion_blur", "low_light"]
WIDTH = 32  # of the NAFNet of --full, as in the released checkpoints
# What the classifier may have as channels; its cost is the same share of both forms.
CLASSIFIER = {"type": "DegradationClassifier"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--batch", type=int, metavar="N", help="images of an iteration (default: 4, with --full 1)")
    parser.add_argument("--crop", type=int, default=128, metavar="N", help="their side in pixels (default: 128)")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, help="some of those of --full (default: all)")
    parser.add_argument("--compile", action="store_true", help="compile ours (train:compile)")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    full = arguments.full or arguments.networks
    arguments.batch = arguments.batch or (1 if full else 4)
    floors = {name: measure_floor(arguments.device, dtype) for name, dtype in PRECISIONS.items()}
    tables = []
    for name in arguments.networks or (NETWORKS if full else ("NAFNet",)):
        network: dict[str, Any] = {"type": name, "width": WIDTH} if name == "NAFNet" else {"type": name}
        for title, method in METHODS.items():
            tables.append(compare(title, method, network if full else NETWORK, floors, arguments))
    return {"tables": tables}


def dcpt(network: dict[str, Any], precision: str, arguments: argparse.Namespace) -> DegradationModel:
    """DCPT, with an update for each stage."""
    others = {"model_type": "DCPTModel", "degradations": DEGRADATIONS, "network_dc": CLASSIFIER}
    return model({**others, "network_g": network}, {"optim_dc": OPTIMIZER}, precision, arguments)


def restoration(network: dict[str, Any], precision: str, arguments: argparse.Namespace) -> DegradationModel:
    """Restoration alone."""
    return model({"network_g": network}, {}, precision, arguments)


def model(
    others: dict[str, Any], train: dict[str, Any], precision: str, arguments: argparse.Namespace
) -> DegradationModel:
    """A real model of an option file, fed with a batch."""
    train = {**train, "precision": precision, "compile": arguments.compile}
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        made: DegradationModel = build_model(options(Path(folder), 1, train, arguments, others))
    generator = torch.Generator().manual_seed(arguments.seed)
    lq, gt = torch.rand(2, arguments.batch, 3, arguments.crop, arguments.crop, generator=generator)
    names = [DEGRADATIONS[i % len(DEGRADATIONS)] for i in range(arguments.batch)]
    made.feed_data({"lq": lq, "gt": gt, "degradation": names, "lq_path": names})
    return made


METHODS = {"An iteration of DCPT, alternate": dcpt, "An iteration of restoration training": restoration}


def compare(
    title: str,
    method: Callable[..., DegradationModel],
    network: dict[str, Any],
    floors: dict[str, Floor],
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    """The table of one method and network."""
    models = {name: method(network, name, arguments) for name in PRECISIONS}
    first = models["fp32"]
    wake(first.networks["g"])
    for other in models.values():
        for label, module in other.networks.items():
            module.load_state_dict(first.networks[label].state_dict())
    plain = PlainTraining(copy.deepcopy(first.networks["g"]), first.networks.get("dc"), OPTIMIZER["lr"])
    lq, gt = (image.contiguous() for image in (first.lq, first.gt))
    target = first.target() if plain.classifier is not None else None

    def by_hand() -> None:
        if target is None:
            plain.restore(lq, gt)
        else:
            plain.pretrain(lq, gt, target)

    def by_hand_alone() -> None:
        by_hand()
        plain.free()

    calls: dict[str, Callable[[], Any]] = {
        f"ours, {name}": lambda made=made: made.optimize_parameters(1) for name, made in models.items()
    }
    # In training, an iteration comes after one like it, and finds its own weights and memory.
    found = in_turns({**calls, PUBLISHED: by_hand}, arguments.repeats, device=arguments.device, before=1)
    plain.free()
    peaks = {label: peak_memory(call, arguments.device) for label, call in {**calls, PUBLISHED: by_hand_alone}.items()}
    rows = []
    for label in found.seconds:
        row = found.row(label, "")
        if label != PUBLISHED:
            row["times as fast"] = found.ratio(PUBLISHED, label)
        row |= {"peak MB": peaks[label] / 1e6, "of published": peaks[label] / peaks[PUBLISHED]}
        if not arguments.compile or label == PUBLISHED:
            floor = floors["bf16" if label.endswith("bf16") else "fp32"]
            row |= share_of_floor(calls.get(label, by_hand), floor, row)
        rows.append(row)
    named = " ".join([network["type"], *(f"of width {network['width']}" for _ in range("width" in network))])
    notes = [floor_note(floors)]
    if not has_bfloat16(torch.device(arguments.device)):
        notes.append("This machine has no instructions for products of bfloat16.")
    return {
        "title": f"{title}: {named}, {arguments.batch} x {arguments.crop}^2",
        "rows": rows,
        "notes": notes,
        "faster": {name: found.ratio(PUBLISHED, f"ours, {name}") for name in PRECISIONS},
    }
