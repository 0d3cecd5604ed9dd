"""What images are called: nothing is written outside of a folder, and bytes that are no UTF-8 end no command."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from dcpt_models.errors import RunError
from dcpt_models.evaluation.per_image import write_csv
from dcpt_models.runtime.command import run_command
from dcpt_models.validation.validate import Observation, _picture, _save


def place(folder: Path, name: str, image: str) -> Path:
    return _picture(SimpleNamespace(opt={"path": {"visualization": str(folder)}}), name, {"name": [image]}, 7)


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("set", "../../../../evil"),
        ("set", "/tmp/evil"),
        ("set", "a/../../../evil"),
        ("../../esc", "a"),
        ("set", "a\0b"),
        ("..", "../evil"),
    ],
)
def test_nothing_is_written_elsewhere(name, image, tmp_path):
    with pytest.raises(RunError, match="would lie outside of"):
        place(tmp_path / "run" / "visualization", name, image)


@pytest.mark.parametrize("image", ["a", "street/0001..", "caf\udce9", "ü"])
def test_every_other_name_is_written(image, tmp_path):
    file = place(tmp_path, "set", image)
    assert file == tmp_path / "set" / f"{image}_7.png"
    _save(torch.rand(1, 3, 4, 5), file)
    assert file.read_bytes().startswith(b"\x89PNG")


def test_names_that_are_not_utf_8_are_in_the_table_of_images(tmp_path):
    write_csv(tmp_path / "per_image.csv", {"set": [Observation("caf\udce9", "rain", {"psnr": 30.0})]})
    with (tmp_path / "per_image.csv").open(encoding="utf-8", newline="") as file:
        assert [row["image"] for row in csv.DictReader(file)] == ["caf\\udce9"]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_names_that_a_terminal_cannot_show_end_no_command(encoding, monkeypatch):
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    assert run_command(lambda: print("caf\udce9 ü")) == 0
    sys.stdout.flush()
    shown = sys.stdout.buffer.getvalue()
    assert shown == b"caf\\udce9 \\xfc\n" if encoding == "ascii" else "caf\\udce9 ü\n".encode()
