"""Store the networks of a run as small as possible: one that restores, and the classifier that was trained with it.

  dcpt pack experiments/package_finetune --out my_networks

Written are network.safetensors and classifier.safetensors, in float16, and options.yml, which has what is needed to
build them and nothing of the machine. The networks that come with the package are made so (--out dcpt_models/weights).
Use them by `dcpt restore` --weights network.safetensors, and by `dcpt diagnose` --classifier
classifier.safetensors --weights network.safetensors -opt options.yml.
"""

import argparse
from pathlib import Path

import dcpt_arch  # noqa: F401 - registers networks
from dcpt_common import to_json
from dcpt_models.inference.packaged import pack, rounding
from dcpt_models.runtime.command import add_import, run_command


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_import(parser)
    parser.add_argument("run", type=Path, help="folder of a finished run with a classifier")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder to write to")
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output, nothing else")
    return parser.parse_args()


def work() -> None:
    arguments = parse()
    package = pack(arguments.run, arguments.out, arguments.overwrite)
    files = {str(file): file.stat().st_size for file in package}
    difference = rounding(arguments.run, package)
    if arguments.json:
        print(to_json({"files": files, "difference": difference}))
        return
    for file, size in files.items():
        print(f"{file}: {size / 2**20:.2f} MiB")
    print(f"Rounding to float16 changes a pixel by {difference:.2g} of 255 at most")


def main() -> int:
    return run_command(work)
