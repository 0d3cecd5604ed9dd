"""Bring published data sets from their unpacked archives into the folders that option files expect, and check them.

  dcpt prepare list
  dcpt prepare GoPro-train GoPro-test --from GOPRO_Large --root datasets
  dcpt prepare check GoPro-train GoPro-test --root datasets
  dcpt prepare check -opt options/finetune_promptir_5d.yml

`list` tells all data sets by name: what each is, where it is published, and what of it is there already. Names bring
data sets to their place. `check` says what is wrong before anything is trained, and exits with 1 if something is. Each
has a --help of its own, as in `dcpt prepare check --help`. docs/DATA.md goes through all of it.
"""

import argparse
import re
import sys
import time
from pathlib import Path

from dcpt_common import to_json
from dcpt_common.progress import ProgressBar
from dcpt_data import DataError
from dcpt_data.preparation.archives import Unpacked
from dcpt_data.preparation.catalogue import Presence, markdown_table, presence
from dcpt_data.preparation.checking import PROBLEMS, Finding, check, sets_of_options, sets_of_sources
from dcpt_data.preparation.preparing import MODES, Prepared, prepare, problems
from dcpt_data.sources.published import Crops, Source, expand, known_groups, known_sources
from dcpt_models.errors import OptionError
from dcpt_models.options.command_line import datasets_of
from dcpt_models.runtime.command import run_command
from dcpt_tools.places import ROOT, option_file

SHOWN = 3  # messages of a kind; --json has all


def crops(text: str) -> Crops:
    numbers = text.split(":")
    if len(numbers) != 2 or not all(number.isdecimal() and int(number) for number in numbers):
        raise argparse.ArgumentTypeError(f"must be SIZE:STEP in pixels, such as 512:256, not '{text}'")
    return Crops(*map(int, numbers))


def command_line(name: str, description: str) -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        prog=f"{Path(sys.argv[0]).name} {name}".rstrip(),
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("--root", default="datasets", help="root of the data sets (default: datasets)")
    result.add_argument("--json", action="store_true", help="print one JSON object on standard output, nothing else")
    return result


def examples(word: str) -> str:
    """Those of the module's help that have this first word, typed as the command was."""
    return "\n".join(line for line in str(__doc__).splitlines() if re.match(rf"  .* {word}\b", line))


def parsers() -> dict[str, argparse.ArgumentParser]:
    listing = command_line("list", f"Tell all data sets by name.\n\n{examples('list')}")
    listing.add_argument("--markdown", action="store_true", help="print the table of docs/DATA.md, without --json")

    checking = command_line(
        "check",
        "Tell what is wrong with data: missing folders, wrong counts, images without partner, unreadable ones,\n"
        "pairs of unequal sizes, pairs that come twice, and test photographs that are trained on.\n\n"
        f"{examples('check')}",
    )
    checking.add_argument("names", nargs="*", metavar="NAME", help="data sets to check, of those that `list` tells")
    checking.add_argument("-opt", metavar="FILE", help="check all that an option file reads; its datasets_root holds")
    checking.add_argument("--quick", action="store_true", help="look at names and counts only, read no image")
    checking.add_argument(
        "--accept", nargs="+", default=[], choices=PROBLEMS, metavar="KIND", help="problems to tell, but not to fail at"
    )

    preparing = command_line("", __doc__)
    preparing.add_argument(
        "names", nargs="+", metavar="list | check | NAME", help="data sets of those that `list` tells"
    )
    preparing.add_argument(
        "--from",
        required=True,
        type=Path,
        dest="unpacked",
        metavar="FOLDER",
        help="the unpacked archive, nested or not",
    )
    preparing.add_argument(
        "--mode", choices=MODES, default="hardlink", help="how files get to their place (default: hardlink)"
    )
    preparing.add_argument(
        "--crops", type=crops, metavar="SIZE:STEP", help="how to cut data sets of crops (default: as `list` tells)"
    )
    preparing.add_argument(
        "--accept", nargs="+", default=[], choices=["count", "unpaired"], help="prepare data sets in spite of this"
    )
    return {"list": listing, "check": checking, "": preparing}


def work() -> None:
    made = parsers()
    which = sys.argv[1] if sys.argv[1:2] in (["list"], ["check"]) else ""
    arguments = made[which].parse_args(sys.argv[2:] if which else sys.argv[1:])
    {"list": show, "check": judge, "": bring}[which](arguments)


def show(arguments: argparse.Namespace) -> None:
    if arguments.markdown and arguments.json:
        raise OptionError("--markdown prints a table and --json an object; give one of them")
    if arguments.markdown:
        print(markdown_table())
        return
    there = {name: presence(source, arguments.root) for name, source in known_sources().items()}
    if arguments.json:
        sets = {name: _described(source, there[name]) for name, source in known_sources().items()}
        print(to_json({"sets": sets, "groups": known_groups()}))
        return
    for name, source in known_sources().items():
        print(f"{name:26} {source.part:6} {source.degradation:20} {there[name].text:22} {source.about}")
        print(f"{'':26} {source.where}")
    for name, members in known_groups().items():
        print(f"{name:26} is {', '.join(members)}")


def _described(source: Source, there: Presence) -> dict:
    return {
        "degradation": source.degradation,
        "part": source.part,
        "count": source.count,
        "found": there.found,
        "stand_in": there.stand_in,
        "folder": source.folder,
        "about": source.about,
        "where": source.where,
    }


