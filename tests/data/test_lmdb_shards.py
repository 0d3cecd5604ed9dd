"""Data sets of several LMDBs: read as one, made in parallel, gone on with when interrupted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import Commands
from lmdb_data import make, plan, section, write_pairs

from dcpt_data import DataError, DegradationDataset
from dcpt_data.datasets.options import SetOptions
from dcpt_data.preparation import lmdb_sharding
from dcpt_data.preparation.lmdb_sharding import create_shards, split_plan
from dcpt_data.preparation.lmdb_verification import verify_lmdb
from dcpt_data.stores.lmdb_store import open_lmdb, peek_metadata


@pytest.fixture
def options(crops: dict[str, np.ndarray], tmp_path: Path) -> SetOptions:
    """Seven pairs, two of which share their ground truth."""
    made = write_pairs(tmp_path, crops)
    shutil.copy(tmp_path / "lq" / "face.png", tmp_path / "lq" / "face_2.png")
    for name in crops:
        (tmp_path / "lq" / f"{name}.png").rename(tmp_path / "lq" / f"{name}_1.png")
    made.pairing = "prefix"
    return made


def samples(lmdb: Path, phase: str = "train") -> list[dict]:
    data = DegradationDataset(section(phase, lmdb=str(lmdb)))
    return [data[3, index] for index in range(len(data))]


@pytest.mark.parametrize("shards", [1, 3, 7])
def test_shards_are_read_as_one_lmdb(shards: int, options: SetOptions, tmp_path: Path) -> None:
    whole = make(options, tmp_path / "whole.lmdb")
    create_shards(plan(options, tmp_path / "parts.lmdb"), shards, workers=2)
    assert len(list((tmp_path / "parts.lmdb").glob("*.lmdb"))) == shards
    pairs = zip(samples(whole), samples(tmp_path / "parts.lmdb"), strict=True)
    for one, other in pairs:
        assert one["name"] == other["name"]
        assert all(torch.equal(one[side], other[side]) for side in ("lq", "gt"))
    assert peek_metadata(tmp_path / "parts.lmdb").images["lq"] == 7
    assert verify_lmdb(tmp_path / "parts.lmdb", workers=1)[1] == []


def test_one_side_alone_is_split_too(crop_folder: Path, tmp_path: Path) -> None:
    own = SetOptions(degradation="noise", dataroot_gt=str(crop_folder))
    create_shards(plan(own, tmp_path / "x.lmdb"), 4, workers=1)
    assert list(open_lmdb(tmp_path / "x.lmdb").side("gt").names) == sorted(path.name for path in crop_folder.iterdir())


def test_what_is_made_is_kept_and_other_sets_are_refused(
    options: SetOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = plan(options, tmp_path / "x.lmdb")
    made: list[str] = []
    create = lmdb_sharding.create_lmdb

    def one_then_killed(shard, **arguments):
        if made:
            raise KeyboardInterrupt
        made.append(shard.out.name)
        create(shard, **arguments)

    monkeypatch.setattr(lmdb_sharding, "create_lmdb", one_then_killed)
    monkeypatch.setattr(lmdb_sharding, "each", lambda function, shared, items, chunk, workers: _here(function, items))
    with pytest.raises(KeyboardInterrupt):
        create_shards(wanted, 3)
    with pytest.raises(DataError, match="another set of images, or of shards, was begun there"):
        create_shards(wanted, 2)
    assert not wanted.out.exists()
    begun = (tmp_path / ".x.lmdb.partial" / "00000.lmdb" / "data.mdb").stat()
    monkeypatch.setattr(lmdb_sharding, "create_lmdb", create)
    create_shards(wanted, 3)
    assert (wanted.out / "00000.lmdb" / "data.mdb").stat().st_ino == begun.st_ino
    assert len(samples(wanted.out)) == 7
    with pytest.raises(DataError, match="exists"):
        create_shards(wanted, 3)


class _here:  # noqa: N801 - stands for the function `each`
    def __init__(self, function, items) -> None:
        self.results = map(function, items)

    def __enter__(self):
        return self.results

    def __exit__(self, *error: object) -> None:
        pass


def test_damage_is_named(options: SetOptions, tmp_path: Path) -> None:
    create_shards(plan(options, tmp_path / "x.lmdb"), 2, workers=1)
    whole = tmp_path / "x.lmdb"
    broken = shutil.copytree(whole, tmp_path / "a.lmdb")
    (broken / "index.npz").unlink()
    with pytest.raises(DataError, match=r"index.npz cannot be read .* copy the whole folder again"):
        open_lmdb(broken)
    broken = shutil.copytree(whole, tmp_path / "b.lmdb")
    shutil.rmtree(broken / "00001.lmdb")
    with pytest.raises(DataError, match=r"00001\.lmdb"):
        open_lmdb(broken)
    broken = shutil.copytree(whole, tmp_path / "c.lmdb")
    record = json.loads((broken / "shards.json").read_text())
    (broken / "shards.json").write_text(json.dumps({**record, "ends": {"gt": [3, 5], "lq": [3, 6]}}))
    with pytest.raises(DataError, match="are of two sets"):
        open_lmdb(broken)


def test_too_many_shards_are_refused(options: SetOptions, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="7 samples make 1 to 7 shards, not 8"):
        split_plan(plan(options, tmp_path / "x.lmdb"), 8, tmp_path)


def test_the_command_makes_shards(crop_folder: Path, commands: Commands, tmp_path: Path) -> None:
    line = ("--gt", crop_folder, "--degradation", "noise", "--out", "x.lmdb", "--shards", "2", "--workers", "1")
    done = commands.run("tools/prepare_lmdb.py", *line, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "x.lmdb: 6 gt, raw" in done.stdout
    assert len(samples(tmp_path / "x.lmdb")) == 6
