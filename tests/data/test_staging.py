"""Staging: LMDBs are copied to a local disk once, checked, and gone on with when interrupted."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from commands import Commands
from lmdb_data import make, plan, section, write_pairs
from small_runs import launch, restoration_options, weights, write

from dcpt_data import DataError, DegradationDataset
from dcpt_data.preparation.lmdb_sharding import create_shards
from dcpt_data.stores import staging
from dcpt_data.stores.staging import stage

FORKED = multiprocessing.get_context("fork")


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "CHUNK", 2**12)
    monkeypatch.setattr(staging, "_staged", {})


@pytest.fixture
def original(crops: dict[str, np.ndarray], tmp_path: Path) -> Path:
    """An LMDB of six pairs."""
    return make(write_pairs(tmp_path, crops), tmp_path / "set.lmdb")


def upload(folder: Path, url: str) -> str:
    """Put a folder into fsspec's memory."""
    system, root = fsspec.core.url_to_fs(url)
    for file in folder.rglob("*"):
        if file.is_file():
            system.pipe_file(f"{root}/{file.relative_to(folder)}", file.read_bytes())
    return url


def same(one: Path, other: Path) -> bool:
    names = sorted(str(file.relative_to(one)) for file in one.rglob("*") if file.is_file() and file.name != "lock.mdb")
    assert names == sorted(str(file.relative_to(other)) for file in other.rglob("*") if file.is_file())
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


@pytest.mark.parametrize("kind", ["path", "file", "memory"])
@pytest.mark.parametrize("sharded", [False, True])
def test_a_copy_is_made_once_from_a_folder_or_a_store(
    kind: str, sharded: bool, original: Path, crops: dict[str, np.ndarray], tmp_path: Path
) -> None:
    source = original
    if sharded:
        source = tmp_path / "parts.lmdb"
        create_shards(plan(write_pairs(tmp_path, crops), source), 2, workers=1)
    url = {"path": str(source), "file": f"file://{source}"}.get(kind) or upload(
        source, f"memory://{tmp_path.name}/s.lmdb"
    )
    copy = stage(url, tmp_path / "disk")
    assert same(source, copy)
    assert copy.parent == tmp_path / "disk"
    inode = next(copy.rglob("data.mdb")).stat().st_ino
    staging._staged.clear()  # another process
    assert stage(url, tmp_path / "disk") == copy
    assert next(copy.rglob("data.mdb")).stat().st_ino == inode
    assert [entry.name for entry in (tmp_path / "disk").iterdir() if not entry.name.startswith(".")] == [copy.name]


def test_training_reads_the_copy(photographs: Path, tmp_path: Path, crops: dict[str, np.ndarray]) -> None:
    source = make(write_pairs(tmp_path, crops), tmp_path / "set.lmdb")
    url = upload(source, f"memory://{tmp_path.name}/set.lmdb")
    for name, lmdb, backend in (
        ("here", str(source), {"type": "lmdb"}),
        ("staged", url, {"type": "lmdb", "stage_to": "$STAGE"}),
    ):
        options = restoration_options(photographs, tmp_path / name)
        options["train"]["total_iter"] = 1
        train = {"type": "DegradationDataset", "lmdb": lmdb, "io_backend": backend, "gt_size": 32}
        options["datasets"] = {"train": {**train, "batch_size": 2}}
        os.environ["STAGE"] = str(tmp_path / "disk")
        launch(write(options, tmp_path, f"{name}.yml"))
    del os.environ["STAGE"]
    one, other = (weights(tmp_path / name)["params"] for name in ("here", "staged"))
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert len(list((tmp_path / "disk").glob("set-*.lmdb"))) == 1


