"""docs/quickstart.ipynb runs from beginning to end, and what is kept in it is what it gives."""

from __future__ import annotations

import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FILE = Path(__file__).resolve().parents[2] / "docs" / "quickstart.ipynb"


def printed(notebook: nbformat.NotebookNode) -> str:
    """What the cells print."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output["text"] for output in outputs if output.get("name") == "stdout")


def pictures(notebook: nbformat.NotebookNode) -> int:
    """How many pictures the cells show."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return sum("image/png" in output.get("data", {}) for output in outputs)


def test_it_runs_and_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = nbformat.read(FILE, as_version=4)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(FILE.parents[1]), os.getenv("PYTHONPATH")])))
    where = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=where).execute()
    text = printed(notebook)
    decibels = re.findall(r"(\w+): ([\d.]+) dB, restored ([\d.]+) dB", text)
    assert [name for name, _, _ in decibels] == ["noise", "rain", "low_light"]
    assert all(float(after) > float(before) + 3 for _, before, after in decibels)
    first, last = map(float, re.findall(r"pixel loss: ([\d.]+) at the start, ([\d.]+) after", text)[0])
    assert last < first / 3
    assert "NAFNet" in text
    assert "model.safetensors" in text
    assert pictures(notebook) == 2


def test_it_is_kept_with_what_it_gives() -> None:
    notebook = nbformat.read(FILE, as_version=4)
    nbformat.validate(notebook)
    assert pictures(notebook) == 2
    assert "restored" in printed(notebook)
    text = FILE.read_text(encoding="utf-8")
    assert not re.search(r"/(tmp|home|root|work)/", text)
    assert '"output_type": "error"' not in text
    assert len(text) < 500_000
