"""How a very large data set opens: LMDBs of synthetic records, in shards with one index."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import lmdb
import numpy as np

from dcpt_data.stores.lmdb_format import ROW, Entries, Index, Metadata, key_of, write_records
from dcpt_data.stores.lmdb_shards import write_shards
from dcpt_data.stores.lmdb_store import open_lmdb
from dcpt_data.stores.name_table import NameTable

HELP = "opening an LMDB in shards of 100,000 synthetic pairs (--full: a million)"
SIDE = 4  # pixels; the index does not depend on it


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pairs", type=int, help="how many (default: 100,000, or a million)")
    parser.add_argument("--shards", type=int, default=8, help="how many LMDBs (default: 8)")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    pairs = arguments.pairs or (1_000_000 if arguments.full else 100_000)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder, "large.lmdb")
        begun = time.perf_counter()
        names = [_shard(home / f"{n:05d}.lmdb", n, pairs // arguments.shards) for n in range(arguments.shards)]
        records = time.perf_counter() - begun
        begun = time.perf_counter()
        write_shards(home, names)
        joined = time.perf_counter() - begun
        opening = []
        for _ in range(arguments.repeats):
            begun = time.perf_counter()
            contents = open_lmdb(home)
            opening.append(time.perf_counter() - begun)
        sides = contents.sides.values()
        memory = sum(len(side.names.text) + side.names.ends.nbytes + side.rows.nbytes for side in sides)
        memory += 0 if contents.partners is None else contents.partners.nbytes
        count = len(contents.sides["lq"])
        chosen = np.random.default_rng(arguments.seed).integers(count, size=2000)
        begun = time.perf_counter()
        for index in chosen:
            contents.sides["lq"].picture(int(index)).pixels()
        reading = (time.perf_counter() - begun) / len(chosen)
        row = {
            "pairs": f"{count:,}",
            "shards": arguments.shards,
            "to write the records, s": f"{records:.1f}",
            "to join the indices, s": f"{joined:.2f}",
            "index on disk, MB": f"{(home / 'index.npz').stat().st_size / 1e6:.0f}",
            "index in memory, MB": f"{memory / 1e6:.0f}",
            "to open, ms": f"{median(opening) * 1e3:.0f}",
            "a record at random, µs": f"{reading * 1e6:.0f}",
        }
    return {"tables": [{"title": "A large set in shards", "rows": [row]}]}


def _shard(path: Path, number: int, count: int) -> str:
    """An LMDB of pairs with names as long as those of RESIDE; returns its name."""
    path.mkdir(parents=True)
    environment = lmdb.open(str(path), map_size=2**34, lock=False, sync=False)
    names = NameTable.of(f"part{number:02d}/{sample:07d}_0.95_0.16.png" for sample in range(count))
    content = np.zeros((SIDE, SIDE, 3), np.uint8).tobytes()
    rows = np.zeros(count, ROW)
    rows["height"] = rows["width"] = SIDE
    rows["depth"], rows["size"] = 1, len(content)
    entries = Entries(names, rows)
    index = Index({"lq": entries, "gt": entries}, np.arange(count, dtype="<u4"))
    with environment.begin(write=True) as transaction:
        for side in ("gt", "lq"):
            for name in names:
                transaction.put(key_of(name, side, 2), content, append=True)
        write_records(transaction, Metadata("raw", {"lq": count, "gt": count}, "haze", "same"), index)
    environment.close()
    return path.name
