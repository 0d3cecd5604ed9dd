"""Reading and preparing data, beside what BasicSR does with the same files."""

from __future__ import annotations

import argparse
import contextlib
import io
import shutil
import tempfile
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import lmdb
import numpy as np
import torch
from basicsr.data.paired_image_dataset import PairedImageDataset
from basicsr.utils.lmdb_util import make_lmdb_from_imgs

from dcpt_data import DegradationDataset
from dcpt_data.datasets.locating import Images, locate, open_images
from dcpt_data.datasets.options import SetOptions
from dcpt_data.degradations import DEGRADATIONS, degrade
from dcpt_data.images.pixels import to_float, write_image
from dcpt_data.images.sample_photographs import TRAIN, load
from dcpt_data.preparation.lmdb_creation import create_lmdb
from dcpt_data.preparation.lmdb_plans import plan_lmdb
from dcpt_data.sources.pairing import match_names
from dcpt_data.stores.lmdb_format import FORMS, ROW, Entries, Form, Index, Metadata, write_records
from dcpt_data.stores.name_table import NameTable
from dcpt_tools.measuring.timing import Call, Comparison, in_turns

HELP = "pairs a second from folders and LMDBs, making LMDBs, opening large sets, and the cost of each degradation"

HEIGHT, WIDTH, CROP = 720, 1280, 128
ENGINE_FOLDER, ENGINE_LMDB, ENGINE_MAKING = "BasicSR, folder of PNGs", "BasicSR, its LMDB", "BasicSR"
FIVE = ("haze", "rain", "noise", "motion_blur", "low_light")
BATCH = 32
NAMES, ENTRIES, SHARED = 100_000, 72_135, 2_061  # the latter two are those of RESIDE OTS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pairs", type=int, metavar="N", help="pairs of 720p (default: 20, with --full 60)")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="processes that make LMDBs (default: 2)")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        with tempfile.TemporaryDirectory(prefix="dcpt_benchmark_") as folder:
            files = _Files(Path(folder), arguments.pairs or (60 if arguments.full else 20), arguments.workers)
            tables = [
                making(files, min(3, arguments.repeats)),
                reading(files, arguments.repeats),
                large_sets(files.folder, arguments.repeats),
                synthesis(arguments.repeats, arguments.seed),
            ]
    finally:
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])
    return {"tables": tables}


@dataclass
class _Files:
    """Pairs of 720p in two folders, and LMDBs of them beside; made when needed."""

    folder: Path
    count: int
    workers: int

    def __post_init__(self) -> None:
        self.gt, self.lq = self.folder / "gt", self.folder / "lq"
        for path in (self.gt, self.lq):
            path.mkdir()
        photographs = [load(photograph) for photograph in TRAIN.values()]
        for number in range(self.count):
            rng = np.random.default_rng(number)
            photograph = photographs[number % len(photographs)]
            image = cv2.resize(photograph, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC).astype(np.int16)
            image += rng.integers(-2, 3, image.shape, np.int16)  # the noise of a camera, which resizing has taken
            streaks = rng.integers(0, 30, (HEIGHT, WIDTH, 1), np.int16)
            for path, pixels in ((self.gt, image), (self.lq, image + streaks)):
                write_image(path / f"{number:04}.png", pixels.clip(0, 255).astype(np.uint8))

    @property
    def bytes(self) -> int:
        """Bytes of all PNG files."""
        return sum(path.stat().st_size for side in (self.gt, self.lq) for path in side.iterdir())

    def make(self, form: Form) -> Path:
        """Make an LMDB, anew each time."""
        out = self.folder / f"{form}.lmdb"
        shutil.rmtree(out, ignore_errors=True)
        options = SetOptions(degradation="rain", dataroot_gt=str(self.gt), dataroot_lq=str(self.lq))
        images = locate(options)
        create_lmdb(plan_lmdb(images, open_images(images), form, out), self.workers)
        return out

    def make_as_basicsr_does(self) -> list[Path]:
        """Make BasicSR's two LMDBs with its own function, anew each time."""
        made = []
        for side in (self.lq, self.gt):
            out = self.folder / f"engine_{side.name}.lmdb"
            shutil.rmtree(out, ignore_errors=True)
            names = sorted(path.name for path in side.iterdir())
            keys = [Path(name).stem for name in names]
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                make_lmdb_from_imgs(str(side), str(out), names, keys, map_size=2**36)
            made.append(out)
        return made


# Tables


def making(files: _Files, repeats: int) -> dict[str, Any]:
    """The time to make LMDBs of the same files."""
    calls: dict[str, Call] = {ENGINE_MAKING: files.make_as_basicsr_does}
    calls |= {form: partial(files.make, form) for form in FORMS}
    found = _each(in_turns(calls, repeats, warmup=0), dict.fromkeys(calls, 2 * files.count))
    rows = []
    for label in calls:
        row = {"what": label if label == ENGINE_MAKING else f"ours, {label}", "ms an image": 1e3 * found.median(label)}
        if label != ENGINE_MAKING:
            size = (files.folder / f"{label}.lmdb" / "data.mdb").stat().st_size
            row |= {"times as fast": found.ratio(ENGINE_MAKING, label), "disk, of the PNGs'": size / files.bytes}
        rows.append(row)
    return {
        "title": f"Making an LMDB of {files.count} pairs of 720p PNGs",
        "rows": rows,
        "notes": [f"Ours reads with {files.workers} processes and writes with one; BasicSR's function has one."],
    }


