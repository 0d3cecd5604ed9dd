"""The table of commands behind `dcpt`; a module is imported once its command is called, so that help comes at once."""

import importlib.metadata
import re
import sys
from importlib import import_module
from types import ModuleType
from typing import NoReturn

from dcpt_common import MissingEngineError, nearest, wait_briefly

FAILED, WRONG_USAGE = 1, 2
COMMANDS = {
    "restore": ("photographs.restore", "restore photographs of any size, by the network that comes along or your own"),
    "diagnose": ("photographs.diagnose", "tell which degradation photographs have, and where"),
    "degrade": ("photographs.degrade", "degrade a photograph, or draw all degradations on one sheet"),
    "train": ("training.train", "train from an option file: pre-training, fine-tuning, restoration"),
    "test": ("training.test", "test models on the sets of option files, in tables beside the paper's"),
    "demo": ("training.demo", "see DCPT work in about nine minutes, without data and without a GPU"),
    "options": ("training.options", "list the option files, or copy a room of them to change them"),
    "prepare": ("data.prepare", "bring published data sets from their archives to their places, and check them"),
    "synthesize": ("data.synthesize", "turn a folder of clean photographs into paired data"),
    "lmdb": ("data.lmdb", "store data sets as LMDBs of raw pixels, read at the speed of memory"),
    "report": ("studying.report", "make a report of a run: one HTML file"),
    "knn": ("studying.knn", "tell by nearest neighbours what features know of degradations"),
    "tsne": ("studying.tsne", "draw how the features of a network lie together"),
    "study": ("studying.study", "compare ways of training over several seeds"),
    "export": ("networks.export", "write a network as safetensors, in its original layout, torch.export or ONNX"),
    "pack": ("networks.pack", "store the networks of a run as small as possible, to pass them on"),
    "env": ("env", "print versions, device, cores and memory, for a report of a fault"),
}


def overview() -> str:
    """What `dcpt --help` prints."""
    rows = "\n".join(f"  {name:11} {line}" for name, (_, line) in COMMANDS.items())
    return (
        "Universal image restoration pre-training via degradation classification.\n\n"
        f"usage: dcpt COMMAND ...\n\n{rows}\n\n"
        "`dcpt COMMAND --help` has examples and all switches. `dcpt --version` prints the version."
    )


def main() -> int:
    """Run the command that was typed; returns its exit code."""
    wait_briefly()
    name, *words = sys.argv[1:] or [""]
    if name in ("-h", "--help", ""):
        print(overview(), file=sys.stdout if name else sys.stderr)
        return 0 if name else WRONG_USAGE
    if name == "--version":
        print(importlib.metadata.version("dcpt"))
        return 0
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
    sys.exit(command.main())
