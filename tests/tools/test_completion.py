"""`dcpt completion`: what a shell offers is what the commands take."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dcpt_tools.commands import COMMANDS
from dcpt_tools.completion import SHELLS, Spoken, parser_of, spoken
from dcpt_tools.training.options import option_files

Complete = Callable[..., list[str]]


@pytest.fixture(scope="module")
def table() -> dict[str, Spoken]:
    """All commands."""
    files = tuple(option_files())
    return {name: spoken(name, files) for name in COMMANDS}


@pytest.fixture(scope="module")
def complete(table: dict[str, Spoken], tmp_path_factory: pytest.TempPathFactory) -> Complete:
    """What bash offers for the last of some words, in a folder with two files."""
    folder = tmp_path_factory.mktemp("completion")
    (folder / "dcpt.bash").write_text(SHELLS["bash"](table))
    (folder / "my photo.jpg").touch()
    (folder / "mine.yml").touch()

    def ask(*words: str) -> list[str]:
        script = 'source dcpt.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _dcpt; printf "%s\\n" "${COMPREPLY[@]}"'
        done = subprocess.run(
            ["bash", "-c", script, "bash", "dcpt", *words], cwd=folder, capture_output=True, text=True, check=True
        )
        assert not done.stderr
        return done.stdout.split("\n")[:-1]

    return ask


def test_bash_offers_commands_switches_values_and_option_files(complete: Complete) -> None:
    assert complete("re") == ["restore", "report"]
    assert complete("train", "--auto") == ["--auto_resume"]
    assert complete("train", "--launcher", "p") == ["pytorch"]
    offered = complete("train", "-opt", "dcpt_promptir_5")
    assert "dcpt_promptir_5d" in offered
    assert all(name.startswith("dcpt_promptir_5") for name in offered)
    assert complete("test", "test_promptir_5") == ["test_promptir_5d"]
    assert complete("plan", "m")[-1] == "mine.yml"
    assert complete("options", "co") == ["copy"]
    assert complete("restore", "my") == ["my photo.jpg"]
    assert complete("restore", "--weights", "mi") == ["mine.yml"]
    assert complete("restore", "--no-such") == [""]
    assert complete("nothing", "--x") == [""]


def test_every_switch_of_every_command_is_offered(complete: Complete) -> None:
    for name in COMMANDS:
        offered = set(complete(name, "-"))
        known = {one for action in parser_of(name)._actions for one in action.option_strings}
        assert known - offered <= {"--local_rank", "--local-rank"}, name  # which torch's launcher gives
        assert offered <= known


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_reads_it(shell: str, table: dict[str, Spoken], tmp_path: Path) -> None:
    text = SHELLS[shell](table)
    assert all(name in text for name in [*COMMANDS, "dcpt_promptir_5d", "auto_resume"])
    file = tmp_path / "completion"
    file.write_text(text)
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed here")
    subprocess.run([shell, "-n", str(file)], check=True, capture_output=True)
