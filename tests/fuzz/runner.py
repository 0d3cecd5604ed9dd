"""The long run of tools/fuzz.py: blocks of inputs in processes of their own, and a record that is gone on with."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import pickle
import resource
import shutil
import struct
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from families import FAMILIES
from harness import Family, Finding, block, describe, seed_of

BLOCK = 100  # inputs
WARM_UP = 20  # inputs in this process, not counted
MEMORY = 6 * 2**30  # bytes that an input may take


def main(description: str) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", choices=[*FAMILIES, "all"], default="all", help="of inputs (default: all)")
    parser.add_argument("--inputs", type=int, default=20_000, metavar="N", help="of each family (default: 20000)")
    parser.add_argument("--seed", type=int, default=0, help="the same inputs for the same seed (default: 0)")
    parser.add_argument("--block", type=int, metavar="N", help="try this block of 100 alone, and print its faults")
    parser.add_argument("--again", action="store_true", help="begin anew, whatever was tried")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("experiments/fuzz"),
        help="where the record is kept (default: experiments/fuzz)",
    )
    arguments = parser.parse_args()
    names = list(FAMILIES) if arguments.family == "all" else [arguments.family]
    found = [run(FAMILIES[name], arguments) for name in names]
    return 1 if any(found) else 0


def run(family: Family, arguments: argparse.Namespace) -> int:
    """Try the inputs of a family; returns how many kinds of fault there are."""
    record_file = arguments.out / f"{family.name}_{arguments.seed}.json"
    record: dict[str, Any] = {"blocks": 0, "inputs": 0, "outcomes": {}, "findings": {}}
    if record_file.exists() and not arguments.again and arguments.block is None:
        record = json.loads(record_file.read_text(encoding="utf-8"))
    logging.getLogger("basicsr").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:  # what is imported on first use, every child need not import anew
        block(family, WARM_UP, 0, Path(folder), lambda case, outcome, finding: None)
    wanted = range(record["blocks"], -(-arguments.inputs // BLOCK))
    if arguments.block is not None:
        wanted = range(arguments.block, arguments.block + 1)
    begun, before = time.monotonic(), record["inputs"]
    for index in wanted:
        outcomes, findings, fatal = _in_child(family, seed_of(family.name, arguments.seed, index))
        record["blocks"], record["inputs"] = index + 1, record["inputs"] + sum(outcomes.values())
        record["outcomes"] = dict(Counter(record["outcomes"]) + outcomes)
        for finding in [*findings, *fatal]:
            known = record["findings"].setdefault(finding.kind, {"times": 0, "block": index, **vars(finding)})
            known["times"] += 1
            if known["times"] == 1 or arguments.block is not None:
                print(f"{family.name}, block {index}: {finding.kind}\n    {finding.case}", flush=True)
                print("    " + finding.text.replace("\n", "\n    "), flush=True)
        if arguments.block is None:
            record_file.parent.mkdir(parents=True, exist_ok=True)
            record_file.write_text(json.dumps(record, indent=1), encoding="utf-8")
        if (index + 1) % 20 == 0:
            pace = (record["inputs"] - before) / (time.monotonic() - begun)
            print(f"{family.name}: {record['inputs']:,} inputs, {pace:.0f} a second", file=sys.stderr, flush=True)
    told = ", ".join(f"{number:,} {name}" for name, number in sorted(record["outcomes"].items()))
    print(f"{family.name}: {record['inputs']:,} inputs tried ({told}); {len(record['findings'])} kinds of fault")
    for kind, known in record["findings"].items():
        again = f"--family {family.name} --seed {arguments.seed} --block {known['block']}"
        print(f"  {known['times']:,} x {kind}\n      again: {again}")
    return len(record["findings"])


def _in_child(family: Family, number: int) -> tuple[Counter[str], list[Finding], list[Finding]]:
    """Try a block in a process of its own; what it tells of each input comes through a pipe."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz"))
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _child(family, number, folder, writing)
    os.close(writing)
    outcomes: Counter[str] = Counter()
    findings: list[Finding] = []
    trying, complete = "nothing", False
    with os.fdopen(reading, "rb") as pipe:
        while len(head := pipe.read(4)) == 4:
            what, content = pickle.loads(pipe.read(struct.unpack("<I", head)[0]))
            if what == "trying":
                trying = content
            elif what == "tried":
                outcome, finding = content
                outcomes[outcome] += 1
                findings += [finding] if finding else []
            else:
                complete = True
    _, status = os.waitpid(pid, 0)
    shutil.rmtree(folder, ignore_errors=True)
    crash = Finding(f"crash: status {os.waitstatus_to_exitcode(status)}", "", trying)
    return outcomes, findings, [] if complete else [crash]


def _child(family: Family, number: int, folder: Path, pipe: int) -> None:
    def tell(what: str, content: Any) -> None:
        data = pickle.dumps((what, content))
        os.write(pipe, struct.pack("<I", len(data)) + data)

    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (_taken() + MEMORY,) * 2)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)  # decoders in C complain there
    checked = family.check

    def check(case: Any, place: Path) -> str:
        tell("trying", describe(case))
        return checked(case, place)

    code = 1
    try:
        block(
            replace(family, check=check),
            BLOCK,
            number,
            folder,
            lambda case, outcome, finding: tell("tried", (outcome, finding)),
        )
        tell("done", None)
        code = 0
    except BaseException as error:
        tell("tried", ("fault", Finding(f"the strategy: {type(error).__name__} {str(error)[:80]}", repr(error), "")))
        tell("done", None)
    finally:
        os._exit(code)


def _taken() -> int:
    """Bytes of address space that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
