"""The command `dcpt`: its table, its mistakes, what it prints of the machine, and the option files that it copies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch
from commands import ROOT, Commands

from dcpt_models.options.files import read_options
from dcpt_tools.commands import COMMANDS, overview
from dcpt_tools.training.options import option_files

DCPT = "dcpt_tools/__main__.py"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_example_in_its_help(name: str, commands: Commands, tmp_path: Path) -> None:
    shown = commands.run(DCPT, name, "--help", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith(f"usage: dcpt {name}")
    assert f"\n  dcpt {name}" in shown.stdout
    assert "python tools/" not in shown.stdout
    assert commands.run(DCPT, name, "--no-such-switch", cwd=tmp_path).returncode == 2
    assert name in overview()


def test_every_command_of_the_package_is_in_the_table() -> None:
    package = ROOT / "dcpt_tools"
    files = [file for file in package.glob("*/*.py") if "\ndef main(" in file.read_text(encoding="utf-8")]
    modules = {file.relative_to(package).with_suffix("").as_posix().replace("/", ".") for file in files} | {
        "env",
        "completion",
    }
    assert modules - {module for module, _ in COMMANDS.values()} == {"training.evaluate"}  # BasicSR's own test
    for module, _ in COMMANDS.values():
        assert callable(import_module(f"dcpt_tools.{module}").main)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['dcpt', '--help']; from dcpt_tools.commands import main; main()\n"
        "print(sorted({'torch', 'numpy', 'basicsr', 'cv2', 'yaml', 'argparse'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n[]\n")


@pytest.mark.parametrize("words", [["--help"], ["options"], ["options", "--help"]])
def test_a_reader_that_has_gone_is_no_error(words: list[str], tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)  # as `dcpt options | head -1` does
    line = [sys.executable, "-m", "dcpt_tools", *words]
    with os.fdopen(writer, "w") as pipe:
        done = subprocess.run(
            line,
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
    assert not done.stderr
    assert done.returncode in (0, 1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["benchmark"], "python tools/benchmark.py"),
        (["restor"], "did you mean 'restore'?"),
        (["xyz"], "dcpt --help"),
        ([], "usage: dcpt COMMAND"),
    ],
)
def test_a_typo_gets_the_nearest_name(words: list[str], said: str, commands: Commands, tmp_path: Path) -> None:
    done = commands.run(DCPT, *words, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert not done.stdout


def test_an_option_file_is_the_first_word(commands: Commands, tmp_path: Path) -> None:
    force = ["--force_yml", f"path:datasets_root={tmp_path}/none", "num_gpu=0"]
    short = commands.run(DCPT, "train", "dcpt_promptir_5d", "--debug", *force, cwd=tmp_path)
    long = commands.run(DCPT, "train", "-opt", "options/dcpt_promptir_5d.yml", "--debug", *force, cwd=tmp_path)
    assert (short.returncode, short.stderr) == (1, long.stderr)
    assert "RESIDE/OTS/hazy" in short.stderr


def test_env_says_what_a_report_needs(commands: Commands, tmp_path: Path) -> None:
    told = commands.run(DCPT, "env", "--json", cwd=tmp_path, environment={"MALLOC_ARENA_MAX": "3"})
    found = json.loads(told.stdout)
    assert found["torch"] in torch.__version__
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["device"] == "cpu"
    assert found["basicsr"] == "1.4.2"
    assert found["cores"] > 0
    assert found["memory (GiB)"] > 0
    assert found["variables"]["MALLOC_ARENA_MAX"] == "3"
    text = commands.run(DCPT, "env", cwd=tmp_path).stdout
    assert f"torch: {found['torch']}\n" in text
    assert "OMP_NUM_THREADS=1\n" in text


def test_every_option_file_is_listed_with_what_it_is(commands: Commands, tmp_path: Path) -> None:
    text = commands.run(DCPT, "options", cwd=tmp_path).stdout
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line.startswith("  ")]
    assert [line[0] for line in lines if len(line) < 2] == []
    assert len(lines) == len(option_files()) > 50


@pytest.mark.parametrize("name", ["5d", "mini", "dcpt_promptir_5d"])
def test_what_is_copied_reads_as_before(name: str, commands: Commands, tmp_path: Path) -> None:
    done = commands.run(DCPT, "options", "copy", name, "mine", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    copied = [file for file in (tmp_path / "mine").rglob("*.yml") if "_base_" not in file.parts]
    assert copied
    for file in copied:
        original = ROOT / "options" / file.relative_to(tmp_path / "mine")
        assert read_options(file).values == read_options(original).values
    again = commands.run(DCPT, "options", "copy", name, "mine", cwd=tmp_path)
    assert again.returncode == 2
    assert "--overwrite" in again.stderr
    assert commands.run(DCPT, "options", "copy", name, "mine", "--overwrite", cwd=tmp_path).returncode == 0


def test_a_room_that_is_not_there_gets_the_nearest_name(commands: Commands, tmp_path: Path) -> None:
    done = commands.run(DCPT, "options", "copy", "mimi", "mine", cwd=tmp_path)
    assert done.returncode == 2
    assert "did you mean 'mini'?" in done.stderr
