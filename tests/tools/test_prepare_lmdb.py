"""The command tools/prepare_lmdb.py: from folders to LMDBs that train, and what it says and how it ends."""

from __future__ import annotations

import json
import runpy
import shutil
import sys
from pathlib import Path

import lmdb
import pytest
from lmdb_data import section, write_pairs

from dcpt_data import DegradationDataset
from dcpt_data.stores.lmdb_store import open_lmdb, peek_metadata

COMMAND = Path(__file__).parents[2] / "tools" / "prepare_lmdb.py"


@pytest.fixture(scope="module")
def root(crops, tmp_path_factory):
    """A root of data sets with Rain200L, WED and pairs of one's own in it; not to be written to."""
    root = tmp_path_factory.mktemp("datasets")
    write_pairs(root / "own", crops)
    shutil.copytree(root / "own" / "gt", root / "Rain200L" / "train" / "norain")
    shutil.copytree(root / "own" / "lq", root / "Rain200L" / "train" / "rain")
    shutil.copytree(root / "own" / "gt", root / "WED")
    return root


@pytest.fixture
def data(root, tmp_path):
    """A copy to write to."""
    return Path(shutil.copytree(root, tmp_path / "datasets"))


@pytest.fixture
def command(monkeypatch, capsys):
    """Run the command; returns its exit code, standard output and standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", [str(COMMAND), *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(COMMAND), run_name="__main__")
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return run


def test_sources_get_lmdbs_from_which_option_files_train(command, data):
    code, out, err = command("--source", "Rain200L", "WED", "--root", data)
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith(f"{data}/lmdb/Rain200L.lmdb: 6 lq and 6 gt, raw, ")
    assert lines[1].startswith(f"{data}/lmdb/WED.lmdb: 6 gt, raw, ")
    assert lines[2] == "To train from this, say in the data set's section: io_backend: {type: lmdb}"
    assert "12/12" in err  # progress, with what is left
    backend = {"io_backend": {"type": "lmdb"}, "datasets_root": str(data)}
    for source in ("Rain200L", "WED"):
        assert len(DegradationDataset(section(source=source, **backend))) == 6


def test_what_exists_is_not_overwritten(command, data):
    assert command("--source", "WED", "--root", data)[0] == 0
    before = (data / "lmdb" / "WED.lmdb" / "data.mdb").stat()
    code, out, err = command("--source", "Rain200L", "WED", "--root", data)
    assert (code, out) == (1, "")
    assert err == f"error: {data}/lmdb/WED.lmdb exists; remove it first to make it again, or check it with --verify\n"
    assert (data / "lmdb" / "WED.lmdb" / "data.mdb").stat() == before
    assert not (data / "lmdb" / "Rain200L.lmdb").exists()  # nothing was begun


def test_an_option_files_data_sets_are_completed(command, data, tmp_path):
    file = tmp_path / "train.yml"
    file.write_text(
        "name: x\n"
        "model_type: RestorationModel\n"
        "degradations: [rain, noise]\n"
        "network_g: {type: NAFNet}\n"
        f"path: {{datasets_root: {data}}}\n"
        "datasets:\n"
        "  val_a: {type: DegradationDataset, source: Rain200L}\n"
        "  val_b: {type: DegradationDataset, source: WED, io_backend: {type: lmdb}}\n"
        "  val_c: {type: DegradationDataset, source: WED}\n"
        f"  val_d: {{type: DegradationDataset, degradation: rain, dataroot_gt: {data}/own/gt}}\n"
    )
    assert command("--source", "WED", "--root", data)[0] == 0
    code, out, _ = command("-opt", file, "--json")
    assert code == 0
    record = json.loads(out)
    assert list(record["lmdbs"]) == [f"{data}/lmdb/Rain200L.lmdb", f"{data}/lmdb/WED.lmdb"]
    assert [entry["kept"] for entry in record["lmdbs"].values()] == [False, True]
    assert record["lmdbs"][f"{data}/lmdb/Rain200L.lmdb"]["images"] == {"lq": 6, "gt": 6}


def test_folders_of_ones_own(command, data):
    out_file = data / "mine.lmdb"
    arguments = ["--gt", data / "own/gt", "--lq", data / "own/lq", "--degradation", "snow", "--out", out_file]
    code, out, _ = command(*arguments, "--pairing", "{}", "{}", "--form", "png", "--workers", "1")
    assert code == 0
    assert out.splitlines()[-1] == f"To train from this, say in the data set's section: lmdb: {out_file}"
    metadata = peek_metadata(out_file)
    assert (metadata.degradation, metadata.form, metadata.pairing) == ("snow", "png", {"lq": "{}", "gt": "{}"})
    assert DegradationDataset(section(lmdb=str(out_file))).counts() == {"snow": 6}


def test_lmdbs_for_basicsr_too(command, data):
    code, out, _ = command("--source", "Rain200L", "--root", data, "--for-basicsr")
    assert code == 0
    gt, lq = (data / "lmdb" / f"Rain200L_{side}.lmdb" for side in ("gt", "lq"))
    assert f"{{dataroot_gt: {gt}, dataroot_lq: {lq}, io_backend: {{type: lmdb}}}}" in out
    assert peek_metadata(gt).form == "original"
    assert (gt / "meta_info.txt").read_text() == (lq / "meta_info.txt").read_text()


def test_verification_names_bad_images_and_ends_with_1(command, data):
    command("--source", "Rain200L", "WED", "--root", data)
    good, bad = data / "lmdb" / "WED.lmdb", data / "lmdb" / "Rain200L.lmdb"
    code, out, _ = command("--verify", good, "--json")
    assert code == 0
    assert json.loads(out)["lmdbs"] == {str(good): {"images": 6, "bad": []}}
    with lmdb.open(str(bad), map_size=2**26) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"lq/cup", bytes(transaction.get(b"lq/cup"))[1:])
    code, out, err = command("--verify", good, bad)
    assert code == 1
    assert f"{good}: 0 of 6 images are bad" in out and f"{bad}: 1 of 12 images are bad" in out
    assert f"{bad}: record 'lq/cup' is truncated" in out
    assert "error: 1 bad images; copy the LMDB again" in err
    code, out, err = command("--verify", data / "none.lmdb")
    assert code == 1 and "no such LMDB" in err and out == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "one of the arguments"),
        (["--source", "WED", "--lq", "x"], "--lq is for images of your own"),
        (["--source", "WED", "--out", "x.lmdb"], "--out is for images of your own"),
        (["--gt", "x"], "--gt needs --out"),
        (["--gt", "x", "--gt", ""], "argument --gt: must not be empty"),
        (["--source", ""], "argument --source: must not be empty"),
        (["-opt", ""], "argument -opt: must not be empty"),
        (["--gt", "x", "--out", "x.lmdb", "--degradation", "rain", "--pairing", "a", "b", "c"], "two templates"),
        (["--source", "WED", "--workers", "0"], "--workers must be 1 or more"),
        (["--source", "WED", "--form", "jpeg"], "invalid choice"),
    ],
)
def test_wrong_usage_ends_with_2(command, arguments, words):
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    assert words in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--source", "WEB"], "did you mean 'WED'"),
        (["--source", "CBSD68"], "dcpt prepare CBSD68 --from"),
        (["--gt", "x", "--out", "x.db", "--degradation", "rain"], "no such folder"),
        (["--gt", "x", "--out", "x.lmdb", "--degradation", "underwater"], "'underwater' cannot be synthesised"),
    ],
)
def test_what_cannot_be_made_ends_with_1(command, root, arguments, words):
    code, out, err = command(*arguments, "--root", root)
    assert (code, out) == (1, "")
    assert words in err


def test_a_published_lmdb_is_made_from_a_folder_that_can_be_removed(command, data):
    assert command("--source", "Rain200L", "--root", data)[0] == 0
    shutil.rmtree(data / "Rain200L")
    options = {"io_backend": {"type": "lmdb"}, "datasets_root": str(data), "source": "Rain200L"}
    assert DegradationDataset(section("val", **options))[0]["lq"].shape == (3, 72, 96)
    assert open_lmdb(data / "lmdb" / "Rain200L.lmdb").metadata.source == "Rain200L"
