"""The command that measures: it runs, and says what it measured; how fast things are is not tested."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from commands import Commands


def test_metrics_are_measured_in_turns(commands: Commands, tmp_path: Path) -> None:
    done = commands.run("tools/benchmark.py", "metrics", "--repeats", "1", "--threads", "1", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["tables"] and all(table["rows"] for table in record["tables"])


def test_wrong_usage_names_what_can_be_measured(commands: Commands, tmp_path: Path) -> None:
    done = commands.run("tools/benchmark.py", "speed", cwd=tmp_path)
    assert done.returncode == 2
    assert "metrics" in done.stderr and "Traceback" not in done.stderr


def test_photographs_are_restored_by_both_forms(commands: Commands, tmp_path: Path) -> None:
    small = ("--networks", "NAFNet", "--repeats", "1", "--json")
    done = commands.run("tools/benchmark.py", "restore", *small, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (table,) = json.loads(done.stdout)["tables"]
    labels = ["ours, fp32", "ours, bf16", "published form", "published form, freed memory kept"]
    assert [row["what"] for row in table["rows"]] == labels
    assert all(row["ms"] > 0 for row in table["rows"])
    assert "differ by 0 of 255" in table["notes"][0] or "differ by 1 of 255" in table["notes"][0]


def test_classical_methods_are_tuned_on_other_photographs(commands: Commands, tmp_path: Path) -> None:
    for folder, seed in (("here", 0), ("there", 1)):
        (tmp_path / folder).mkdir()
        pixels = np.random.default_rng(seed).integers(60, 200, (6, 6, 3), np.uint8)
        cv2.imwrite(str(tmp_path / folder / "a.png"), cv2.resize(pixels, (64, 64), interpolation=cv2.INTER_CUBIC))
    which = ("--folder", "here", "--tune", "there", "--degradations", "noise", "inpainting", "low_light")
    done = commands.run("tools/benchmark.py", "peers", *which, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = {row["method"]: row for row in json.loads(done.stdout)["tables"][0]["rows"]}
    for method in ("non-local means (OpenCV)", "Telea (OpenCV)", "gamma"):
        assert rows[method]["PSNR"] > rows[method]["input"] + 1, rows[method]
    assert rows["Telea (OpenCV)"]["knows"] and not rows["gamma"]["knows"]


def test_a_set_in_shards_is_opened(commands: Commands, tmp_path: Path) -> None:
    done = commands.run("tools/benchmark.py", "index", "--pairs", "400", "--repeats", "1", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    ((row,),) = (table["rows"] for table in json.loads(done.stdout)["tables"])
    assert (row["pairs"], row["shards"]) == ("400", 8)


def test_the_classification_pass_of_other_networks(commands: Commands, tmp_path: Path) -> None:
    small = ("--networks", "RRDBNet", "--repeats", "1", "--json")
    done = commands.run("tools/benchmark.py", "backbones", *small, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["tables"][0]["rows"]
    assert row["levels"] == "body.5, body.3, body.1"
    # What is behind the body is a third of the network, and not computed.
    assert 0.3 < row["operations"] < 0.9
