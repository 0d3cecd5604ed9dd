"""tools/test.py: several models side by side, its files, values of every image, going on after an interruption."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from basicsr.archs import build_network
from small_runs import METRICS, NETWORK, completed, write

import dcpt_arch  # noqa: F401 - registers networks
from dcpt_arch.checkpoints.loading import CheckpointError
from dcpt_common import sha256
from dcpt_data import DataError
from dcpt_data.degradations import check_parameters
from dcpt_data.images.pixels import read_image, write_image
from dcpt_data.sources.published import get_source
from dcpt_models.errors import OptionError
from dcpt_models.evaluation.published import AVERAGE, read_published
from dcpt_models.evaluation.testing import identity, source_version
from dcpt_models.methods.base_model import DegradationModel
from dcpt_models.options.files import read_options
from dcpt_tools.training import test as tool

ROOT = Path(__file__).resolve().parents[2]
TESTS = sorted((ROOT / "options").glob("test_*.yml"))
SETS = {"SOTS": "haze", "BSD68": "noise"}
Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two checkpoints of the small network, to be read only."""
    folder = tmp_path_factory.mktemp("weights")
    files = []
    for seed in range(2):
        torch.manual_seed(seed)
        files.append(folder / f"net{seed}.pth")
        torch.save({"params": build_network(dict(NETWORK)).state_dict()}, files[-1])
    return files


