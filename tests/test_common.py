"""What every package uses: ranges, JSON, tables, progress bars, and files written completely or not at all."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from dcpt_common import Range, markdown, to_json, with_nan, write_atomically
from dcpt_common.progress import ProgressBar

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    ("values", "value", "refusal"),
    [
        (Range(least=1), 1, None),
        (Range(least=1), 0, "must be 1 or more, not 0"),
        (Range(above=0), 0, "must be above 0, not 0"),
        (Range(least=0, below=1), 1.0, "must be below 1, not 1.0"),
        (Range(most=5), 6, "must be 5 or less, not 6"),
        (Range(), float("nan"), "must be a finite number, not nan"),
        (Range(least=0), float("inf"), "must be a finite number, not inf"),
        (Range(least=1), True, None),  # types are the business of the check of types
        (Range(least=1), "0", None),
    ],
)
def test_a_range_says_what_would_be_right(values: Range, value: object, refusal: str | None) -> None:
    assert values.refusal(value) == refusal


def test_json_has_null_for_what_it_has_not() -> None:
    record = {"psnr": float("nan"), "all": [1, float("inf"), (float("-inf"), 0.5)], "name": "NaN", "ok": True}
    assert json.loads(to_json(record), parse_constant=pytest.fail) == {
        "psnr": None,
        "all": [1, None, [None, 0.5]],
        "name": "NaN",
        "ok": True,
    }


@pytest.mark.parametrize("tool", sorted((ROOT / "tools").rglob("*.py")), ids=lambda path: path.name)
def test_every_tool_prints_json_by_the_same_function(tool: Path) -> None:
    assert "print(json.dumps(" not in tool.read_text(encoding="utf-8"), "print(to_json(...)) has null for NaN"


def test_a_table_is_padded_to_be_read_as_text() -> None:
    rows = [["method", "PSNR"], ["ours", "29.97"]]
    assert markdown.table(rows).split("\n") == ["| method | PSNR  |", "|--------|-------|", "| ours   | 29.97 |"]
    assert markdown.table(rows, padded=False).split("\n") == ["| method | PSNR |", "|---|---|", "| ours | 29.97 |"]
    with pytest.raises(ValueError, match="rows of"):
        markdown.table([["method", "PSNR"], ["ours"]])


def test_a_bar_shows_what_is_done_of_each_task() -> None:
    out = io.StringIO()
    with ProgressBar(file=out, unit="image", mininterval=0) as bar:
        bar.report(40, 100, "first")
        assert (bar.n, bar.initial) == (40, 40)  # done by an earlier run: no part of the speed
        bar.report(41, 100)
        assert (bar.n, bar.initial, bar.total) == (41, 40, 100)
        bar.report(1, 7, "second")
        assert (bar.n, bar.total) == (1, 7)
    assert "first:  41%" in out.getvalue()
    assert "second:  14%" in out.getvalue()


def test_a_file_that_is_not_completely_written_leaves_the_one_before(tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    with write_atomically(file) as unfinished:
        unfinished.write_text("first")
        assert not file.exists()
    with pytest.raises(KeyboardInterrupt), write_atomically(file) as unfinished:
        unfinished.write_text("sec")
        raise KeyboardInterrupt
    assert file.read_text() == "first"
    assert list(tmp_path.iterdir()) == [file]


def test_what_is_imported_everywhere_needs_the_standard_library_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys, dcpt_common; print(*sorted(sys.modules))"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert {"torch", "numpy", "tqdm"}.isdisjoint(done.stdout.split())


def test_figures_that_are_not_finite_are_nan_when_they_are_read_again() -> None:
    record = {"set": {"psnr": float("inf"), "ssim": 0.5, "count": 3}, "other": {"psnr": float("nan")}}
    read = with_nan(json.loads(to_json(record), parse_constant=pytest.fail))
    assert math.isnan(read["set"].pop("psnr")) and math.isnan(read["other"]["psnr"])
    assert read["set"] == {"ssim": 0.5, "count": 3}
