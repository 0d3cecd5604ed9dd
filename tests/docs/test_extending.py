"""docs/EXTENDING.md is run as it stands: one file a thing, nothing else touched."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import Commands

from dcpt_data.images import read_image, write_image

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "EXTENDING.md").read_text(encoding="utf-8")
BLOCKS = {name: text for text, name in re.findall(r"```(?:python|yaml)\n(# (\S+)\n.*?)```", TEXT, re.S)}
MODULES = sorted(name for name in BLOCKS if name.endswith(".py"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, photographs: Path) -> Path:
    """A user's folder: the page's files, and the data set that one of them describes."""
    folder = tmp_path_factory.mktemp("extending")
    for name, text in BLOCKS.items():
        (folder / name).write_text(text, encoding="utf-8")
    for file in photographs.iterdir():
        for part in ("clear", "foggy"):
            (folder / "datasets" / "Street" / part).mkdir(parents=True, exist_ok=True)
            write_image(folder / "datasets" / "Street" / part / file.name, read_image(file))
    return folder


def test_a_run_has_all_of_them(home: Path, commands: Commands) -> None:
    assert len(MODULES) == 6
    places = [f"path:experiments_root={home / 'run'}", f"path:datasets_root={home / 'datasets'}"]
    done = commands.run(
        "basicsr/train.py", "--import", *MODULES, "-opt", "run.yml", "--force_yml", *places, "num_gpu=0", cwd=home
    )
    assert done.returncode == 0, done.stderr
    results = json.loads((home / "run" / "validation.jsonl").read_text())["results"]
    assert set(results["fog"]) == {"psnr", "mae"}
    assert "l_edges" in (home / "run" / "metrics.csv").read_text()

    weights = home / "run" / "models" / "net_g_latest.pth"
    photograph = next((home / "datasets" / "Street" / "clear").iterdir())
    restored = home / "out" / photograph.name
    command = ("tools/restore.py", str(photograph), "--weights", str(weights), "--out", str(home / "out"))
    done = commands.run(*command, "--import", "plain.py", cwd=home)
    assert done.returncode == 0, done.stderr
    assert read_image(restored).shape == read_image(photograph).shape
    assert not np.array_equal(read_image(restored), read_image(photograph))
    done = commands.run(*command, cwd=home)
    assert done.returncode == 1 and "unknown network" in done.stderr


def test_what_cannot_be_imported_is_wrong_usage(home: Path, commands: Commands, tmp_path: Path) -> None:
    for name, why in (("no.py", "no such file"), ("no_such_module", "No module named"), ("json.py", "another name")):
        if name == "json.py":
            shutil.copy(home / "fog.py", tmp_path / name)
        done = commands.run("basicsr/train.py", "--import", name, "-opt", "x.yml", cwd=tmp_path)
        assert done.returncode == 2 and why in done.stderr, done.stderr
