"""The command that measures: it runs, and says what it measured; how fast things are is not tested."""

from __future__ import annotations

import json
from pathlib import Path

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
    assert [row["what"] for row in table["rows"]] == ["ours, fp32", "ours, bf16", "published form"]
    assert all(row["ms"] > 0 for row in table["rows"])
    assert "differ by 0 of 255" in table["notes"][0] or "differ by 1 of 255" in table["notes"][0]
