"""Check a device in a few minutes: is it set up right, how fast is it, and what would the paper's recipes cost on it?

  dcpt check-device --minutes 8
  dcpt check-device --device cpu --minutes 3 --out devices

In this order: facts; networks, metrics, degradations and methods against the processor; iterations and images a second
beside the published forms; a run that is killed and resumed; hours of the recipes; torch.compile, CUDA graphs. When the
minutes are over, what was reached is kept. On a processor all of it is done at small size. --out gets NAME.json and
NAME.md, NAME being the device's. The exit code is 1 if a check failed.
"""

import argparse
import functools
import platform
import shlex
import sys
from pathlib import Path
from typing import Any

import torch

from dcpt_common import to_json, write_atomically
from dcpt_models.errors import OptionError, RunError
from dcpt_models.runtime.command import refuse_file, run_command
from dcpt_models.runtime.devices import choose_device
from dcpt_tools.measuring import recipes, resuming, speed, values
from dcpt_tools.measuring.made_models import NETWORKS
from dcpt_tools.measuring.page import file_name, page
from dcpt_tools.measuring.session import Part, Session, failures, run_parts
from dcpt_tools.measuring.timing import conditions, processor
from dcpt_tools.places import ROOT

FOLDER = Path("docs", "devices")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--minutes", type=float, default=8.0, metavar="N", help="of everything (default: 8)")
    made.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")
    made.add_argument("--out", type=Path, metavar="FOLDER", help="for the page (default: docs/devices)")
    made.add_argument("--only", nargs="+", metavar="WORD", help="parts whose title has one of these words")
    made.add_argument("--json", action="store_true", help="print the record on standard output, nothing else")
    return made


def parts_of(on_gpu: bool) -> dict[str, Part]:
    """All parts, what matters most first."""
    found: dict[str, Part] = {
        "Floor": speed.floors,
        "Networks": values.networks,
        "Metrics": values.metrics,
        "Degradations": values.degradations,
        "Methods": values.methods,
    }
    for name in NETWORKS:
        found[f"An iteration of DCPT: {name}"] = functools.partial(speed.step, name=name)
    for name in NETWORKS:
        found[f"Restoring: {name}"] = functools.partial(speed.restore, name=name)
    found["A run, killed and resumed"] = resuming.killed_and_resumed
    found["Recipes of the paper"] = recipes.projection
    found["Restoring, faster"] = speed.faster_restoring
    found["Training, compiled"] = speed.compiled_step
    return found


def chosen(parts: dict[str, Part], words: list[str] | None) -> dict[str, Part]:
    """Those whose title has one of the words.

    Raises:
        OptionError: If a word is in none.
    """
    for word in words or ():
        if not any(word.lower() in title.lower() for title in parts):
            raise OptionError(f"--only {word}: no such part; there are {', '.join(parts)}")
    return {t: p for t, p in parts.items() if not words or any(word.lower() in t.lower() for word in words)}


def work() -> None:
    arguments = parser().parse_args()
    if not arguments.minutes > 0:
        raise OptionError(f"--minutes must be above 0, not {arguments.minutes:g}")
    out = (arguments.out or ROOT / FOLDER).absolute()
    refuse_file(out, "--out")
    device = choose_device(arguments.device)
    on_gpu = device.type == "cuda"
    parts = chosen(parts_of(on_gpu), arguments.only)
    out.mkdir(parents=True, exist_ok=True)
    name = torch.cuda.get_device_name(device) if on_gpu else processor().split(",")[0]
    file = out / f"{file_name(name)}.json"
    found = conditions(device)
    if on_gpu:
        facts = torch.cuda.get_device_properties(device)
        found["memory of the GPU"] = f"{facts.total_memory / 2**30:.1f} GiB"
        found["capability"] = f"{facts.major}.{facts.minor}, {facts.multi_processor_count} multiprocessors"
        found["CUDA, cuDNN"] = f"{torch.version.cuda}, {torch.backends.cudnn.version()}"
        torch.backends.cudnn.benchmark = True  # as the training loop has it
    command = shlex.join(["dcpt", "check-device", *sys.argv[1:]])
    found["system"] = platform.platform()
    record: dict[str, Any] = {"device": name, "small": not on_gpu, "command": command, "conditions": found}
    session = Session(device, not on_gpu, file, record)
    run_parts(session, parts, arguments.minutes, lambda line: print(line, file=sys.stderr, flush=True))
    text = page(record)
    with write_atomically(file.with_suffix(".md")) as partial:
        partial.write_text(text, encoding="utf-8")
    print(to_json(record) if arguments.json else text)
    print(f"Written: {file.with_suffix('.md')}", file=sys.stderr)
    if wrong := failures(record):
        raise RunError(f"{len(wrong)} checks failed: {'; '.join(wrong)}")


def main() -> int:
    return run_command(work)
