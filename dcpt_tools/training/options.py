"""List the included option files, or copy a folder of them to change them.

  dcpt options
  dcpt options copy 5d mine
  dcpt options copy dcpt_promptir_5d mine

A file is named by its name alone wherever one is asked for: `dcpt train dcpt_promptir_5d`. What is copied keeps its
place, together with the files that it names as _base_: `dcpt train mine/5d/dcpt_nafnet_5d.yml`.
"""

import argparse
import re
import shutil
import sys
from itertools import takewhile
from pathlib import Path

import yaml

from dcpt_common import nearest, to_json
from dcpt_tools.option_folder import OPTIONS

BASES = "_base_"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output, nothing else")
    what = parser.add_subparsers(dest="what", metavar="copy")
    copying = what.add_parser("copy", help="copy a folder, or a file, with its bases")
    copying.add_argument("name", metavar="NAME", help="a folder such as 5d, or an option file")
    copying.add_argument("folder", type=Path, metavar="DIR", help="where to")
    copying.add_argument("--overwrite", action="store_true", help="replace files that are there")
    return parser.parse_args()


def option_files() -> dict[str, Path]:
    """What each file is typed as -> the file: its name, or its path below options/ where two have one name."""
    files = [file for file in sorted(OPTIONS.rglob("*.yml")) if BASES not in file.relative_to(OPTIONS).parts]
    stems = [file.stem for file in files]
    return {
        file.stem if stems.count(file.stem) == 1 else f"options/{file.relative_to(OPTIONS).as_posix()}": file
        for file in files
    }


def about(file: Path) -> str:
    """What a file says of itself: the first sentence of its comment."""
    lines = takewhile(lambda line: line.startswith("# "), file.read_text(encoding="utf-8").splitlines())
    sentence = re.match(r".*?[.:](?=\s|$)", " ".join(line[2:].strip() for line in lines))
    return sentence[0].rstrip(":") if sentence else ""


def show(as_json: bool) -> None:
    """Print all files, folder by folder."""
    files = option_files()
    if as_json:
        print(to_json({"options": str(OPTIONS), "files": {name: about(file) for name, file in files.items()}}))
        return
    width = max(map(len, files))
    room = None
    for name, file in sorted(files.items(), key=lambda item: (item[1].parent, item[0])):
        if file.parent != room:
            room = file.parent
            print(f"\n{room.relative_to(OPTIONS.parent).as_posix()}")
        print(f"  {name:{width}} {about(file)}")


def with_bases(files: list[Path]) -> list[Path]:
    """Files and all that they are composed of, each once."""
    found: dict[Path, None] = {}
    waiting = [file.resolve() for file in files]
    while waiting:
        file = waiting.pop()
        if file in found:
            continue
        found[file] = None
        bases = yaml.safe_load(file.read_text(encoding="utf-8")).get(BASES, [])
        waiting += [(file.parent / base).resolve() for base in ([bases] if isinstance(bases, str) else bases)]
    return sorted(found)


def copy(arguments: argparse.Namespace) -> int:
    """Copy what was named; returns the exit code."""
    rooms = {folder.name: sorted(folder.rglob("*.yml")) for folder in sorted(OPTIONS.iterdir()) if folder.is_dir()}
    known = {**{name: [file] for name, file in option_files().items()}, **rooms}
    files = known.get(arguments.name.removesuffix(".yml")) or known.get(arguments.name)
    if files is None:
        print(f"error: no option file and no room {arguments.name!r}{nearest(arguments.name, known)}", file=sys.stderr)
        return 2
    root = OPTIONS.resolve()
    targets = {file: arguments.folder / file.relative_to(root) for file in with_bases(files)}
    there = next((target for target in targets.values() if target.exists()), None)
    if there and not arguments.overwrite:
        print(f"error: {there} exists; choose another folder, or give --overwrite", file=sys.stderr)
        return 2
    for file, target in targets.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    if arguments.json:
        print(to_json({"files": [str(target) for target in targets.values()]}))
    else:
        print(f"{arguments.folder}: {len(files)} option files, {len(targets) - len(files)} that they are composed of")
    return 0


def main() -> int:
    arguments = parse()
    try:
        if arguments.what == "copy":
            return copy(arguments)
        show(arguments.json)
    except BrokenPipeError:
        raise  # who reads the output has gone: no fault to report
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
