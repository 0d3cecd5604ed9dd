"""See DCPT work, without data and without a GPU: pre-train, fine-tune and compare, in about nine minutes on two cores.

  dcpt demo

A small NAFNet is pre-trained with DCPT on five degradations (haze, rain, noise, motion blur, low light), synthesised
from the photographs that scikit-image installs, and fine-tuned to remove them; the test photographs are others. It uses
the commands, models and data sets of the real job, with options/demo_dcpt.yml and options/demo_finetune.yml.

Written to --out (default: demo): photographs/, the two runs dcpt/ and finetune/ with their logs and checkpoints,
comparison.png (input | restored | ground truth, a row for each degradation), table.md and results.json; with
`pip install -e ".[study]"` also report.html, which shows both runs.
"""

import argparse
import contextlib
import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch

import dcpt_arch  # noqa: F401 - registers networks
from dcpt_arch.checkpoints.loading import load_network
from dcpt_common import to_json, with_nan
from dcpt_data import DataError, DegradationDataset
from dcpt_data.images.pixels import to_uint8, write_image
from dcpt_data.images.sample_photographs import SCIENCE, TEST, TRAIN, write_photographs, write_tiles
from dcpt_models.errors import OptionError
from dcpt_models.evaluation.table import Method, Table
from dcpt_models.options.command_line import add_force_yml
from dcpt_models.options.files import read_options
from dcpt_models.runtime.command import DONE, INTERRUPTED, run_command
from dcpt_tools.option_folder import OPTIONS

# In pixels. Photographs are reduced, so that a training crop shows much of one. Test photographs are cut for the
# classifier, so that two of them give it enough samples.
LARGEST, TEST_TILE = 320, 128


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("--out", type=Path, default=Path("demo"), help="folder to write to (default: demo)")
    result.add_argument("--seed", type=int, default=0, help="seed of everything random (default: 0)")
    add_force_yml(result, "replace options of both runs, e.g. train:total_iter=100")
    result.add_argument("--json", action="store_true", help="print one JSON object on standard output, nothing else")
    return result


def train(option_file: str, out: Path, force: list[str]) -> Path:
    """Train as a user would, its log with the time left on standard error; returns the run's folder."""
    command = [sys.executable, "-m", "dcpt_tools", "train", "-opt", str(OPTIONS / option_file)]
    code = None
    with subprocess.Popen([*command, "--force_yml", *force], cwd=out, stdout=sys.stderr) as process:
        while code is None:
            # Ctrl-C reaches the launcher as well, which saves its state before it ends.
            with contextlib.suppress(KeyboardInterrupt):
                code = process.wait()
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code != DONE:
        raise OSError(f"options/{option_file} ended with exit code {code}; see above")
    return out / str(read_options(OPTIONS / option_file).values["path"]["experiments_root"])


def validations(run: Path) -> list[dict]:
    """The results of every validation of a run, oldest first."""
    lines = (run / "validation.jsonl").read_text(encoding="utf-8").splitlines()
    return [with_nan(json.loads(line)["results"]) for line in lines]


def labelled(image: torch.Tensor, text: str) -> np.ndarray:
    """An image of a data set as uint8 pixels, with a caption in its upper left corner."""
    pixels = np.ascontiguousarray(to_uint8(image.permute(1, 2, 0).numpy()))
    for colour, thickness in ((0, 0, 0), 4), ((255, 255, 255), 1):
        cv2.putText(pixels, text, (8, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.6, colour, thickness, cv2.LINE_AA)
    return pixels


def comparison(out: Path) -> Path:
    """Draw input, restored image and ground truth of the first test photograph under every degradation."""
    network = load_network(out / "finetune" / "models" / "net_g_latest.pth")
    rows = []
    for key, section in read_options(OPTIONS / "demo_finetune.yml").values["datasets"].items():
        if key.startswith("val"):
            root = str(out / section["dataroot_gt"])
            sample = DegradationDataset({**section, "phase": "test", "dataroot_gt": root})[0]
            with torch.no_grad():
                restored = network(sample["lq"][None])[0]
            images = {"input": sample["lq"], "restored": restored, "ground truth": sample["gt"]}
            rows.append(np.hstack([labelled(image, f"{section['name']}: {name}") for name, image in images.items()]))
    file = out / "comparison.png"
    write_image(file, np.vstack(rows))
    return file


def report(out: Path) -> str | None:
    """Make the report of both runs, if the libraries that it needs are installed; returns where it is."""
    if not all(importlib.util.find_spec(name) for name in ("sklearn", "matplotlib")):
        return None
    print("Making the report", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "dcpt_tools", "report", str(out)], check=True, stdout=sys.stderr)
    return str(out / "report.html")


def work() -> None:
    arguments = parser().parse_args()
    out = arguments.out.absolute()
    if out.exists() and any(out.iterdir()):
        raise OptionError(f"{out} is not empty; remove it or choose another --out")
    begun = time.time()
    write_photographs(out / "photographs" / "train", {**TRAIN, **SCIENCE}, LARGEST)
    write_photographs(out / "photographs" / "test", TEST, LARGEST)
    write_tiles(out / "photographs" / "test_tiles", TEST, TEST_TILE, LARGEST)
    force = [f"manual_seed={arguments.seed}", *arguments.force_yml]
    print("Step 1 of 2: pre-training by degradation classification", file=sys.stderr)
    accuracy = [results["average"]["accuracy"] for results in validations(train("demo_dcpt.yml", out, force))]
    print("Step 2 of 2: fine-tuning", file=sys.stderr)
    results = validations(train("demo_finetune.yml", out, force))[-1]

    table = Table([Method("Restored", results)]).markdown()
    sentence = (
        f"Top-1 accuracy of the classifier: {accuracy[0]:.1%} at the start, {accuracy[-1]:.1%} after pre-training."
    )
    (out / "table.md").write_text(f"{table}\n\n{sentence}\n", encoding="utf-8")
    record = {
        "results": results,
        "accuracy_at_start": accuracy[0],
        "accuracy_at_end": accuracy[-1],
        "table": str(out / "table.md"),
        "pictures": str(comparison(out)),
        "report": report(out),
        "seconds": round(time.time() - begun, 1),
    }
    (out / "results.json").write_text(to_json(record, indent=1), encoding="utf-8")
    if arguments.json:
        print(to_json(record))
    else:
        hint = 'pip install -e ".[study]" && dcpt report ' + str(arguments.out)
        print(f"\n{table}\n\n{sentence}\nPictures: {record['pictures']}\nReport: {record['report'] or hint}")


def main() -> int:
    return run_command(work, DataError)
