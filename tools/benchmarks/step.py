"""Iterations of DCPT and of restoration training: the real models, against the published forms."""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from typing import Any

import torch

from dcpt_models.methods.base_model import DegradationModel
from dcpt_models.runtime.devices import has_bfloat16
from dcpt_tools.measuring.made_models import NETWORK, NETWORKS, OPTIMIZER, WIDTH, Batch, dcpt, restoration
from dcpt_tools.measuring.textbook import PUBLISHED, PlainTraining, wake
from dcpt_tools.measuring.timing import (
    PRECISIONS,
    Floor,
    floor_note,
    in_turns,
    measure_floor,
    peak_memory,
    share_of_floor,
)

HELP = "an iteration of DCPT and one of restoration training, against the published forms with equal weights"


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


METHODS = {"An iteration of DCPT, alternate": dcpt, "An iteration of restoration training": restoration}


def compare(
    title: str,
    method: Callable[..., DegradationModel],
    network: dict[str, Any],
    floors: dict[str, Floor],
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    """The table of one method and network."""
    batch = Batch(arguments.batch, arguments.crop, arguments.device, arguments.seed)
    models = {name: method(network, {"precision": name, "compile": arguments.compile}, batch) for name in PRECISIONS}
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
