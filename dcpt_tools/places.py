"""Where commands find option files, and the folder that relative paths in them start from; used with -opt."""

from pathlib import Path

from dcpt_models.options.command_line import find_option_file
from dcpt_tools.option_folder import CHECKOUT, HOME, PACKAGED

ROOT = Path.cwd() if PACKAGED.is_dir() else CHECKOUT
"""Relative paths that do not exist in the current folder are meant from here; runs and results go below it."""


def option_file(given: str) -> str:
    """The option file that a path, or a name alone such as `dcpt_promptir_5d`, means; as it is if there is none."""
    return str(find_option_file(given, HOME))


def named_first(words: list[str]) -> list[str]:
    """`train NAME --debug` is `train -opt NAME --debug`: words before the first switch are option files."""
    return ["-opt", *words] if words and not words[0].startswith("-") else words
