"""Write the network of a run as a folder with a model card, and upload it to the Hugging Face Hub.

  dcpt hub experiments/finetune_promptir_5d --out my_network
  dcpt hub experiments/finetune_promptir_5d --push owner/name --private

The folder has model.safetensors (averaged weights, if the run has such), config.json and README.md, the card: what the
network is, how it was trained, what its last validation measured. It is opened by load_network("my_network") or
load_network("hf://owner/name"), and by `dcpt restore` --weights with the same names. To upload needs
`pip install -e ".[hub]"` and an account (`hf auth login`, or the variable HF_TOKEN).
"""

import argparse
from pathlib import Path

import dcpt_arch  # noqa: F401 - registers networks
from dcpt_arch.checkpoints.loading import load_network
from dcpt_common import to_json
from dcpt_models.analysis.model_card import model_card
from dcpt_models.analysis.run_records import newest
from dcpt_models.errors import OptionError, RunError
from dcpt_models.runtime.command import add_import, run_command


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_import(parser)
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="folder to write to")
    parser.add_argument("--push", metavar="OWNER/NAME", help="repository to upload to; it is made if it is not there")
    parser.add_argument("--private", action="store_true", help="make it one that its owner alone sees")
    parser.add_argument("--license", metavar="NAME", help="of the weights, as the Hub names it, such as cc-by-nc-4.0")
    parser.add_argument("--overwrite", action="store_true", help="replace the files in FOLDER if they are there")
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output, nothing else")
    arguments = parser.parse_args()
    if not (arguments.out or arguments.push):
        parser.error("say where to: --out FOLDER, --push OWNER/NAME, or both")
    if arguments.push and len(list(filter(None, arguments.push.split("/")))) != 2:
        parser.error(f"--push must be OWNER/NAME, not {arguments.push!r}")
    return arguments


def work() -> None:
    arguments = parse()
    out = arguments.out
    if out and out.exists() and not (out.is_dir() and (arguments.overwrite or not any(out.iterdir()))):
        raise OptionError(f"{out} exists and is not empty; choose another folder, or give --overwrite")
    if not (arguments.run / "models").is_dir():
        raise OptionError(f"{arguments.run}: no training run; give its folder, such as experiments/NAME")
    network = load_network(newest(arguments.run, "g"))
    address = f"hf://{arguments.push}" if arguments.push else out.name
    card = model_card(arguments.run, network, address, arguments.license)
    if out:
        network.save_pretrained(out, card)
    if arguments.push:
        try:
            network.push_to_hub(arguments.push, card, arguments.private)
        except ImportError as error:
            raise RunError(str(error)) from error
    record = {"folder": str(out) if out else None, "address": address if arguments.push else None}
    if arguments.json:
        print(to_json({**record, "network": type(network).__name__}))
        return
    if out:
        print(f"{out}: {type(network).__name__} as model.safetensors, with config.json and README.md")
    if arguments.push:
        print(f"https://huggingface.co/{arguments.push}: uploaded; open it by load_network({address!r})")


def main() -> int:
    return run_command(work)
