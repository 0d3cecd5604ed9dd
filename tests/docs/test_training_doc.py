"""docs/TRAINING.md has every option of training, and the tests that it names are there."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from dcpt_models.methods.base_model import TrainOptions
from dcpt_models.options.sections import DistOptions, LoggerOptions, PathOptions, path_defaults

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "TRAINING.md").read_text(encoding="utf-8")
TESTS = re.findall(r"`(\w+/test_\w+\.py|test_\w+\.py)::(\w+)`", TEXT)


@pytest.mark.parametrize(
    ("section", "kind"),
    [("train", TrainOptions), ("logger", LoggerOptions), ("path", PathOptions), ("dist_params", DistOptions)],
)
def test_every_option_has_its_row_and_every_row_its_option(section: str, kind: type) -> None:
    table = TEXT.split(f"| `{section}:` |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| (`.*?`) \|", table, re.M)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    of_networks = {"optim_dc"} | (path_defaults().keys() - {field.name for field in fields(PathOptions)})
    assert named - of_networks == {field.name for field in fields(kind)}
    assert section != "path" or of_networks - {"optim_dc"} <= named


def test_the_tests_that_it_names_are_there() -> None:
    assert len(TESTS) > 40
    for file, name in TESTS:
        assert f"def {name}(" in (ROOT / "tests" / file).read_text(encoding="utf-8"), f"{file}::{name}"


def test_it_links_to_pages_that_are_there() -> None:
    for page in re.findall(r"\]\((\w+\.md)\)", TEXT):
        assert (ROOT / "docs" / page).is_file(), page
