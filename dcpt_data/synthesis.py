"""Paired data made from clean photographs, in the folders where option files expect the published data sets."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

from dcpt_data.degradations import degrade
from dcpt_data.errors import DataError
from dcpt_data.forking import prepare_to_fork
from dcpt_data.images import list_images, read_image, to_float, to_uint8, write_image
from dcpt_data.pairing import lq_name
from dcpt_data.sources import Source, get_source, known_settings

MANIFEST = "stand_in.json"


@dataclass(frozen=True)
class Plan:
    """One data set to make: which one, and from which photographs."""

    source: Source
    photographs: list[Path]


def split(photographs: list[Path], test_share: float, seed: int) -> tuple[list[Path], list[Path]]:
    """Part photographs into training and test ones, at least one of each, by seed alone.

    Raises:
        DataError: If there are fewer than two photographs or the share is not in (0, 1).
    """
    if len(photographs) < 2 or not 0 < test_share < 1:
        raise DataError(
            f"need two photographs or more and a test share in (0, 1); got {len(photographs)} and {test_share}"
        )
    order = np.random.default_rng(seed).permutation(len(photographs))
    count = min(len(photographs) - 1, max(1, round(len(photographs) * test_share)))
    test = set(order[:count].tolist())
    chosen = [p for i, p in enumerate(photographs) if i not in test]
    return chosen, [photographs[i] for i in sorted(test)]


def plan(folder: Path, setting: str, seed: int, test_share: float = 0.1, test_folder: Path | None = None) -> list[Plan]:
    """Which data sets a setting needs, and which photographs each is made from.

    Args:
        folder: Clean photographs.
        setting: Name in sources.yml, such as "5d".
        seed: Seed of the split.
        test_share: Share of the photographs that only test sets are made from.
        test_folder: Photographs of the test sets; then all of `folder` are for training.

    Raises:
        DataError: If the setting is not known, there are too few photographs, or some are for training and testing.
    """
    settings = known_settings()
    if setting not in settings:
        raise DataError(f"no setting '{setting}'; known: {', '.join(settings)}")
    photographs = list_images(folder)
    train, test = (photographs, list_images(test_folder)) if test_folder else split(photographs, test_share, seed)
    both = {path.resolve() for path in train} & {path.resolve() for path in test}
    if both:
        raise DataError(f"{len(both)} test photographs lie in {folder} too, such as {min(both)}; keep the two apart")
    names = settings[setting]
    return [Plan(get_source(name), part) for key, part in (("train", train), ("test", test)) for name in names[key]]


def synthesise(plans: list[Plan], out: Path, seed: int, report: Callable[[str, int, int], None]) -> list[str]:
    """Make data sets below `out`, in parallel. A set appears under its name only once it is whole.

    Sets that an earlier, interrupted call with the same photographs and seed has finished are kept.

    Args:
        plans: What to make.
        out: The data sets' root.
        seed: Seed of the degradations; equal seeds give equal files.
        report: Called with a set's name, and how many images of how many over all sets are done.

    Returns:
        Names of the sets that were there already.

    Raises:
        DataError: If a folder exists that was made otherwise, or a photograph cannot be read.
    """
    wanted = {p.source.name: _manifest(p, seed) for p in plans}
    kept = [p.source.name for p in plans if _is_made(out / p.source.folder, wanted[p.source.name])]
    todo = [p for p in plans if p.source.name not in kept]
    total, done = sum(len(p.photographs) for p in todo), 0
    prepare_to_fork()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for p in todo:
            final = out / p.source.folder
            partial_folder = final.with_name(f".{final.name}.partial")
            shutil.rmtree(partial_folder, ignore_errors=True)
            make = partial(_make_pair, p.source, partial_folder, seed)
            for _ in pool.map(make, p.photographs, _distinct_names(p.photographs), chunksize=4):
                done += 1
                report(p.source.name, done, total)
            (partial_folder / MANIFEST).write_text(json.dumps(wanted[p.source.name], indent=1), encoding="utf-8")
            partial_folder.rename(final)
    return kept


def stand_ins(datasets: dict[str, dict[str, Any]]) -> list[str]:
    """Names of the data sets of an option file that are stand-ins made here, not what was published."""
    made = []
    for key, opt in datasets.items():
        if not opt.get("source"):
            continue
        if Path(opt["datasets_root"], get_source(opt["source"]).folder, MANIFEST).is_file():
            made.append(opt.get("name", key))
    return made


def _manifest(plan: Plan, seed: int) -> dict[str, object]:
    names = hashlib.sha256("\n".join(f"{p.name} {p.stat().st_size}" for p in plan.photographs).encode()).hexdigest()
    return {"source": plan.source.name, "stand_in": True, "seed": seed, "images": len(plan.photographs), "from": names}


def _is_made(folder: Path, manifest: dict[str, object]) -> bool:
    if not folder.exists():
        return False
    file = folder / MANIFEST
    if file.is_file() and json.loads(file.read_text(encoding="utf-8")) == manifest:
        return True
    made = "from other photographs or with another seed" if file.is_file() else "by something else"
    raise DataError(f"{folder} exists and was made {made}; remove it or choose another --out")


def _distinct_names(photographs: list[Path]) -> Iterator[str]:
    """Names without underscores (the "prefix" rule cuts there), numbered where two would be equal."""
    taken: set[str] = set()
    for path in photographs:
        stem = path.stem.replace("_", "-")
        name, number = stem, 1
        while name in taken:  # perhaps by another's number, as of "a", "a", "a-2"
            number += 1
            name = f"{stem}-{number}"
        taken.add(name)
        yield name


def _make_pair(source: Source, folder: Path, seed: int, photograph: Path, name: str) -> None:
    image = read_image(photograph)
    if image.dtype == np.uint16:
        image = to_uint8(to_float(image))
    gt_root = folder / source.gt
    rule = source.pairing
    if isinstance(rule, dict):  # templates with one sequence folder before the image's name
        name = rule["gt"].format(*_fill(rule["gt"].count("{}"), name))
    _write(gt_root / f"{name}.png", image)
    if source.lq is not None:
        key = zlib.crc32(f"{source.name}/{name}".encode())
        degraded = degrade(source.degradation, to_float(image), np.random.default_rng([seed, key]))
        _write(folder / source.lq / f"{lq_name(rule, name)}.png", to_uint8(degraded))


def _fill(count: int, name: str) -> list[str]:
    return [*repeat("photographs", count - 1), name]


def _write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, image)
