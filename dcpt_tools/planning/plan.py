"""Estimate what a training will cost here: hours, memory, disk, and which switch helps how much.

  dcpt plan dcpt_promptir_5d
  dcpt plan -opt mine/run.yml --alone --switches
  dcpt plan dcpt_promptir_5d --seconds 30 --force_yml datasets:train:batch_size_per_gpu=4

Some iterations, a checkpoint and a few validation images of each option file are run by the code that trains, and
timed; nothing of that is kept. Data need not be there: stand-ins of the published sizes and numbers take their place.
With a pre-training the fine-tuning that starts from its checkpoint is planned too, if there is one such option file.
Do not run anything else beside it. What is not in the estimate: reading from a disk that is slower than its cache,
several processes, and what a run does again after it was interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

import dcpt_arch  # noqa: F401 - registers networks
from dcpt_common import to_json
from dcpt_data import DataError
from dcpt_data.preparation.trial_data import Usual
from dcpt_models.errors import OptionError
from dcpt_models.options.command_line import argument_parser, load_options
from dcpt_models.options.files import read_options
from dcpt_models.runtime.command import run_command
from dcpt_models.training.switches import SWITCHES
from dcpt_tools.option_folder import OPTIONS
from dcpt_tools.places import ROOT, named_first, option_file
from dcpt_tools.planning.planner import Planner
from dcpt_tools.planning.text import gib, lmdbs, record_of, spoken, text_of

SECONDS = 10.0


def parse() -> argparse.Namespace:
    parser = argument_parser(str(__doc__), several=True)
    parser.add_argument(
        "--seconds",
        type=float,
        default=SECONDS,
        help=f"how long iterations are timed, each time (default: {SECONDS:g})",
    )
    parser.add_argument("--alone", action="store_true", help="plan no fine-tuning beside a pre-training")
    parser.add_argument(
        "--switches",
        nargs="*",
        choices=SWITCHES,
        metavar="NAME",
        help=f"which switches to try, of {', '.join(SWITCHES)} (default: all that suit the device); none named: none",
    )
    parser.add_argument(
        "--size", type=_size, default=Usual.size, metavar="WxH", help="of images that are not there (default: 640x480)"
    )
    parser.add_argument("--count", type=int, default=Usual.count, help="of such images in a set (default: 1000)")
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output, nothing else")
    arguments = parser.parse_args(named_first(sys.argv[1:]))
    if arguments.seconds < 0 or arguments.count < 1:
        parser.error("--seconds must be 0 or more, --count 1 or more")
    if arguments.launcher != "none" or arguments.auto_resume:
        parser.error("a single new process is planned; leave --launcher and --auto_resume out")
    return arguments


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"write WIDTHxHEIGHT, such as 640x480, not {text!r}") from None
    if min(width, height) < 8:
        raise argparse.ArgumentTypeError("both sides must be 8 pixels or more")
    return width, height


def starting_from(opt: dict[str, Any], file: Path) -> list[Path]:
    """Option files beside one, or among those that come along, that begin from a checkpoint of its run."""
    home = Path(opt["path"]["experiments_root"])
    folders = dict.fromkeys([file.resolve().parent, OPTIONS.resolve()])
    found: dict[Path, None] = {}
    for other in sorted({path for folder in folders for path in folder.glob("*.yml")} - {file.resolve()}):
        with contextlib.suppress(OptionError):
            weights = (read_options(other).values.get("path") or {}).get("pretrain_network_g")
            if weights and (ROOT / str(weights)).absolute().is_relative_to(home):
                found[other] = None
    return list(found)


def options_to_plan(arguments: argparse.Namespace) -> tuple[list[dict[str, Any]], list[str]]:
    """The options of all runs, in their order, and what is to be said of it."""
    runs, notes = [], []
    files = [Path(option_file(given)) for given in arguments.opt]
    for given in files:
        runs.append(_loaded(given, arguments))
        if arguments.alone or len(files) > 1:
            continue
        others = starting_from(runs[-1], given)
        if len(others) == 1:
            try:
                runs.append(_loaded(others[0], arguments))
            except OptionError as error:  # what is forced may be of the pre-training alone
                notes.append(f"{others[0].stem}, which starts from it, is not planned: {error}")
        elif others:
            names = ", ".join(other.stem for other in others)
            notes.append(f"Several trainings start from {given.stem}: {names}. Name one after it to plan it too.")
    return runs, notes


def _loaded(file: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    return load_options(file, ROOT, is_train=True, force=arguments.force_yml, debug=arguments.debug)


@contextlib.contextmanager
def scratch(opt: dict[str, Any]) -> Iterator[Path]:
    """A folder on the disk that a run would write to, removed at the end."""
    near = Path(opt["path"]["experiments_root"]).parent
    while not near.is_dir():
        near = near.parent
    place = str(near) if os.access(near, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix=".dcpt_plan_", dir=place, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def seconds_since_start() -> float:
    """How long this process lives: until the first line of a command mostly imports. 0 where the system hides it."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        return float(Path("/proc/uptime").read_text().split()[0]) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return 0.0


def work() -> None:
    imports = seconds_since_start()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was written is removed
    arguments = parse()
    runs, notes = options_to_plan(arguments)
    plans = []
    for opt in runs:
        with scratch(opt) as folder:
            plans.append(Planner(opt, folder, arguments, imports).plan())
    disk = lmdbs(plans)
    device = torch.cuda.get_device_name() if runs[0]["num_gpu"] else f"CPU, {torch.get_num_threads()} threads"
    total = sum(one.estimate.total for one in plans)
    stand_ins = [each for one in plans for each in one.sets if not each.there]
    if arguments.json:
        record = {"device": device, "seconds": total, "runs": [record_of(one) for one in plans], "lmdb_bytes": disk}
        print(to_json({**record, "notes": notes}))
        return
    print(f"On this device ({device}), by one process:")
    for one in plans:
        print(text_of(one))
    if len(plans) > 1:
        print(f"\nTogether: {spoken(total)}")
    if disk:
        print(f"\nAll sets of images as LMDBs of raw pixels: {gib(sum(disk.values()))}")
    if stand_ins:
        print(f"{len({each.name for each in stand_ins})} sets are not there; stand-ins of their size were read.")
    if supposed := sorted({each.name for each in stand_ins if each.supposed}):
        print(
            "Size or number is supposed, being neither counted nor published for certain (of folders of your own, say "
            f"it by --size and --count): {', '.join(supposed)}"
        )
    for note in notes:
        print(note)


def main() -> int:
    return run_command(work, DataError)
