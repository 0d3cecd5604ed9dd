"""What the training loop costs beside the network's own work: the same model in a bare PyTorch loop, in turns."""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from basicsr.archs import build_network
from basicsr.models import build_model
from torch import nn

from dcpt_models.training.loop import train
from dcpt_models.training.run import Run
from dcpt_tools.measuring.made_models import LOG_FREQ, NETWORK, NETWORKS, OPTIMIZER, Batch, run_options
from dcpt_tools.measuring.timing import Comparison, peak_memory, synchronise

HELP = "an iteration of the training loop, against the same model stepped in a bare PyTorch loop; --full: its memory"

OURS, BARE = "ours", "bare loop"
# Each has a turn of several iterations, as the first one after the other's finds memory in another state. A log line
# comes in every turn, more often than while training.
TURN, WARMUP = LOG_FREQ, 1
# What --full measures the memory of: networks with the options of their papers, crops and batches.
CROPS = ((64, 1), (64, 4), (128, 1))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--batch", type=int, default=4, metavar="N", help="images of an iteration (default: 4)")
    parser.add_argument("--crop", type=int, default=128, metavar="N", help="their side in pixels (default: 128)")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    tables = [compare("a restoration iteration", {}, arguments)]
    tables.append(compare("with a moving average and clipping", {"ema_decay": 0.999, "grad_clip": 1.0}, arguments))
    if arguments.full:
        tables.append(memory(arguments))
    return {"tables": tables}


def compare(title: str, extra: dict[str, Any], arguments: argparse.Namespace) -> dict[str, Any]:
    """The table of one setting of the `train` section."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        elapsed, processor = in_turns(Path(folder), extra, arguments)
    overhead = {"of time": elapsed.ratio(OURS, BARE) - 1, "of processor time": processor.ratio(OURS, BARE) - 1}
    shown = ", ".join(f"{value:+.2%} {what}" for what, value in overhead.items())
    turns = len(elapsed.seconds[OURS])
    return {
        "title": f"{title}: NAFNet of width {NETWORK['width']}, {arguments.batch} x {arguments.crop}^2, fp32",
        "rows": [{**elapsed.row(label), "processor time, ms": 1e3 * processor.median(label)} for label in (OURS, BARE)],
        "notes": [
            f"Ours beside the bare loop: {shown} (medians over {turns} turns of {TURN} iterations). Other programs on "
            "the machine disturb the time of the processor less."
        ],
        "overhead": overhead,
    }


def in_turns(folder: Path, extra: dict[str, Any], arguments: argparse.Namespace) -> tuple[Comparison, Comparison]:
    """Run the real training loop, with a turn of the bare one before each turn of its iterations.

    Returns:
        Seconds of an iteration, one value a turn: of the bare loop; and of ours, from a batch to the question for the
        next one, with all that the loop does in between, log lines included. First by the clock, then of the processor.
    """
    rounds = arguments.repeats
    opt = options(folder, TURN * (rounds + WARMUP), extra, arguments)
    elapsed: dict[str, list[float]] = {OURS: [], BARE: []}
    processor: dict[str, list[float]] = {OURS: [], BARE: []}
    generator = torch.Generator().manual_seed(arguments.seed)
    lq, gt = torch.rand(2, arguments.batch, 3, arguments.crop, arguments.crop, generator=generator)
    names = ["noise"] * arguments.batch
    batch = {"lq": lq, "gt": gt, "degradation": names, "lq_path": names}
    step = bare_loop(extra, arguments)

    @contextlib.contextmanager
    def timed(label: str, counts: bool) -> Iterator[None]:
        synchronise(arguments.device)
        begin, used = time.perf_counter(), time.process_time()
        yield
        synchronise(arguments.device)
        if counts:
            elapsed[label].append((time.perf_counter() - begin) / TURN)
            processor[label].append((time.process_time() - used) / TURN)

    class Loader:
        dataset = (None,)
        batch_sampler = SimpleNamespace(samples_until=lambda iteration: iteration * arguments.batch)

        def __iter__(self) -> Iterator[dict[str, Any]]:
            for turn in range(-WARMUP, rounds):
                with timed(BARE, turn >= 0):
                    for _ in range(TURN):
                        step(batch)
                with timed(OURS, turn >= 0):
                    for _ in range(TURN):
                        yield batch
            yield batch  # after whose iteration the run saves and ends

    with Run(opt) as opened:
        train(opened, Loader(), [])
    return Comparison(elapsed), Comparison(processor)


def bare_loop(extra: dict[str, Any], arguments: argparse.Namespace) -> Callable[[dict[str, Any]], None]:
    """What one writes by hand for the same model, with a fused optimiser and channels last."""
    net = build_network(dict(NETWORK)).to(arguments.device).to(memory_format=torch.channels_last)
    average = deepcopy(net).requires_grad_(False) if "ema_decay" in extra else None
    optimizer = torch.optim.AdamW(net.parameters(), lr=OPTIMIZER["lr"], weight_decay=0.0, fused=True)

    def step(batch: dict[str, Any]) -> None:
        lq, gt = (batch[key].to(arguments.device, memory_format=torch.channels_last) for key in ("lq", "gt"))
        optimizer.zero_grad()
        nn.functional.l1_loss(net(lq), gt).backward()
        if "grad_clip" in extra:
            nn.utils.clip_grad_norm_(net.parameters(), extra["grad_clip"])
        optimizer.step()
        if average is not None:
            with torch.no_grad():
                for mean, now in zip(average.parameters(), net.parameters(), strict=True):
                    mean.lerp_(now, 1 - extra["ema_decay"])

    return step


def memory(arguments: argparse.Namespace) -> dict[str, Any]:
    """The table of what training takes: what is kept, and what an iteration needs on top at its peak."""
    rows = []
    for name in NETWORKS:
        for checkpointing in (False, True):
            network = {"type": name, "checkpointing": checkpointing}
            row: dict[str, Any] = {"network": name + (", checkpointing" if checkpointing else "")}
            with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
                opt = options(Path(folder), 1, {"ema_decay": 0.999}, arguments)
                model = build_model({**opt, "network_g": network})
            count = sum(p.numel() for p in model.networks["g"].parameters())
            row |= {"million weights": count / 1e6, "kept, GB": 4 * 4 * count / 1e9}
            for crop, batch in CROPS:
                lq = torch.rand(batch, 3, crop, crop)
                model.feed_data({"lq": lq, "gt": lq, "degradation": ["noise"] * batch})
                peak = peak_memory(lambda model=model: model.optimize_parameters(1), arguments.device)
                row[f"{batch} x {crop}^2, GB"] = peak / 1e9
            rows.append(row)
    return {
        "title": "memory of a restoration iteration, fp32",
        "rows": rows,
        "notes": ["Kept: weights, their moving average, and AdamW's two. On top, at the peak: gradients, activations."],
    }


def options(folder: Path, total: int, extra: dict[str, Any], arguments: argparse.Namespace) -> dict[str, Any]:
    """Options of a run of so many iterations; see `run_options`."""
    batch = Batch(arguments.batch, arguments.crop, arguments.device, arguments.seed)
    return run_options(folder, total, extra, batch)
