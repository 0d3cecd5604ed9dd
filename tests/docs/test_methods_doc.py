"""docs/METHODS.md describes every method, and each of its option files is one."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from basicsr.utils.registry import MODEL_REGISTRY

import dcpt_arch  # noqa: F401 - registers networks
import dcpt_data  # noqa: F401 - registers data sets
from dcpt_models.methods.base_model import DegradationModel
from dcpt_models.options.files import read_options
from dcpt_models.options.schema import check_options

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "METHODS.md").read_text(encoding="utf-8")
SECTIONS = {name: section for section in TEXT.split("\n## ")[1:] for name in re.findall(r"^.*: `(\w+)`", section)}


def test_every_registered_method_has_a_section() -> None:
    ours = {name for name, kind in MODEL_REGISTRY if issubclass(kind, DegradationModel)}
    assert set(SECTIONS) == ours
    assert set(re.findall(r"^\| `(\w+)` \|", TEXT, re.M)) == ours


@pytest.mark.parametrize("method", SECTIONS)
def test_its_option_file_is_one(method: str, tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", SECTIONS[method], re.S)
    shutil.copytree(ROOT / "options", tmp_path / "options")
    file = tmp_path / "options" / "described.yml"
    file.write_text(text, encoding="utf-8")
    options = read_options(file)
    check_options(options, is_train=True)
    assert options.values["model_type"] == method


@pytest.mark.parametrize("method", SECTIONS)
def test_the_options_of_its_own_are_described(method: str) -> None:
    own = set(vars(MODEL_REGISTRY.get(method).TrainOptions)["__annotations__"])
    assert [name for name in own if name not in TEXT] == []