def bring(arguments: argparse.Namespace) -> None:
    sources = expand(arguments.names)
    whole = [source.name for source in sources if source.crops is None]
    if arguments.crops and whole:
        raise OptionError(f"--crops is for data sets of crops, such as GoPro-train-crops; {', '.join(whole)} is whole")
    unpacked = Unpacked(arguments.unpacked)
    found = [unpacked.find(source) for source in sources]
    refused = [f"{kind}: {text}" for kind, texts in problems(found).items() for text in texts]
    kinds = [kind for kind in problems(found) if kind not in arguments.accept]
    if kinds:
        raise DataError(
            "\n  ".join(["nothing was prepared:", *refused])
            + f"\nComplete the archive, or give --accept {' '.join(kinds)} to prepare what there is"
        )
    with ProgressBar(unit="file") as bar:
        made = prepare(found, Path(arguments.root), arguments.mode, arguments.crops, bar.report)
    if arguments.json:
        sets = {
            one.source.name: {"folder": str(one.folder), "count": one.count, "kept": one.kept, "from": str(at.root)}
            for one, at in zip(made, found, strict=True)
        }
        print(to_json({"sets": sets, "problems": refused}))
        return
    for text in refused:
        print(f"accepted: {text}")
    for one, at in zip(made, found, strict=True):
        note = ", was there already" if one.kept else f", from {at.root}"
        left = f", {at.unused:,} images of ground truth left out" if at.unused else ""
        print(f"{one.source.name}: {one.count:,} {_unit(one.source)} in {one.folder}{note}{left}")
    print(next_steps(made, arguments.root))


def _unit(source: Source) -> str:
    return "pairs" if source.lq is not None else "photographs"


def next_steps(made: list[Prepared], root: str) -> str:
    names = " ".join(one.source.name for one in made)
    lines = ["", "Next: check the data,", f"  dcpt prepare check {names} --root {root}"]
    lines.append(f"name them in an option file (with path: {{datasets_root: {root}}}),")
    lines += [f"  {key}: {{{line}}}" for key, line in map(option_line, made)]
    lines.append("and, to read them at the speed of memory, make LMDBs")
    lines.append(f"  dcpt lmdb --source {names} --root {root}")
    return "\n".join(lines)


def option_line(one: Prepared) -> tuple[str, str]:
    """The key and the content of a data set's line in an option file."""
    key = one.source.name.lower().replace("-", "_")
    if one.source.part == "train":
        return key, f"source: {one.source.name}, repeat_ratio: 1"
    return f"val_{key}", f"name: {one.source.name}, type: DegradationDataset, source: {one.source.name}"


def judge(arguments: argparse.Namespace) -> None:
    if bool(arguments.names) == bool(arguments.opt):
        raise OptionError("give the names of data sets, or -opt and an option file")
    if arguments.opt:
        findings = sets_of_options(datasets_of(option_file(arguments.opt), ROOT))
    else:
        findings = sets_of_sources(expand(arguments.names), arguments.root)
    begun = time.time()
    with ProgressBar(unit="image", disable=arguments.quick) as bar:
        check(findings, arguments.quick, bar.report)
    wrong = sorted({kind for one in findings for kind in one.problems if kind not in arguments.accept})
    if arguments.json:
        sets = [_judged(one) for one in findings]
        print(to_json({"ok": not wrong, "sets": sets, "read": not arguments.quick, "seconds": time.time() - begun}))
    else:
        for one in findings:
            print("\n".join(verdict(one)))
        print(summary(findings, arguments.quick))
    if wrong:
        raise DataError(f"found {', '.join(wrong)}; see above, and fix it or give --accept {' '.join(wrong)}")


def _judged(one: Finding) -> dict:
    return {
        "name": one.name,
        "part": one.part,
        "degradation": one.images.degradation,
        "found": one.found,
        "expected": one.expected,
        "unused": one.unused,
        "stand_in": one.stand_in,
        "problems": one.problems,
    }


def verdict(one: Finding) -> list[str]:
    """What was found of one set of images, in lines."""
    expected = f" of {one.expected:,}" if one.expected is not None else ""
    kind = ", a stand-in" if one.stand_in else ""
    state = "wrong" if one.problems else "ok"
    lines = [f"{one.name} ({one.part}, {one.images.degradation}{kind}): {one.found:,}{expected}, {state}"]
    if one.unused:
        lines.append(f"  {one.unused:,} images of ground truth belong to no degraded image and are not read")
    for problem, messages in one.problems.items():
        lines += [f"  {problem}: {message}" for message in messages[:SHOWN]]
        if len(messages) > SHOWN:
            lines.append(f"  {problem}: {len(messages) - SHOWN:,} more, all of them with --json")
    return lines


def summary(findings: list[Finding], quick: bool) -> str:
    if quick:
        return "Names and counts only; without --quick, images are read and compared."
    parts = {part: sum(one.part == part for one in findings) for part in ("train", "test")}
    if all(parts.values()):
        return f"Photographs of {parts['test']} test sets were looked for in {parts['train']} training sets."
    return "Leakage was not looked for: that takes training sets and test sets in one call."


def main() -> int:
    return run_command(work, DataError)