def reading(files: _Files, repeats: int) -> dict[str, Any]:
    """The time to read a training pair in one process."""
    section = {"name": "x", "type": "x", "phase": "train", "scale": 1, "gt_size": CROP, "degradation": "rain"}
    engine = {"phase": "train", "scale": 1, "gt_size": CROP, "use_hflip": True, "use_rot": True}
    roots = {"dataroot_gt": str(files.gt), "dataroot_lq": str(files.lq)}
    lq, gt = files.make_as_basicsr_does()
    engine_roots = {"dataroot_gt": str(gt), "dataroot_lq": str(lq), "io_backend": {"type": "lmdb"}}
    sets: dict[str, Any] = {
        ENGINE_FOLDER: PairedImageDataset({**engine, **roots, "io_backend": {"type": "disk"}}),
        ENGINE_LMDB: PairedImageDataset({**engine, **engine_roots}),
        "ours, folder of PNGs": DegradationDataset({**section, **roots}),
        **{f"ours, LMDB, {form}": DegradationDataset({**section, "lmdb": str(files.make(form))}) for form in FORMS},
    }
    raw = "ours, LMDB, raw"
    counts = {label: 4000 if label == raw else 20 for label in sets}
    calls = {label: partial(_read, dataset, counts[label], files.count) for label, dataset in sets.items()}
    found = _each(in_turns(calls, repeats), counts)
    rows = []
    for label in sets:
        row = {"what": label, "pairs/s": 1 / found.median(label), "ms a pair": 1e3 * found.median(label)}
        if label.startswith("ours"):
            row["x BasicSR's LMDB"] = found.ratio(ENGINE_LMDB, label)
            row["x BasicSR's folder"] = found.ratio(ENGINE_FOLDER, label)
        rows.append(row)
    return {
        "title": f"Reading 720p pairs on one core: crop of {CROP}, flips and rotation, to tensors",
        "rows": rows,
        "notes": ["Files are in memory (the page cache) in all rows, as they are after the first epoch if they fit."],
    }


def _read(dataset: Any, count: int, length: int) -> None:
    for number in range(count):
        dataset[number % length]


def _each(found: Comparison, counts: dict[str, int]) -> Comparison:
    """The same times, of one item each instead of `counts` of them."""
    return Comparison({label: [t / counts[label] for t in times] for label, times in found.seconds.items()})


def large_sets(folder: Path, repeats: int) -> dict[str, Any]:
    """The time and memory to pair and to open as many images as the largest data sets have."""
    lq = [f"{i // 35:05}_{0.8 + i % 35 / 100}_0.2.jpg" for i in range(NAMES)]
    gt = [f"{i:05}.png" for i in range(NAMES // 35 + 1)]
    path = folder / "large.lmdb"
    _write_large(path)
    images = Images("haze", None, None, "same", "", lmdb=path)
    pair, opening = f"pairing {NAMES:,} names", f"opening an LMDB of {ENTRIES:,} pairs"
    calls: dict[str, Call] = {
        pair: lambda: match_names(lq, gt, "prefix", "lq", "gt"),
        opening: lambda: open_images(images),
    }
    found = in_turns(calls, repeats)
    return {
        "title": "Large data sets",
        "rows": [
            {"what": label, "ms": 1e3 * found.median(label), "MB at the peak": _peak(call) / 1e6}
            for label, call in calls.items()
        ],
    }


def _write_large(path: Path) -> None:
    names = NameTable.of(f"{i % SHARED:04}_{0.8 + i / 1e6:.6f}_0.2.jpg" for i in range(ENTRIES))
    rows = np.zeros(ENTRIES, ROW)
    rows["height"], rows["width"], rows["depth"] = 460, 620, 1
    sides = {
        "gt": Entries(NameTable.of(f"{i:04}.png" for i in range(SHARED)), rows[:SHARED]),
        "lq": Entries(names, rows),
    }
    index = Index(sides, np.arange(ENTRIES, dtype="<u4") % SHARED)
    with lmdb.open(str(path), map_size=2**27) as environment, environment.begin(write=True) as transaction:
        write_records(transaction, Metadata("raw", {"lq": ENTRIES, "gt": SHARED}, "haze", "prefix"), index)


def _peak(call: Call) -> int:
    """Bytes that Python and NumPy hold at most while a function runs and its result is kept."""
    tracemalloc.start()
    _ = call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def synthesis(repeats: int, seed: int) -> dict[str, Any]:
    """The time to degrade crops of 128 as training does, in float32."""
    crops = [to_float(crop) for crop in _crops()]
    calls: dict[str, Call] = {"5D batch": partial(_degrade, FIVE, crops, seed)}
    calls |= {name: partial(_degrade, (name,), crops, seed) for name in DEGRADATIONS}
    found = in_turns(calls, repeats)
    rows = [
        {
            "what": label,
            f"ms a batch of {BATCH}": 1e3 * found.median(label),
            "ms a crop": 1e3 * found.median(label) / BATCH,
        }
        for label in calls
    ]
    return {
        "title": f"Synthesising degradations on one core: {BATCH} crops of {CROP}",
        "rows": rows,
        "notes": [f"The 5D batch has {', '.join(FIVE)} in turn; each row draws its parameters as training does."],
    }


def _crops() -> Iterator[np.ndarray]:
    photographs = [load(photograph) for photograph in TRAIN.values()]
    rng = np.random.default_rng(0)
    for number in range(BATCH):
        image = photographs[number % len(photographs)]
        top, left = (int(rng.integers(side - CROP + 1)) for side in image.shape[:2])
        yield image[top : top + CROP, left : left + CROP]


def _degrade(names: tuple[str, ...], crops: list[np.ndarray], seed: int) -> None:
    for number, crop in enumerate(crops):
        degrade(names[number % len(names)], crop, np.random.default_rng([seed, number]))
