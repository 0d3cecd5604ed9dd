"""A training step and a restoration of each network, against its textbook form."""

from __future__ import annotations

import argparse
from typing import Any

from benchmarks.timing import measure_floor

HELP = "a DCPT iteration and a restoration, against the textbook form and spandrel's networks of equal weights"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--networks", nargs="+", metavar="NAME", help="only these")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    return {"tables": [{"title": "floor", "rows": [{"what": str(measure_floor(arguments.device))}]}]}
