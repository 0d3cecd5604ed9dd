"""Measure this package against its peers: in one run, in turns, with equal weights and equal data.

  python tools/benchmark.py data --threads 1

Small and quick unless --full. Each table has medians and quartiles of time, ratios to ours, and what belongs to them:
peak memory, the share of the machine's floor.
"""

import argparse
import shlex
import sys
from typing import Any

import torch
from benchmarks import commands

from dcpt_common import to_json
from dcpt_models.runtime.command import run_command
from dcpt_models.runtime.devices import choose_device
from dcpt_tools.measuring.timing import conditions, table_of


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    chosen = parser.add_subparsers(dest="command", required=True, metavar="WHAT")
    for name, module in commands().items():
        # Not every module can be imported again under this name when it is run, so it travels with the arguments.
        sub = chosen.add_parser(name, help=module.HELP, description=module.HELP)
        sub.set_defaults(run=module.run)
        sub.add_argument("--full", action="store_true", help="all networks and sizes; takes its time")
        sub.add_argument("--threads", type=int, metavar="N", help="threads of PyTorch (default: its own choice)")
        sub.add_argument("--device", default="cpu", help="cpu (default), cuda, cuda:1, ...")
        sub.add_argument("--repeats", type=int, default=7, metavar="N", help="rounds in turns that count (default: 7)")
        sub.add_argument("--seed", type=int, default=0, help="of weights and data (default: 0)")
        sub.add_argument("--json", action="store_true", help="print one JSON object on standard output, nothing else")
        module.add_arguments(sub)
    arguments = parser.parse_args()
    for name in ("threads", "repeats"):
        if getattr(arguments, name) is not None and getattr(arguments, name) < 1:
            parser.error(f"--{name} must be 1 or more")
    choose_device(arguments.device)  # refuses one that is not there
    return arguments


def main() -> None:
    arguments = parse()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    found: dict[str, Any] = arguments.run(arguments)
    record = {
        "command": shlex.join(["python", "tools/benchmark.py", *sys.argv[1:]]),
        "conditions": conditions(arguments.device),
        **found,
    }
    if arguments.json:
        print(to_json(record))
        return
    for table in record["tables"]:
        print(f"\n### {table['title']}\n\n{table_of(table['rows'])}")
        for note in table.get("notes", []):
            print(f"\n{note}")
    print(f"\n    {record['command']}\n")
    for key, value in record["conditions"].items():
        print(f"* {key}: {value}")


if __name__ == "__main__":
    sys.exit(run_command(main))
