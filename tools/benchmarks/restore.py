"""Restoring photographs: whole, in tiles, and a folder of them, against spandrel and the usual loops."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from basicsr.utils.registry import ARCH_REGISTRY
from skimage import data

from dcpt_arch import NAFNet, RestorationBackbone
from dcpt_data.images.photograph_files import ImageFile, read_image_file, write_image_file
from dcpt_models.inference.pipeline import overlapped
from dcpt_models.inference.restorer import Restorer
from dcpt_models.runtime.allocator import give_back_freed_memory, keep_freed_memory
from dcpt_tools.measuring.made_models import SMALL
from dcpt_tools.measuring.textbook import PUBLISHED, published, wake
from dcpt_tools.measuring.timing import (
    PRECISIONS,
    Comparison,
    Floor,
    floor_note,
    in_turns,
    measure_floor,
    peak_memory,
    share_of_floor,
)

HELP = "photographs whole, in tiles and in folders, against spandrel and the usual loops; equal weights"

Image = np.ndarray
Restore = Callable[[Image], Image]
# What the usual loop cuts: tiles of this side, and what is thrown away around each.
USUAL_TILE, USUAL_BORDER = 256, 16


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--networks", nargs="+", choices=SMALL, help="the tables of these alone")
    parser.add_argument("--compile", action="store_true", help="one more row: ours in bf16, compiled (torch.compile)")
    parser.add_argument("--max-memory", type=float, default=4.0, metavar="GB", help="for the 12 megapixels of --full")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    floors = {name: measure_floor(arguments.device, dtype) for name, dtype in PRECISIONS.items()}
    tables = [of_network(name, floors, arguments) for name in arguments.networks or SMALL]
    if not arguments.networks:
        network = build(width=32 if arguments.full else 16, blocks=28 if arguments.full else 4)
        peer = spandrel(network, arguments.device)
        tables += [in_tiles(network, peer, arguments), a_folder(network, peer, arguments)]
        if arguments.full:
            tables.append(twelve_megapixels(network, arguments))
    return {"tables": tables}


def build(width: int, blocks: int) -> NAFNet:
    """A NAFNet in which every block does something; published weights are no larger."""
    network = NAFNet(width=width, enc_blk_nums=(1, 1, 1, blocks)).eval()
    wake(network)
    torch.nn.init.normal_(network.ending.weight, std=0.02)
    return network


def photograph(height: int, width: int) -> Image:
    return cv2.resize(data.coffee(), (width, height), interpolation=cv2.INTER_CUBIC)


def restorer(network: NAFNet, arguments: argparse.Namespace, precision: Any = "fp32", **options: Any) -> Restorer:
    return Restorer(network, torch.device(arguments.device), precision, **options)


def spandrel(network: RestorationBackbone, device: str) -> Restore:
    """An image through the published form of a network, at once and in float32; see `textbook.published`."""
    peer = published(network.to(device))

    def restore(pixels: Image) -> Image:
        image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].to(device).float() / 255
        with torch.inference_mode():
            result = peer(image)
        return (result[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()

    return restore


def usual_tiles(restore: Restore) -> Restore:
    """The loop that many projects have: tile after tile, whose borders are cut off; the rest is put side by side."""

    def tiled(pixels: Image) -> Image:
        height, width, _ = pixels.shape
        result = np.empty_like(pixels)
        step = USUAL_TILE - 2 * USUAL_BORDER
        for top in range(0, height, step):
            for left in range(0, width, step):
                up, before = max(0, top - USUAL_BORDER), max(0, left - USUAL_BORDER)
                bottom, right = min(height, top + step), min(width, left + step)
                tile = restore(pixels[up : bottom + USUAL_BORDER, before : right + USUAL_BORDER])
                result[top:bottom, left:right] = tile[top - up : bottom - up, left - before : right - before]
        return result

    return tiled


def rows(found: Comparison, calls: dict[str, Callable[[], Any]], device: str) -> list[dict[str, Any]]:
    return [{**found.row(label), "peak MB": peak_memory(call, device) / 1e6} for label, call in calls.items()]


def of_network(name: str, floors: dict[str, Floor], arguments: argparse.Namespace) -> dict[str, Any]:
    """The table of whole photographs through one network."""
    if name == "NAFNet":
        network: RestorationBackbone = build(32, 28) if arguments.full else build(16, 4)
    else:
        network = ARCH_REGISTRY.get(name)(**({} if arguments.full else SMALL[name])).eval()
    pixels = photograph(*((256, 384) if arguments.full else (192, 320)))
    whole = spandrel(network, arguments.device)
    full, reduced = (restorer(network, arguments, precision, tile=0) for precision in ("fp32", "bf16"))
    by_ours, by_peer = full.restore(pixels)[0], whole(pixels)
    difference = np.abs(by_ours.astype(int) - by_peer).max()

    def with_kept_memory(ours: Restorer) -> None:
        keep_freed_memory()
        ours.restore(pixels)

    def as_usual() -> None:
        give_back_freed_memory()
        whole(pixels)

    def with_our_allocator() -> None:
        keep_freed_memory()
        whole(pixels)

    calls: dict[str, Callable[[], Any]] = {
        "ours, fp32": lambda: with_kept_memory(full),
        "ours, bf16": lambda: with_kept_memory(reduced),
        PUBLISHED: as_usual,
        f"{PUBLISHED}, freed memory kept": with_our_allocator,
    }
    if arguments.compile:
        compiled = restorer(network, arguments, "bf16", tile=0)
        compiled.network = torch.compile(compiled.network)  # type: ignore[assignment]
        calls["ours, bf16, compiled"] = lambda: with_kept_memory(compiled)
    found = in_turns(calls, arguments.repeats, device=arguments.device)
    peaks = {label: peak_memory(call, arguments.device) for label, call in calls.items()}
    keep_freed_memory()
    table = []
    for label in calls:
        row = found.row(label, "")
        if label != PUBLISHED:
            row["times as fast"] = found.ratio(PUBLISHED, label)
        row |= {"peak MB": peaks[label] / 1e6, "of published": peaks[label] / peaks[PUBLISHED]}
        if "compiled" not in label:  # whose operators are not counted
            row |= share_of_floor(calls[label], floors["bf16" if label.endswith("bf16") else "fp32"], row)
        table.append(row)
    # Before it is rounded to 8 bit, which would hide most of it.
    x = torch.from_numpy(pixels).permute(2, 0, 1)[None].to(arguments.device) / 255
    with torch.inference_mode():
        exact = network(x.contiguous(memory_format=torch.channels_last)).clamp(0, 1)
        with torch.autocast(x.device.type, torch.bfloat16):
            rounded = network(x.contiguous(memory_format=torch.channels_last)).clamp(0, 1)
    lost = 10 * np.log10(1 + (rounded - exact).square().mean().item() / 10**-3.5)
    height, width, _ = pixels.shape
    return {
        "title": f"One photograph through {name}{'' if arguments.full else ', small'}, {width} x {height}",
        "rows": table,
        "notes": [
            f"Ours in float32 and the published form differ by {difference} of 255 at most; bfloat16 costs an image of "
            f"35 dB {lost:.4f} dB, with random weights. Ours keeps freed memory "
            "(dcpt_models/runtime/allocator.py); the published form runs as the C library is by itself, and in the "
            "last row with our settings, so that what the network saves and what the allocator saves are apart.",
            floor_note(floors),
        ],
        "faster": {label: found.ratio(PUBLISHED, label) for label in calls if label != PUBLISHED},
    }


def in_tiles(network: NAFNet, whole: Restore, arguments: argparse.Namespace) -> dict[str, Any]:
    pixels = photograph(640, 960)
    ours = restorer(network, arguments, tile=USUAL_TILE, overlap=2 * USUAL_BORDER)
    chosen = restorer(network, arguments, overlap=2 * USUAL_BORDER)
    chosen.restore(pixels)  # it measures on the first images; the turn that does not count is the second
    loop = usual_tiles(whole)
    calls = {
        "ours": lambda: ours.restore(pixels)[0],
        "ours, fastest size": lambda: chosen.restore(pixels)[0],
        "usual loop, spandrel": lambda: loop(pixels),
    }
    found = in_turns(calls, arguments.repeats, device=arguments.device)
    table = rows(found, calls, arguments.device)
    reference = whole(pixels).astype(int)
    for row, call in zip(table, calls.values(), strict=True):
        row["largest jump"] = float(jump(call() - reference))
    notes = [
        f"Tiles of {USUAL_TILE} pixels that share {2 * USUAL_BORDER}. A jump is the mean over a row or column of "
        "pixels of how much the difference from the image restored at once changes to the next one, in 1/255; the "
        "largest is shown."
    ]
    return {"title": "In tiles, 960 x 640", "rows": table, "notes": notes}


def jump(difference: Image) -> float:
    return max(np.abs(np.diff(difference, axis=axis).mean(axis=(1 - axis, 2))).max() for axis in (0, 1))


def a_folder(network: NAFNet, whole: Restore, arguments: argparse.Namespace) -> dict[str, Any]:
    count, side = (24, 512) if arguments.full else (8, 256)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        jobs = [(home / f"{i}.png", home / f"restored_{i}.png") for i in range(count)]
        for index, (source, _) in enumerate(jobs):
            write_image_file(source, ImageFile(np.roll(photograph(side, side), 7 * index, axis=1)))
        ours = restorer(network, arguments)

        def pipeline() -> None:
            done = overlapped(
                jobs,
                lambda job: read_image_file(job[0]),
                lambda job, image: ImageFile(ours.restore(image.pixels)[0]),
                lambda job, image: write_image_file(job[1], image),
                (),
            )
            assert len(list(done)) == count

        def one_after_the_other() -> None:
            for source, target in jobs:
                write_image_file(target, ImageFile(whole(read_image_file(source).pixels)))

        calls = {"ours": pipeline, "one after the other, spandrel": one_after_the_other}
        found = in_turns(calls, arguments.repeats, device=arguments.device)
        return {
            "title": f"A folder of {count} PNG files, {side} x {side}",
            "rows": rows(found, calls, arguments.device),
        }


def twelve_megapixels(network: NAFNet, arguments: argparse.Namespace) -> dict[str, Any]:
    pixels = photograph(3000, 4000)
    ours = restorer(network, arguments, "auto", max_memory=int(arguments.max_memory * 1e9))
    seconds, tiles = [], []

    def call() -> None:
        found = in_turns({"ours": lambda: tiles.append(ours.restore(pixels)[1])}, 1, 0, arguments.device)
        seconds.append(found.median("ours"))

    peak = peak_memory(call, arguments.device)
    tile = f"{tiles[-1].count} of {tiles[-1].across.tile} x {tiles[-1].down.tile}"
    row = {"what": "ours", "s": min(seconds), "peak MB": peak / 1e6, "tiles": tile}
    return {"title": f"12 megapixels within {arguments.max_memory:g} GB", "rows": [row]}
