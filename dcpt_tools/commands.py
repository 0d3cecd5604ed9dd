"""The table of commands behind `dcpt`; a module is imported once its command is called, so that help comes at once."""

import importlib.metadata
import os
import re
import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import NoReturn

from dcpt_common import MissingEngineError, nearest, wait_briefly

FAILED, WRONG_USAGE = 1, 2
COMMANDS = {
    "restore": ("photographs.restore", "restore photographs of any size, with the included network or your own"),
    "diagnose": ("photographs.diagnose", "classify the degradation of photographs, and show where it is"),
    "app": ("photographs.app", "serve a page on this machine: drop photographs, diagnose, restore and download them"),
    "degrade": ("photographs.degrade", "degrade a photograph, or draw all degradations on one sheet"),
    "train": ("training.train", "train from an option file: pre-training, fine-tuning, restoration"),
    "mm-train": (
        "training.mm_train",
        "train by mmengine's Runner from a Python config, with its hooks and visualizers",
    ),
    "test": ("training.test", "test models on the sets of option files, in tables beside the paper's"),
    "plan": ("planning.plan", "estimate what a training will cost here: hours, memory, disk, and what helps"),
    "demo": ("training.demo", "see DCPT work in about nine minutes, without data and without a GPU"),
    "options": ("training.options", "list the option files, or copy a folder of them to change them"),
    "prepare": ("data.prepare", "put published data sets where option files expect them, and check them"),
    "synthesize": ("data.synthesize", "turn a folder of clean photographs into paired data"),
    "lmdb": ("data.lmdb", "store data sets as LMDBs of raw pixels, read at the speed of memory"),
    "report": ("studying.report", "make a report of a run: one HTML file"),
    "knn": ("studying.knn", "classify degradations from features by nearest neighbours"),
    "tsne": ("studying.tsne", "draw the features of a network by t-SNE"),
    "study": ("studying.study", "compare ways of training over several seeds"),
    "export": ("networks.export", "write a network as safetensors, in its original layout, torch.export or ONNX"),
    "pack": ("networks.pack", "store the networks of a run as small as possible, to pass them on"),
    "hub": ("networks.hub", "write a network with its model card, and upload it to the Hugging Face Hub"),
    "completion": ("completion", "print what makes bash, zsh or fish complete commands, switches and option files"),
    "check-device": (
        "measuring.check_device",
        "check a GPU: is it set up right, how fast is it, what do the recipes cost",
    ),
    "env": ("env", "print versions, device, cores and memory, for a report of a fault"),
}
ELSEWHERE = {
    "benchmark": "it compares with other projects' code, which the package does not need, and is in the repository: "
    "python tools/benchmark.py. What a training costs here is told by `dcpt plan`",
}
"""Names that may be typed, and where what they mean is."""


def overview() -> str:
    """What `dcpt --help` prints."""
    rows = "\n".join(f"  {name:12} {line}" for name, (_, line) in COMMANDS.items())
    return (
        "Universal image restoration pre-training via degradation classification.\n\n"
        f"usage: dcpt COMMAND ...\n\n{rows}\n\n"
        "`dcpt COMMAND --help` has examples and all switches. `dcpt --version` prints the version."
    )


def main() -> int:
    """Run the command that was typed; returns its exit code."""
    wait_briefly()
    return _heard(_run)


def _heard(work: Callable[[], int]) -> int:
    """Do some work; if who reads its output has gone, as `head` does, it ends there and says nothing of it."""
    try:
        try:
            return work()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left to write when Python ends
        return FAILED


def _run() -> int:
    name, *words = sys.argv[1:] or [""]
    if name in ("-h", "--help", ""):
        print(overview(), file=sys.stdout if name else sys.stderr)
        return 0 if name else WRONG_USAGE
    if name == "--version":
        print(importlib.metadata.version("dcpt"))
        return 0
    if name in ELSEWHERE:
        print(f"error: dcpt {name}: {ELSEWHERE[name]}", file=sys.stderr)
        return WRONG_USAGE
    if name not in COMMANDS:
        print(f"error: no command {name!r}{nearest(name, COMMANDS)} (all: dcpt --help)", file=sys.stderr)
        return WRONG_USAGE
    sys.argv = [f"dcpt {name}", *words]
    code: int = _imported(COMMANDS[name][0]).main()
    return code


def _imported(module: str) -> ModuleType:
    """The module of a command; where BasicSR is missing, the message of that ends the program."""
    try:
        return import_module(f"dcpt_tools.{module}")
    except MissingEngineError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(FAILED)


def launch(module: str, script: str) -> NoReturn:
    """Run a command as a script of the repository, whose --help has examples that are typed so.

    Args:
        module: Of the command, below dcpt_tools.
        script: Relative to the repository.
    """
    wait_briefly()
    command = _imported(module)
    name = next((name for name, (found, _) in COMMANDS.items() if found == module), "")
    spoken = str(command.__doc__).replace(f"-m dcpt_tools {name} ", f"{script} ")
    command.__doc__ = re.sub(rf"(?m)^  dcpt {name}\b", f"  python {script}", spoken)
    sys.exit(_heard(command.main))
