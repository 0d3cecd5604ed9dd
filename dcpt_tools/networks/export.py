"""Write a trained network for other programs, and compare what was written with the network.

  dcpt export experiments/finetune_promptir_5d/models/net_g_latest.pth --format onnx

Formats: safetensors and pth hold weights, in our layout or (--layout original) under the names of the original project;
torch is a program of torch.export (.pt2); onnx takes any batch, height and width. No option file is needed.
"""

import argparse
import sys
from pathlib import Path

from dcpt_arch.checkpoints.export import ENDINGS, TOLERANCE, ExportError, export_network
from dcpt_arch.checkpoints.loading import find_weights, load_network, read_checkpoint
from dcpt_common import to_json
from dcpt_models.errors import OptionError
from dcpt_models.runtime.command import add_import, run_command

GRAPHS = ("torch", "onnx")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_import(parser)
    parser.add_argument("checkpoint", type=Path, help="a checkpoint of any project that load_network knows")
    parser.add_argument("--format", choices=list(ENDINGS), required=True, help="what to write")
    parser.add_argument("--layout", choices=["ours", "original"], help="names of the weights (default: ours)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: beside the checkpoint, with its name")
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it exists")
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output, nothing else")
    arguments = parser.parse_args()
    ending = ENDINGS[arguments.format]
    if arguments.layout and arguments.format in GRAPHS:
        parser.error(f"--layout names weights; {arguments.format} has none")
    if arguments.out and arguments.out.suffix != ending:
        parser.error(f"--out must end with {ending} for --format {arguments.format}")
    name = arguments.checkpoint.stem + ("_original" if arguments.layout == "original" else "") + ending
    arguments.out = arguments.out or arguments.checkpoint.with_name(name)
    return arguments


def work() -> None:
    arguments = parse()
    out = arguments.out
    content = read_checkpoint(arguments.checkpoint)
    if out.exists() and out.samefile(arguments.checkpoint):
        raise OptionError(f"{out} is the checkpoint itself; choose another --out")
    if out.exists() and not arguments.overwrite:
        raise OptionError(f"{out} exists; choose another --out, or give --overwrite")
    network = load_network(arguments.checkpoint)
    print(f"Writing {out}, opening it again, and comparing it with {type(network).__name__} ...", file=sys.stderr)
    checked = export_network(network, out, arguments.layout or "ours", arguments.overwrite)
    record = {
        "file": str(out),
        "bytes": out.stat().st_size,
        "network": type(network).__name__,
        "weights": find_weights(content).key,
        "sizes": checked.sizes,
        "difference": checked.difference,
    }
    if arguments.json:
        print(to_json(record))
        return
    sizes = " and ".join(f"{height} x {width}" for height, width in checked.sizes)
    taken = f" of '{record['weights']}'" if record["weights"] else ""
    print(f"{out}: {record['network']}, weights{taken}, {record['bytes'] / 2**20:.1f} MiB")
    print(
        f"Opened again, it differs from the network by {checked.difference:.1g} at {sizes} ({TOLERANCE:g} is allowed)"
    )


def main() -> int:
    return run_command(work, ExportError)
