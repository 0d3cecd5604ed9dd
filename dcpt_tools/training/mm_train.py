"""Train by mmengine's Runner, from a Python config.

  dcpt mm-train options/mmengine/dcpt_promptir_5d.py
  dcpt mm-train options/mmengine/dcpt_promptir_5d.py --resume
  dcpt mm-train options/mmengine/dcpt_promptir_5d.py --cfg-options model.changes.train.total_iter=1000
  torchrun --nproc_per_node=4 -m dcpt_tools mm-train options/mmengine/dcpt_promptir_5d.py --launcher pytorch

Everything of a run lies in work_dir. Ctrl-C saves the state; --resume goes on from it. See docs/MMENGINE.md.
"""

import argparse
from pathlib import Path
from typing import Any, get_args

import torch

import dcpt_compat  # noqa: F401 - mends basicsr before anything of it is imported
from dcpt_data import DataError
from dcpt_models.errors import OptionError
from dcpt_models.runtime.command import add_import, run_command
from dcpt_models.runtime.distributed import Launcher, start_processes
from dcpt_tools.option_folder import HOME
from dcpt_tools.places import ROOT


def parser() -> argparse.ArgumentParser:
    from mmengine.config import DictAction

    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_import(found)
    found.add_argument("config", metavar="CONFIG", help="a config of mmengine (Python)")
    found.add_argument("--work-dir", metavar="D", help="folder of the run; by default work_dir of the config")
    found.add_argument(
        "--resume",
        "--auto_resume",  # as `dcpt train` has it, and as messages of runs say it
        action="store_true",
        help="go on from the newest complete checkpoint in work_dir, if there is one",
    )
    found.add_argument(
        "--cfg-options",
        nargs="+",
        action=DictAction,
        default={},
        metavar="KEY.SUB=VALUE",
        help="replace settings of the config, e.g. model.changes.train.total_iter=1000",
    )
    found.add_argument("--launcher", choices=get_args(Launcher), default="none", help="how processes were started")
    found.add_argument("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)
    return found


def read_config(given: str) -> Any:
    """A config of mmengine, looked for in the current folder, then beside our option files.

    Raises:
        OptionError: If there is none, or it cannot be read.
    """
    from mmengine.config import Config

    places = [Path(given).expanduser(), HOME / given, HOME / "options" / "mmengine" / Path(given).name]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        known = sorted(path.name for path in (HOME / "options" / "mmengine").glob("*.py"))
        raise OptionError(f"no config {given!r}; there are {', '.join(known)}")
    try:
        return Config.fromfile(str(file))
    except (ImportError, KeyError, OSError, SyntaxError) as error:
        raise OptionError(f"{file}: cannot be read: {error}") from error


def work() -> None:
    arguments = parser().parse_args()
    from mmengine.runner import Runner

    config = read_config(arguments.config)
    config.merge_from_dict(arguments.cfg_options)
    if not isinstance(config.get("model"), dict):
        raise OptionError(f"{arguments.config}: has no `model`; begin with a copy of options/mmengine")
    # mmengine's launcher asks for a GPU even with gloo; Runner leaves processes that are joined already as they are.
    start_processes(arguments.launcher, torch.cuda.is_available())
    config.launcher = "none" if arguments.launcher == "none" else "pytorch"
    if "options" in config.model:
        config.model.setdefault("root", str(ROOT))
    config.work_dir = arguments.work_dir or str(
        ROOT / config.get("work_dir", Path("work_dirs", Path(config.filename).stem))
    )
    config.resume = arguments.resume or config.get("resume", False)
    Runner.from_cfg(config).train()


def main() -> int:
    return run_command(work, DataError)
