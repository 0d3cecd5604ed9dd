"""What every package uses: ranges of numbers, and JSON that is JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dcpt_common import Range, to_json

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
