"""Paired data made from clean photographs, in the folders where option files expect the published data sets."""

from __future__ import annotations

import hashlib
import json
import shutil
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

from dcpt_common import nearest, partial_path
from dcpt_data.datasets.loading import image_sets_of
from dcpt_data.datasets.locating import Images
from dcpt_data.degradations import degrade
from dcpt_data.errors import DataError
from dcpt_data.images.pixels import list_images, read_image, to_float, to_uint8, write_image
from dcpt_data.sources.pairing import lq_name
from dcpt_data.sources.published import Source, get_source, known_settings, sharing, source_folder
from dcpt_data.stores.lmdb_store import peek_metadata
from dcpt_data.workers.parallel import each

MANIFEST = "stand_in.json"


@dataclass(frozen=True)
class Plan:
    """One folder to make: for which data sets, and from which photographs.

    Attributes:
        folder: Where it lies below the data sets' root.
        sources: The data sets in it: one, or several that share their ground truth.
        photographs: What they are made from.
    """

    folder: str
    sources: list[Source]
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
    """Which folders a setting needs, and which photographs each is made from.

    Args:
        folder: Clean photographs.
        setting: Name in sources.yml, such as "5d".
        seed: Seed of the split.
        test_share: Share of the photographs that only test sets are made from; all of them if nothing is to train on.
        test_folder: Photographs of the test sets; then all of `folder` are for training.

    Raises:
        DataError: If the setting is not known, there are too few photographs, or some are for training and testing.
    """
    settings = known_settings()
    if setting not in settings:
        raise DataError(f"no setting '{setting}'{nearest(setting, settings)}")
    names = settings[setting]
    photographs = list_images(folder)
    if test_folder:
        train, test = photographs, list_images(test_folder)
    else:
        train, test = split(photographs, test_share, seed) if names["train"] else ([], photographs)
    both = {path.resolve() for path in train} & {path.resolve() for path in test}
    if both:
        raise DataError(f"{len(both)} test photographs lie in {folder} too, such as {min(both)}; keep the two apart")
    return [
        Plan(folder, sources, chosen)
        for part, chosen in ((names["train"], train), (names["test"], test))
        for folder, sources in sharing(map(get_source, part)).items()
    ]


def synthesise(plans: list[Plan], out: Path, seed: int, report: Callable[[int, int, str], None]) -> list[str]:
    """Make data sets below `out`, in parallel. A folder appears under its name only once it is whole.

    Those that an earlier, interrupted call with the same photographs and seed has finished are kept.

    Args:
        plans: What to make.
        out: The data sets' root.
        seed: Seed of the degradations; equal seeds give equal files.
        report: Called with how many photographs of how many are done over all folders, and the folder.

    Returns:
        Names of the data sets that were there already.

    Raises:
        DataError: If a folder exists that was made otherwise, or a photograph cannot be read.
    """
    kept = [p for p in plans if _is_made(out / p.folder, _manifest(p, seed))]
    todo = [p for p in plans if p not in kept]
    total, done = sum(len(p.photographs) for p in todo), 0
    for p in todo:
        final = out / p.folder
        partial_folder = partial_path(final)
        shutil.rmtree(partial_folder, ignore_errors=True)
        named = list(zip(p.photographs, _distinct_names(p.photographs), strict=True))
        with each(_make_pairs, (p.sources, partial_folder, seed), named) as finished:
            for _ in finished:
                done += 1
                report(done, total, p.folder)
        (partial_folder / MANIFEST).write_text(json.dumps(_manifest(p, seed), indent=1), encoding="utf-8")
        partial_folder.rename(final)
    return [source.name for p in kept for source in p.sources]


def stand_ins(datasets: dict[str, dict[str, Any]]) -> list[str]:
    """Names of the data sets of an option file that are stand-ins made here, not what was published."""
    return [
        opt.get("name", key)
        for key, opt in datasets.items()
        if any(is_stand_in(images) for _, images in image_sets_of({key: opt}))
    ]


def is_stand_in(images: Images) -> bool:
    """Whether images, or those that an LMDB was made from, were made here."""
    if images.lmdb is not None:
        metadata = peek_metadata(images.lmdb) if images.lmdb.is_dir() else None
        return metadata is not None and metadata.stand_in
    return bool(read_manifest(images))


def read_manifest(images: Images) -> dict[str, Any]:
    """What was written beside the stand-in of a source; empty if this is none."""
    if not images.source or images.root_gt is None:
        return {}
    file = source_folder(images.root_gt, get_source(images.source)) / MANIFEST
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def _manifest(plan: Plan, seed: int) -> dict[str, object]:
    names = hashlib.sha256(
        "\n".join(f"{p.name} {p.stat().st_size}" for p in plan.photographs).encode("utf-8", "surrogateescape")
    ).hexdigest()
    sources = ", ".join(source.name for source in plan.sources)
    return {"source": sources, "stand_in": True, "seed": seed, "images": len(plan.photographs), "from": names}


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


def _make_pairs(sources: list[Source], folder: Path, seed: int, item: tuple[Path, str]) -> None:
    """Write a photograph as ground truth, and degraded for each source that has degraded images."""
    photograph, name = item
    image = read_image(photograph)
    if image.dtype == np.uint16:
        image = to_uint8(to_float(image))
    rule = sources[0].pairing  # sources that share a folder have one rule
    if isinstance(rule, dict):  # templates with one sequence folder before the image's name
        name = rule["gt"].format(*_fill(rule["gt"].count("{}"), name))
    _write(folder / sources[0].gt / f"{name}.png", image)
    for source in sources:
        if source.lq is not None:
            key = zlib.crc32(f"{source.name}/{name}".encode("utf-8", "surrogateescape"))
            rng = np.random.default_rng([seed, key])
            degraded = degrade(source.stand_in or source.degradation, to_float(image), rng)
            _write(folder / source.lq / f"{lq_name(rule, name)}.png", to_uint8(degraded))


def _fill(count: int, name: str) -> list[str]:
    return [*repeat("photographs", count - 1), name]


def _write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, image)
