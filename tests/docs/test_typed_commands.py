"""What the pages type as `dcpt NAME ...` is a command with these switches."""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

from dcpt_tools.commands import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "dcpt_models" / "weights" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
START = r"(?:dcpt|-m dcpt_tools)"
SUBCOMMANDS = {"prepare": ("check", "list"), "options": ("copy",)}


def typed(text: str) -> list[tuple[str, str]]:
    """Name and arguments of each command, in lines of code and between backquotes."""
    text = text.replace("\\\n", " ")
    lines = re.findall(rf"(?m)^ {{4,}}.*?(?<!\S){START} ([a-z][\w-]*)([^#\n]*)", text)
    inline = re.findall(rf"`(?:srun |torchrun \S+ )?{START} ([a-z][\w-]*)([^`]*)`", text)
    return [*lines, *inline]


@cache
def switches(name: str, *subcommand: str) -> frozenset[str]:
    """The switches that a command's help lists."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        shown: list[str] = []
        patch.setattr("argparse.ArgumentParser.print_help", lambda self, file=None: shown.append(self.format_help()))
        patch.setattr("sys.argv", [f"dcpt {name}", *subcommand, "--help"])
        import_module(f"dcpt_tools.{COMMANDS[name][0]}").main()
    assert ended.value.code in (0, None)
    return frozenset(re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", shown[0]))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_their_switches_exist(page: Path) -> None:
    for name, words in typed(page.read_text(encoding="utf-8")):
        assert name in COMMANDS, f"dcpt {name}"
        first = words.split()[0] if words.split() else ""
        known = switches(name, *([first] if first in SUBCOMMANDS.get(name, ()) else []))
        unknown = set(re.findall(r"(?<!\S)--?[a-zA-Z][\w-]*", words)) - known
        assert not unknown, f"dcpt {name}{words}"


def test_most_commands_are_typed_somewhere() -> None:
    found = {name for page in PAGES for name, _ in typed(page.read_text(encoding="utf-8"))}
    assert len(found) > 10
    assert "torchrun" not in found


def test_an_unknown_switch_is_seen() -> None:
    assert typed("    dcpt train --no_such FILE  # text\n`dcpt knn --seed 1`") == [
        ("train", " --no_such FILE  "),
        ("knn", " --seed 1"),
    ]
    assert "--no_such" not in switches("train") and "--auto_resume" in switches("train")
