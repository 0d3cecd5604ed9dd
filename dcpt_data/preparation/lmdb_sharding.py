"""Makes a data set of several LMDBs, each of which is made in a process of its own."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dcpt_common import write_atomically
from dcpt_common.files import partial_path
from dcpt_data.errors import DataError
from dcpt_data.preparation.lmdb_creation import create_lmdb
from dcpt_data.preparation.lmdb_plans import Part, Plan
from dcpt_data.stores.lmdb_format import Side
from dcpt_data.stores.lmdb_shards import write_shards
from dcpt_data.stores.name_table import NameTable
from dcpt_data.workers.parallel import each

BEGUN = "plan.json"


def create_shards(
    plan: Plan,
    count: int,
    workers: int | None = None,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Make a set of shards, or go on where an earlier call was interrupted; see `create_lmdb`.

    Args:
        plan: The whole set. Samples keep their order; a ground truth whose degraded images fall into two shards is
            stored in both.
        count: Shards.
        workers: Shards that are made at the same time; by default as many as there are cores.
        report: Called with how many images of how many are in finished shards.

    Raises:
        DataError: If there are fewer samples than shards, the set exists, another one was begun in its place, or
            as `create_lmdb` says.
    """
    out, partial = plan.out, partial_path(plan.out)
    if out.exists():
        raise DataError(f"{out} exists; remove it first to make it again, or check it with --verify")
    plans = split_plan(plan, count, partial)
    partial.mkdir(parents=True, exist_ok=True)
    begun, said = partial / BEGUN, json.dumps({"digest": plan.digest(), "shards": count})
    if (begun.read_text() if begun.is_file() else said if not any(partial.iterdir()) else "") != said:
        raise DataError(f"{partial}: another set of images, or of shards, was begun there; complete or remove it first")
    with write_atomically(begun) as unfinished:
        unfinished.write_text(said)
    done, total = 0, sum(one.count for one in plans)
    report(done, total)
    with each(_make, (), plans, 1, workers) as made:
        for images in made:
            done += images
            report(done, total)
    write_shards(partial, [one.out.name for one in plans])
    begun.unlink()
    partial.rename(out)


def _make(plan: Plan) -> int:
    """Make one shard, unless it is there; returns its images."""
    if not plan.out.exists():
        create_lmdb(plan, workers=1)
    return plan.count


def split_plan(plan: Plan, count: int, folder: Path) -> list[Plan]:
    """The plans of the shards, `folder/00000.lmdb` and so on: consecutive samples, as many in each as can be."""
    leading: Side = "gt" if plan.partners is None else "lq"
    samples = len(plan.parts[leading].numbers)
    if not 1 <= count <= samples:
        raise DataError(f"{plan.out}: {samples} samples make 1 to {samples} shards, not {count}")
    bounds = np.linspace(0, samples, count + 1).astype(int)
    plans = []
    for number, (begin, end) in enumerate(itertools.pairwise(bounds)):
        mine = np.arange(begin, end)
        parts: dict[Side, Part] = {}
        partners = None
        if plan.partners is not None:
            used, partners = np.unique(plan.partners[begin:end], return_inverse=True)
            parts["gt"], partners = _chosen(plan.parts["gt"], used), partners.astype("<u4")
        parts[leading] = _chosen(plan.parts[leading], mine)
        images = {side: len(part.numbers) for side, part in parts.items()}
        metadata = dataclasses.replace(plan.metadata, images=images)
        plans.append(Plan(folder / f"{number:05d}.lmdb", metadata, parts, partners))
    return plans


def _chosen(part: Part, positions: np.ndarray) -> Part:
    names = NameTable.of(part.names[int(position)] for position in positions)
    return Part(part.store, part.numbers[positions], names)
