"""Print what makes a shell complete `dcpt`: commands, their switches and values, names of option files.

  dcpt completion bash > ~/.local/share/bash-completion/completions/dcpt
  dcpt completion zsh > ~/.zfunc/_dcpt
  dcpt completion fish > ~/.config/fish/completions/dcpt.fish

Start a new shell then. For zsh, ~/.zshrc has `fpath+=~/.zfunc; autoload -Uz compinit; compinit`. What is printed stands
for itself and asks nothing of Python while you type; print it again after an update.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NoReturn

from dcpt_tools.commands import COMMANDS
from dcpt_tools.training.options import option_files

OPT = "-opt"


@dataclass(frozen=True)
class Switch:
    """A switch of a command.

    Attributes:
        names: As `-opt`, or `--weights`.
        about: What it does, in one line.
        values: What may stand behind it, where that is a list.
        takes: Whether something stands behind it.
    """

    names: tuple[str, ...]
    about: str
    values: tuple[str, ...]
    takes: bool


@dataclass(frozen=True)
class Spoken:
    """A command as a shell sees it: its switches, and words that may follow without one."""

    about: str
    switches: list[Switch]
    words: tuple[str, ...]


class _Caught(BaseException):
    """Carries a command's parser out of the command, before it has done anything."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser


@contextmanager
def _catching(name: str) -> Iterator[None]:
    def caught(parser: argparse.ArgumentParser, *_: Any, **__: Any) -> NoReturn:
        raise _Caught(parser)

    real, words = argparse.ArgumentParser.parse_known_args, sys.argv
    argparse.ArgumentParser.parse_known_args = caught  # type: ignore[method-assign, assignment]
    sys.argv = [f"dcpt {name}"]
    try:
        yield
    finally:
        argparse.ArgumentParser.parse_known_args = real  # type: ignore[method-assign]
        sys.argv = words


def parser_of(name: str) -> argparse.ArgumentParser:
    """The parser of a command, which is not run."""
    try:
        with _catching(name):
            import_module(f"dcpt_tools.{COMMANDS[name][0]}").main()
    except _Caught as caught:
        return caught.parser
    raise RuntimeError(f"dcpt {name} parses no arguments")


def spoken(name: str, files: tuple[str, ...]) -> Spoken:
    """What there is to complete behind a command; `files` are the names of option files."""
    switches: list[Switch] = []
    words: list[str] = []
    for action in parser_of(name)._actions:
        if action.help == argparse.SUPPRESS:
            continue
        values = tuple(map(str, action.choices or ()))
        if not action.option_strings:
            words += values
            continue
        text = (action.help or "").replace("%%", "%").partition("\n")[0]
        about = text % {"default": action.default} if "%(default)" in text else text
        opt = OPT in action.option_strings
        takes = action.nargs != 0
        switches.append(Switch(tuple(action.option_strings), about, files if opt else values, takes))
        words += files if opt else ()
    return Spoken(COMMANDS[name][1], switches, tuple(words))


def bash(table: dict[str, Spoken]) -> str:
    """For bash."""
    values, words, switches = [], [], []
    for name, command in table.items():
        for switch in command.switches:
            if switch.values:
                pattern = "|".join(shlex.quote(f"{name} {one}") for one in switch.names)
                values.append(f"        {pattern}) words={_line(switch.values)} ;;")
        switches.append(f"        {name}) words={_line(one for switch in command.switches for one in switch.names)} ;;")
        if command.words:
            words.append(f"        {name}) words={_line(command.words)} ;;")
    lines = "\n".join
    return f"""# Completion of dcpt for bash, printed by `dcpt completion bash`.
_dcpt() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" name="${{COMP_WORDS[1]}}" words=""
    COMPREPLY=()
    if [[ $COMP_CWORD -eq 1 ]]; then
        mapfile -t COMPREPLY < <(compgen -W {_line([*table, "--help", "--version"])} -- "$word")
        return
    fi
    case "$name $before" in
{lines(values)}
    esac
    if [[ -z $words && $word == -* ]]; then
        case "$name" in
{lines(switches)}
        esac
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
        return
    fi
    if [[ -z $words && $before != -* ]]; then
        case "$name" in
{lines(words)}
        esac
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word"; compgen -f -- "$word")
}}
complete -o filenames -F _dcpt dcpt
"""


def zsh(table: dict[str, Spoken]) -> str:
    """For zsh."""
    values, words, switches = [], [], []
    for name, command in table.items():
        described = []
        for switch in command.switches:
            described += [f"{one}:{switch.about}" for one in switch.names]
            if switch.values:
                pattern = "|".join(shlex.quote(f"{name} {one}") for one in switch.names)
                values.append(
                    f"    ({pattern}) compadd -- {' '.join(map(shlex.quote, switch.values))}; _files; return ;;"
                )
        switches.append(f"      ({name}) switches=({' '.join(map(shlex.quote, described))}) ;;")
        if command.words:
            words.append(f"    ({name}) compadd -- {' '.join(map(shlex.quote, command.words))} ;;")
    lines = "\n".join
    names = " ".join(shlex.quote(f"{name}:{command.about}") for name, command in table.items())
    return f"""#compdef dcpt
# Completion of dcpt for zsh, printed by `dcpt completion zsh`.
_dcpt() {{
  local -a names switches
  if (( CURRENT == 2 )); then
    names=({names})
    _describe 'command' names
    return
  fi
  case "$words[2] $words[CURRENT-1]" in
{lines(values)}
  esac
  if [[ "$words[CURRENT]" == -* ]]; then
    case "$words[2]" in
{lines(switches)}
    esac
    _describe 'switch' switches
    return
  fi
  case "$words[2]" in
{lines(words)}
  esac
  _files
}}
if [ "$funcstack[1]" = "_dcpt" ]; then _dcpt "$@"; else compdef _dcpt dcpt; fi
"""


def fish(table: dict[str, Spoken]) -> str:
    """For fish."""
    lines = ["# Completion of dcpt for fish, printed by `dcpt completion fish`."]
    for name, command in table.items():
        lines.append(f"complete -c dcpt -f -n __fish_use_subcommand -a {name} -d {_quoted(command.about)}")
        behind = f"complete -c dcpt -n '__fish_seen_subcommand_from {name}'"
        if command.words:
            lines.append(f"{behind} -a {_quoted(' '.join(command.words))}")
        for switch in command.switches:
            named = " ".join(f"-l {one[2:]}" if one.startswith("--") else _short(one) for one in switch.names)
            takes = f" -r -a {_quoted(' '.join(switch.values))}" if switch.values else " -r" if switch.takes else ""
            lines.append(f"{behind} {named}{takes} -d {_quoted(switch.about)}")
    return "\n".join(lines) + "\n"


SHELLS = {"bash": bash, "zsh": zsh, "fish": fish}


def _line(words: Any) -> str:
    return shlex.quote(" ".join(words))


def _quoted(text: str) -> str:
    """A text in fish's single quotes, within which a backslash escapes."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _short(name: str) -> str:
    """A switch with one dash: of one letter, or as `-opt` an old one of several."""
    return f"-s {name[1:]}" if len(name) == 2 else f"-o {name[1:]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shell", choices=SHELLS, help="which shell")
    shell = parser.parse_args().shell
    files = tuple(option_files())
    table = {name: spoken(name, files) for name in COMMANDS}
    print(SHELLS[shell](table), end="")
    return 0
