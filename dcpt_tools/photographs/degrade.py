"""Degrade a photograph, or draw all degradations of it on one labelled sheet.

  dcpt degrade photo.jpg --name haze --seed 3 --parameters beta=1.2 --out hazy.png
  dcpt degrade photo.jpg --name low_light+rain --parameters rain.density=[0.1,0.2] --out dark_and_wet.png
  dcpt degrade --sheet degradations.jpg
  dcpt degrade photo.jpg --sheet restored.jpg --restored

docs/DEGRADATIONS.md lists names and parameters. A value is a number, [low,high] to draw between, or three choices and
more. The sheet is of the given photograph, or of one that scikit-image installs; with --restored it has, beside each
degradation that the included network knows, what this restores.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dcpt_common import CLEAN, to_json
from dcpt_common.arguments import whole
from dcpt_data import DataError
from dcpt_data.degradations import check_parameters, degradation_names, degrade, degrade_for_evaluation, labels
from dcpt_data.degradations.registry import Image
from dcpt_data.degradations.sheet import contact_sheet
from dcpt_data.images.pixels import read_image, to_float, to_uint8, write_image
from dcpt_data.images.sample_photographs import TEST
from dcpt_models.errors import OptionError
from dcpt_models.inference.packaged import default_package
from dcpt_models.options.files import read_options
from dcpt_models.runtime.command import add_import, run_command

EXAMPLE = "low_light+haze+rain"  # of a composition, as the sheet's last picture


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_import(parser)
    parser.add_argument("photograph", type=Path, nargs="?", help="an image file")
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--name", help="degrade the photograph: a degradation, or several joined by +")
    task.add_argument("--sheet", type=Path, metavar="FILE", help="draw all degradations of the photograph into a file")
    parser.add_argument("--restored", action="store_true", help="with --sheet: and what the included network restores")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the degraded image, 8 bit (needed with --name)")
    parser.add_argument("--seed", type=whole(0), help="of what is random (default: 0)")
    parser.add_argument(
        "--parameters", nargs="+", default=[], metavar="KEY=VALUE", help="PART.KEY=VALUE in a composition"
    )
    parser.add_argument(
        "--evaluation", action="store_true", help="as at evaluation: what is random follows from the file's name"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it exists")
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output, nothing else")
    arguments = parser.parse_args()
    if arguments.name is not None and not (arguments.photograph and arguments.out):
        parser.error("--name needs a photograph and --out FILE")
    if arguments.sheet and (arguments.out or arguments.parameters or arguments.evaluation):
        parser.error("--sheet FILE goes with a photograph and --seed alone")
    if arguments.restored and not arguments.sheet:
        parser.error("--restored goes with --sheet FILE")
    if arguments.evaluation and arguments.seed is not None:
        parser.error("--seed is for training; with --evaluation, what is random follows from the file's name")
    arguments.seed = arguments.seed or 0
    return arguments


def parameters(name: str, texts: list[str]) -> dict[str, Any]:
    """The parameters of a degradation or composition, from KEY=VALUE or PART.KEY=VALUE.

    Raises:
        OptionError: If the name, a key or a value is wrong.
    """
    values: dict[str, Any] = {}
    try:
        composed = len(labels(name)) > 1
        for text in texts:
            key, equals, value = text.partition("=")
            part, dot, own = key.partition(".")
            if not equals or bool(dot) != composed:
                form = "PART.KEY=VALUE, such as rain.density=0.1" if composed else "KEY=VALUE, such as sigma=25"
                raise OptionError(f"--parameters of '{name}' must be {form}, got '{text}'")
            (values.setdefault(part, {}) if composed else values)[own if composed else key] = _value(value)
        check_parameters(name, values)
    except ValueError as error:
        raise OptionError(str(error)) from error
    return values


def _value(text: str) -> Any:
    """A number, list or boolean as JSON writes it; anything else is a word."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def known_and_restored() -> tuple[list[str], Callable[[Image], Image]]:
    """The degradations that the included network knows, and what restores an image H x W x 3 in [0, 1]."""
    import torch  # imported here: degrading alone is quick

    from dcpt_arch.checkpoints.loading import load_network

    package = default_package()
    network = load_network(package.network)

    def restore(image: Image) -> Image:
        with torch.inference_mode():
            found = network(torch.from_numpy(image).permute(2, 0, 1)[None])[0].clamp(0, 1)
        return np.ascontiguousarray(found.permute(1, 2, 0).numpy())

    return [name for name in read_options(package.options).values["degradations"] if name != CLEAN], restore


def work() -> None:
    arguments = parse()
    out = arguments.sheet or arguments.out
    values = parameters(arguments.name, arguments.parameters) if arguments.name is not None else {}
    if out.exists() and arguments.photograph and arguments.photograph.exists() and out.samefile(arguments.photograph):
        raise OptionError(f"{out} is the photograph itself; choose another file")
    if out.exists() and not arguments.overwrite:
        raise OptionError(f"{out} exists; choose another file, or give --overwrite")
    photograph = read_image(arguments.photograph) if arguments.photograph else TEST["coffee"]()
    if arguments.sheet:
        names, restore = known_and_restored() if arguments.restored else ([*degradation_names(), EXAMPLE], None)
        write_image(out, contact_sheet(photograph, names, arguments.seed, restore))
    else:
        names = list(labels(arguments.name))
        image = to_float(photograph)
        if arguments.evaluation:
            degraded = degrade_for_evaluation(arguments.name, image, arguments.photograph.name, **values)
        else:
            degraded = degrade(arguments.name, image, np.random.default_rng(arguments.seed), **values)
        write_image(out, to_uint8(degraded))
    if arguments.json:
        print(to_json({"file": str(out), "degradations": names, "parameters": values}))
    else:
        print(f"{out}: {', '.join(names)}")


def main() -> int:
    return run_command(work, DataError)