def test_an_interrupted_copy_is_gone_on_with(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    part = staging._part

    def counted(file: Any, position: int, source: str, count: int) -> bytes:
        read.append(position)
        if len(read) == 5:
            raise KeyboardInterrupt
        return part(file, position, source, count)

    monkeypatch.setattr(staging, "_part", counted)
    with pytest.raises(KeyboardInterrupt):
        stage(original, tmp_path / "disk")
    assert not list((tmp_path / "disk").glob("set-*"))
    copy = stage(original, tmp_path / "disk")
    assert read[4] == read[5] == 4 * 2**12  # what is there is not read again
    assert same(original, copy)


def test_a_part_that_the_disk_has_lost_is_copied_again(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_file = staging._copy

    def damaging(system: Any, source: str, size: int, target: Path) -> None:
        copy_file(system, source, size, target)
        data = bytearray(target.read_bytes())
        data[5000] ^= 1
        target.write_bytes(data)

    monkeypatch.setattr(staging, "_copy", damaging)
    assert same(original, stage(original, tmp_path / "disk"))


def test_an_original_that_has_changed_is_copied_anew(original: Path, tmp_path: Path) -> None:
    first = stage(original, tmp_path / "disk")
    os.utime(original / "data.mdb", (1, 1))
    staging._staged.clear()
    assert stage(original, tmp_path / "disk") != first
    assert first.is_dir()  # another run may be reading it


def _count(original: Path, disk: Path, log: Path) -> None:
    copy_all = staging._copy_all

    def slowly(*arguments: Any) -> None:
        with log.open("a") as file:
            file.write("copied\n")
        time.sleep(0.3)
        copy_all(*arguments)

    staging._copy_all = slowly
    stage(original, disk)


def test_processes_of_a_node_share_one_copy(original: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    processes = [FORKED.Process(target=_count, args=(original, tmp_path / "disk", log)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert log.read_text() == "copied\n"


def test_a_killed_process_leaves_no_lock(original: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = FORKED.Process(target=_count, args=(original, tmp_path / "disk", log))
    process.start()
    while not log.exists():
        time.sleep(0.01)
    process.kill()
    process.join()
    assert same(original, stage(original, tmp_path / "disk"))


@pytest.mark.parametrize(
    ("place", "folder", "said"),
    [
        ("nowhere.lmdb", "disk", "no such LMDB"),
        ("memory://nowhere/x.lmdb", "disk", "no such LMDB"),
        ("nosuch://bucket/x.lmdb", "disk", "fsspec cannot read such places"),
        ("set.lmdb", "$NOT_SET/disk", "a variable in it is not set"),
        ("set.lmdb", "gt/face.png", "cannot be staged"),
    ],
)
def test_what_cannot_be_staged_is_named(
    place: str, folder: str, said: str, original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=said):
        stage(place, folder)


def test_a_disk_without_room_is_named_before_anything_is_copied(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10}))
    with pytest.raises(DataError, match=r"0\.00 GB are free; make room"):
        stage(original, tmp_path / "disk")


def test_a_url_needs_a_place_to_be_staged_to() -> None:
    with pytest.raises(DataError, match=r"io_backend: \{type: lmdb, stage_to: DIR\}"):
        DegradationDataset(section(lmdb="s3://bucket/x.lmdb", degradation="haze"))


def test_sources_below_a_url(original: Path, tmp_path: Path) -> None:
    upload(original, f"memory://{tmp_path.name}/data/lmdb/Rain100L-train.lmdb")
    data = DegradationDataset(
        section(
            source="Rain100L-train",
            datasets_root=f"memory://{tmp_path.name}/data",
            io_backend={"type": "lmdb", "stage_to": str(tmp_path / "disk")},
        )
    )
    assert len(data) == 6


def test_the_command_stages_before_a_run(original: Path, commands: Commands, tmp_path: Path) -> None:
    done = commands.run("tools/prepare_lmdb.py", "--stage", "set.lmdb", "--to", "disk", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert same(original, Path(tmp_path, done.stdout.strip()))
    done = commands.run("tools/prepare_lmdb.py", "--stage", "set.lmdb", cwd=tmp_path)
    assert done.returncode == 2
    assert "--stage and --to belong together" in done.stderr
