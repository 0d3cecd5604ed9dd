"""What is installed from a wheel: every module and every file of data, without the checkout."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from dcpt_data.images.pixels import read_image, write_image
from dcpt_models.evaluation.testing import measuring_code

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("dcpt_", "options/", "setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")
# Run in a folder without the repository, with the unpacked wheel before everything else.
USE = """
import json, sys
import torch
import dcpt_arch, dcpt_common, dcpt_compat, dcpt_data, dcpt_models
from dcpt_arch.checkpoints import load_network
from dcpt_data.preparation.stand_ins import known_settings
from dcpt_data.sources.published import get_source
from dcpt_models.analysis.report.page import FOLDER as page
from dcpt_models.evaluation.published import read_published
from dcpt_models.inference.packaged import FOLDER as weights

network = load_network(weights / "network.safetensors")
with torch.no_grad():
    shape = network(torch.rand(1, 3, 20, 30)).shape
modules = [dcpt_arch, dcpt_common, dcpt_compat, dcpt_data, dcpt_models]
print(json.dumps({
    "files": [module.__file__ for module in modules],
    "shape": list(shape),
    "source": get_source("Rain100L").folder,
    "rows": len(read_published("5d").rows),
    "style": (page / "page.css").is_file(),
}))
"""


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a wheel built from this tree."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    listed = subprocess.run(
        ["git", "ls-files", "-coz", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for name in filter(None, listed.split("\0")):
        if name.startswith(PARTS) and (ROOT / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", ".", "./source"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    (wheel,) = folder.glob("dcpt-*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder / "unpacked")
    return folder / "unpacked"


def test_it_has_every_module_and_every_file_of_data(unpacked: Path) -> None:
    def ours(root: Path) -> set[Path]:
        files = (path for path in root.glob("dcpt_*/**/*") if path.is_file() and "__pycache__" not in path.parts)
        return {path.relative_to(root) for path in [*files, *root.glob("dcpt_*.py")]}

    options = {Path("dcpt_tools") / path.relative_to(ROOT) for path in (ROOT / "options").rglob("*.*")}
    options = {path for path in options if "__pycache__" not in path.parts}
    assert ours(unpacked) == ours(ROOT) | options
    assert not (ROOT / "dcpt_tools" / "options").exists()  # the only ones of the repository are in options/


def test_it_works_without_the_checkout(unpacked: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(unpacked)}
    done = subprocess.run(
        [sys.executable, "-c", USE], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert all(Path(file).is_relative_to(unpacked) for file in found.pop("files"))
    assert found == {"shape": [1, 3, 20, 30], "source": "Rain100L/test", "rows": found["rows"], "style": True}
    assert found["rows"] > 5


def dcpt(unpacked: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder without the repository."""
    return subprocess.run(
        [sys.executable, "-m", "dcpt_tools", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
    )


def test_a_photograph_is_restored_without_the_checkout(unpacked: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "photo.png", np.random.default_rng(0).integers(0, 255, (40, 56, 3), np.uint8))
    done = dcpt(unpacked, tmp_path, "restore", "photo.png", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert read_image(tmp_path / "restored" / "photo.png").shape == (40, 56, 3)


def test_option_files_are_found_by_name_without_the_checkout(unpacked: Path, tmp_path: Path) -> None:
    listed = dcpt(unpacked, tmp_path, "options", "--json")
    found = json.loads(listed.stdout)
    assert Path(found["options"]) == unpacked / "dcpt_tools" / "options"
    assert "PromptIR on five degradations" in found["files"]["dcpt_promptir_5d"]
    trained = dcpt(unpacked, tmp_path, "train", "dcpt_promptir_5d", "--force_yml", "num_gpu=0")
    assert trained.returncode == 1
    assert f"{tmp_path}/datasets/RESIDE/OTS" in trained.stderr
    assert "dcpt prepare NAME --from" in trained.stderr
    planned = dcpt(unpacked, tmp_path, "study", "options/mini/study_cpu.yml", "--dry-run", "--json")
    assert planned.returncode == 0, planned.stderr
    assert json.loads(planned.stdout)["out"] == f"{tmp_path}/experiments/studies/mini_cpu"


def test_the_command_is_installed(unpacked: Path) -> None:
    (entries,) = unpacked.glob("dcpt-*.dist-info/entry_points.txt")
    assert "dcpt = dcpt_tools.commands:main" in entries.read_text(encoding="utf-8").splitlines()


def test_stale_measurements_are_told_by_all_code_that_restores_and_measures() -> None:
    files = {path.relative_to(ROOT).as_posix() for path in measuring_code()}
    assert {
        "dcpt_common/files.py",
        "dcpt_compat.py",
        "dcpt_arch/layers/window_attention.py",
        "dcpt_arch/backbones/nafnet_arch.py",
        "dcpt_arch/classifiers/base.py",
        "dcpt_models/metrics/by_name.py",
        "dcpt_models/methods/dcpt_model.py",
        "dcpt_models/validation/validate.py",
    } < files