@pytest.fixture
def options(photographs: Path, weights: list[Path], tmp_path: Path) -> dict[str, Any]:
    """A test of two sets of two images each; the photographs are its own, in tmp_path/photographs."""
    folder = tmp_path / "photographs"
    shutil.copytree(photographs, folder)
    section = {"type": "DegradationDataset", "dataroot_gt": str(folder)}
    return {
        "name": "small",
        "model_type": "RestorationModel",
        "num_gpu": 0,
        "network_g": dict(NETWORK),
        "datasets": {f"val_{kind}": {**section, "name": name, "degradation": kind} for name, kind in SETS.items()},
        "val": {"metrics": deepcopy(METRICS)},
        "table": {"published": "5d", "row": "NAFNet"},
        "path": {"pretrain_network_g": str(weights[0]), "results_root": str(tmp_path / "results")},
    }


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """What a command line of `dcpt test` prints with --json, run in this process."""

    def call(*line: Any) -> dict[str, Any]:
        monkeypatch.setattr(sys, "argv", ["tools/test.py", "--json", *map(str, line)])
        tool.work()
        return json.loads(capsys.readouterr().out)

    return call


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the images that networks were run on."""
    names: list[str] = []
    plain = DegradationModel.feed_data

    def feed_data(self: DegradationModel, data: dict[str, Any]) -> None:
        names.append(data["name"][0])
        plain(self, data)

    monkeypatch.setattr(DegradationModel, "feed_data", feed_data)
    return names


def rows(file: str | Path) -> list[dict[str, str]]:
    with Path(file).open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


# --- what comes out ---------------------------------------------------------------------------------------------------


def test_models_are_side_by_side_in_every_format(
    options: dict[str, Any], weights: list[Path], run: Run, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    chart = tmp_path / "charts" / "chart.svg"
    record = run("-opt", write(options, tmp_path), "--weights", *weights, "--chart", chart)
    assert [one["name"] for one in record["evaluations"]] == ["small: net0", "small: net1"]
    first, second = (one["results"] for one in record["evaluations"])
    assert list(first) == ["SOTS", "BSD68", AVERAGE]
    assert first["SOTS"]["psnr"] != second["SOTS"]["psnr"]
    assert first[AVERAGE]["psnr"] == pytest.approx((first["SOTS"]["psnr"] + first["BSD68"]["psnr"]) / 2)

    files = {kind: Path(file) for kind, file in record["files"].items()}
    assert {file.parent for file in files.values()} == {tmp_path / "results"}
    assert json.loads(files["json"].read_text()) == record
    markdown = files["markdown"].read_text()
    for one in record["evaluations"]:
        assert f"| {one['name']} (NAFNet) | {one['results']['SOTS']['psnr']:.2f} (25.23) " in markdown
        assert f"* sha256: {one['protocol']['sha256']}" in markdown
    assert markdown.count("rounded to 8 bit") == 1  # what both have in common
    assert r"small: net1 (NAFNet) & " in files["latex"].read_text()
    table = {(row["method"], row["set"], row["metric"]): row for row in rows(files["csv"])}
    assert float(table["small: net1", "BSD68", "ssim"]["value"]) == second["BSD68"]["ssim"]
    assert table["small: net0", "SOTS", "psnr"]["published_value"] == "25.23"
    assert record["charts"] == [str(chart)]
    drawing = chart.read_text()
    assert drawing.startswith("<?xml")
    assert "small: net1" in drawing or "<path" in drawing


def test_values_of_every_image_are_kept_and_average_to_the_table(
    options: dict[str, Any], run: Run, tmp_path: Path
) -> None:
    options["val"]["measure_input"] = True
    (one,) = run("-opt", write(options, tmp_path))["evaluations"]
    found = rows(one["per_image"])
    names = sorted(file.stem for file in (tmp_path / "photographs").iterdir())
    assert [(row["set"], row["image"]) for row in found] == [(name, image) for name in SETS for image in names]
    assert {row["degradation"] for row in found} == set(SETS.values())
    for name in SETS:
        for metric in ("psnr", "ssim", "input_psnr", "input_ssim"):
            each = [float(row[metric]) for row in found if row["set"] == name]
            assert sum(each) / len(each) == pytest.approx(one["results"][name][metric], abs=1e-12)
    assert one["images"] == dict.fromkeys(SETS, 2)


def test_two_tests_of_different_sets_give_two_tables_and_two_charts(
    options: dict[str, Any], run: Run, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    other = {**deepcopy(options), "name": "other"}
    del other["datasets"]["val_haze"], other["table"]
    other["path"]["results_root"] = str(tmp_path / "other")
    files = [write(options, tmp_path, "a.yml"), write(other, tmp_path, "b.yml")]
    record = run("-opt", *files, "--out", tmp_path / "both", "--chart", tmp_path / "chart.png")
    text = (tmp_path / "both" / "table.md").read_text()
    assert text.count("| PSNR (dB)") == 2
    assert [one["paper"] and one["paper"]["row"] for one in record["evaluations"]] == ["NAFNet", None]
    assert record["charts"] == [str(tmp_path / "chart.png"), str(tmp_path / "chart-2.png")]
    assert all(Path(file).read_bytes()[:4] == b"\x89PNG" for file in record["charts"])
    assert {Path(one["per_image"]).parent.name for one in record["evaluations"]} == {"results", "other"}


def test_the_protocol_says_what_a_reader_needs(options: dict[str, Any], weights: list[Path], run: Run, tmp_path: Path):
    options["val"]["rounded"] = False
    options["val"]["metrics"]["ssim"].update(test_y_channel=True, crop_border=4)
    (one,) = run("-opt", write(options, tmp_path))["evaluations"]
    protocol = one["protocol"]
    assert protocol["colour"] == "psnr on RGB, ssim on Y"
    assert protocol["range"] == "floats, not rounded"
    assert protocol["border"] == "0, 4 pixels cropped"
    assert protocol["sha256"] == sha256(weights[0])
    assert len(protocol["sha256"]) == 64
    assert str(weights[0]) in protocol["weights"]
    assert protocol["code"] == source_version()
    assert "seed 0 for every image" in protocol["seeds"]


def test_what_is_not_the_published_set_is_said(options: dict[str, Any], run: Run, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "photographs", tmp_path / "sets" / "CBSD68")
    options["datasets"]["val_noise"] = {
        **{"name": "BSD68", "type": "DegradationDataset", "source": "CBSD68"},
        **{"datasets_root": str(tmp_path / "sets"), "parameters": {"sigma": 25}},
    }
    record = run("-opt", write(options, tmp_path))
    (one,) = record["evaluations"]
    assert (one["own"], one["incomplete"], one["stand_ins"]) == (["SOTS"], ["BSD68 has 2 of 68"], [])
    text = Path(record["files"]["markdown"]).read_text()
    assert "**not comparable with any paper**: images are missing: BSD68 has 2 of 68" in text
    assert "**compare with care**: SOTS are read from folders of your own" in text


# --- going on ---------------------------------------------------------------------------------------------------------


def test_an_interrupted_evaluation_goes_on_where_it_was(
    options: dict[str, Any], run: Run, restored: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(options, tmp_path)
    whole = run("-opt", file)["evaluations"][0]["results"]
    assert len(restored) == 4
    shutil.rmtree(tmp_path / "results")
    restored.clear()

    plain = DegradationModel.predict

    def interrupted(self: DegradationModel, image: bool) -> Any:
        if len(restored) == 3:
            raise KeyboardInterrupt
        return plain(self, image)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(DegradationModel, "predict", interrupted)
        run("-opt", file)
    journal = tmp_path / "results" / "measured" / "0.jsonl"
    assert len(journal.read_text().splitlines()) == 2
    with journal.open("a") as opened:  # as if the process had been killed while it wrote
        opened.write('{"key": "')
    restored.clear()
    assert run("-opt", file)["evaluations"][0]["results"] == whole
    assert len(restored) == 2
    restored.clear()
    assert run("-opt", file)["evaluations"][0]["results"] == whole
    assert restored == []
    run("-opt", file, "--again")
    assert len(restored) == 4


def test_only_what_is_unchanged_is_used_again(
    options: dict[str, Any], run: Run, restored: list[str], weights: list[Path], tmp_path: Path
) -> None:
    own = tmp_path / "own.pth"
    shutil.copy(weights[0], own)
    options["path"]["pretrain_network_g"] = str(own)
    run("-opt", write(options, tmp_path))
    restored.clear()

    photograph = sorted((tmp_path / "photographs").iterdir())[0]
    pixels = read_image(photograph)
    pixels[0, 0, 0] ^= 1
    write_image(photograph, pixels)
    run("-opt", write(options, tmp_path))
    assert restored == [photograph.stem] * 2  # in both sets
    restored.clear()

    shutil.copy(weights[1], own)

    changed = run("-opt", write(options, tmp_path))["evaluations"][0]
    assert len(restored) == 4
    assert changed["protocol"]["sha256"] == sha256(weights[1])
    restored.clear()

    options["val"]["rounded"] = False
    run("-opt", write(options, tmp_path))
    assert len(restored) == 4


def test_what_values_depend_on_is_in_the_identity(options: dict[str, Any], tmp_path: Path) -> None:
    def of(*force: str) -> str:
        flags = ["--force_yml", *force] if force else []
        return identity(completed(write(options, tmp_path), *flags, is_train=False))

    assert of() == of("name=x", f"path:results_root={tmp_path}/y", "val:save_img=true")
    changes = ["val:measure_input=true", "val:metrics:psnr:test_y_channel=true", "path:param_key_g=params"]
    assert len({of(), *map(of, changes), of("degradations=[haze, noise]"), of("network_g:dec_blk_nums=[1, 2]")}) == 6


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_pictures_of_two_sets_do_not_overwrite_each_other(
    options: dict[str, Any], run: Run, restored: list[str], weights: list[Path], tmp_path: Path
) -> None:
    line = ["-opt", write(options, tmp_path), "--weights", *weights]
    run(*line)
    restored.clear()
    run(*line, "--force_yml", "val:save_img=true")
    assert len(restored) == 8  # known, but not drawn yet
    pictures = sorted((tmp_path / "results").glob("*/visualization/*/*.png"))
    assert len(pictures) == 8
    assert len({file.read_bytes() for file in pictures}) == 8
    restored.clear()
    pictures[0].unlink()
    run(*line, "--force_yml", "val:save_img=true")
    assert restored == [pictures[0].stem.removesuffix("_test")]
    assert pictures[0].exists()


def test_several_degraded_images_of_one_ground_truth_are_kept_apart(
    options: dict[str, Any], run: Run, tmp_path: Path
) -> None:
    clear, hazy = tmp_path / "clear", tmp_path / "hazy"
    clear.mkdir()
    hazy.mkdir()
    source = sorted((tmp_path / "photographs").iterdir())[0]
    shutil.copy(source, clear / "a.png")
    for name, factor in (("a_1", 0.5), ("a_2", 0.8)):
        write_image(hazy / f"{name}.png", (read_image(source) * factor).astype("uint8"))
    section = {"name": "SOTS", "type": "DegradationDataset", "degradation": "haze", "pairing": "prefix"}
    options["datasets"] = {"val": {**section, "dataroot_gt": str(clear), "dataroot_lq": str(hazy)}}
    (one,) = run("-opt", write(options, tmp_path), "--force_yml", "val:save_img=true")["evaluations"]
    assert [row["image"] for row in rows(one["per_image"])] == ["a_1", "a_2"]
    pictures = sorted(file.name for file in (tmp_path / "results" / "visualization" / "SOTS").iterdir())
    assert pictures == ["a_1_test.png", "a_2_test.png"]


# --- mistakes ---------------------------------------------------------------------------------------------------------


def test_mistakes_are_found_before_anything_is_evaluated(
    options: dict[str, Any], run: Run, restored: list[str], weights: list[Path], tmp_path: Path
) -> None:
    file = write(options, tmp_path)
    with pytest.raises(CheckpointError, match=r"nowhere\.pth: no such checkpoint file"):
        run("-opt", file, "--weights", weights[0], tmp_path / "nowhere.pth")
    with pytest.raises(OptionError, match="two tests would share small; give them different names"):
        run("-opt", file, file)
    renamed = write({**options, "name": "renamed"}, tmp_path, "renamed.yml")
    with pytest.raises(OptionError, match=f"two tests would share {tmp_path}/results; give them different names"):
        run("-opt", file, renamed)
    with pytest.raises(OptionError, match=r"must end with \.png or \.svg"):
        run("-opt", file, "--chart", "chart.pdf")
    bad = {**options, "table": {"published": "5d", "row": "NAFnet"}}
    with pytest.raises(OptionError, match="did you mean 'NAFNet'"):
        run("-opt", file, write(bad, tmp_path, "bad.yml"))
    bad = {**options, "datasets": {"val": {"name": "x", "type": "DegradationDataset", "source": "CBSD68"}}}
    with pytest.raises(DataError, match="CBSD68"):
        run("-opt", file, write(bad, tmp_path, "bad.yml"), "--force_yml", f"path:datasets_root={tmp_path}/none")
    assert restored == []
    assert not (tmp_path / "results").exists()


def test_a_chart_without_matplotlib_says_what_to_install(
    options: dict[str, Any], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "matplotlib" else plain(name, *a))
    with pytest.raises(OptionError, match=r'pip install -e "\.\[plots\]"'):
        run("-opt", write(options, tmp_path), "--chart", tmp_path / "chart.png")


@pytest.mark.parametrize(
    ("files", "labels"),
    [
        (["a.pth", "b.pth"], ["a", "b"]),
        (
            ["x/models/net_g_latest.pth", "y/models/net_g_latest.pth"],
            ["x/models/net_g_latest", "y/models/net_g_latest"],
        ),
        (["v1.0.pth"], ["v1.0"]),
    ],
)
def test_checkpoints_are_called_by_what_tells_them_apart(files: list[str], labels: list[str]) -> None:
    paths = [Path(file) for file in files]
    assert [tool.distinct(path, paths) for path in paths] == labels


# --- as a user --------------------------------------------------------------------------------------------------------


def test_two_processes_give_what_one_gives(options: dict[str, Any], run: Run, tmp_path: Path) -> None:
    file = write(options, tmp_path)
    (alone,) = run("-opt", file)["evaluations"]
    line = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"]
    line += [str(ROOT / "tools" / "test.py"), "-opt", str(file), "--launcher", "pytorch", "--json"]
    line += ["--force_yml", f"path:results_root={tmp_path}/shared"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    (both,) = json.loads(done.stdout)["evaluations"]
    assert both["results"] == alone["results"]
    assert Path(both["per_image"]).read_text() == Path(alone["per_image"]).read_text()
    shares = [(tmp_path / "shared" / "measured" / f"{rank}.jsonl").read_text().splitlines() for rank in range(2)]
    assert [len(share) for share in shares] == [2, 2]


# --- shipped option files ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_shipped_tests_measure_what_their_table_has(file: Path) -> None:
    values = read_options(file).values
    published = read_published(values["table"]["published"])
    published.row(values["table"]["row"])
    sets = [section["name"] for section in values["datasets"].values()]
    columns = [name for name in published.columns if name != AVERAGE]
    assert set(sets) <= set(columns)
    assert sets == columns or values["table"]["published"] == "transfer"
    for section in values["datasets"].values():
        assert get_source(section["source"]).part == "test"
        check_parameters(section.get("degradation", "noise"), section.get("parameters", {}))
    assert values["name"] == file.stem
    assert list(values["val"]["metrics"]) == ["psnr", "ssim"]
