"""Restore photographs: files, folders with all that is in them, or patterns, of any size.

  dcpt restore photo.jpg
  dcpt restore photo.jpg --weights experiments/finetune_promptir_5d/models/net_g_latest.pth
  dcpt restore photo.jpg --strength 0.7 --diagnose --sheets sheets
  dcpt restore dusk.jpg --remove low_light
  dcpt restore --watch scans --out restored

Results go to --out (default: restored) under the same names and paths, 8 or 16 bits, gray or colour, with their alpha
channel, colour profile and EXIF. What is there already is kept, unless --overwrite is given. Large photographs are
restored in overlapping tiles, as large as memory allows. The network is recognised from the checkpoint, ours or any
that spandrel knows (pip install "dcpt[spandrel]"; docs/CHECKPOINTS.md); without one, it is the small one that is
included in the package (dcpt_models/weights/README.md).
"""

import argparse
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from dcpt_arch.checkpoints.others import open_network
from dcpt_common import to_json
from dcpt_common.arguments import between, filled, whole
from dcpt_common.progress import ProgressBar
from dcpt_data import DataError
from dcpt_data.images.file_lists import Job, find_images, is_there, list_failures, name_targets
from dcpt_data.images.photograph_files import ImageFile, check_format, read_image_file, write_image_file
from dcpt_data.images.pixels import IMAGE_SUFFIXES
from dcpt_models.errors import OptionError
from dcpt_models.inference.diagnoser import Diagnoser, load_diagnoser, option_file_of
from dcpt_models.inference.packaged import default_package
from dcpt_models.inference.pipeline import overlapped
from dcpt_models.inference.restorer import OVERLAP, RestoreError, Restorer
from dcpt_models.inference.told import tell
from dcpt_models.runtime.command import add_import, refuse_file, run_command
from dcpt_models.runtime.devices import choose_device
from dcpt_models.runtime.logs import start_logger
from dcpt_tools.photographs.steps import Restoration, as_tensor, compare, in_words, restore_image
from dcpt_tools.photographs.watching import Watch

Record = dict[str, Any]


def strength(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 1 such as 0.7, not '{text}'")
    return value


def add_running(parser: argparse.ArgumentParser) -> None:
    """The switches that say how a network is run: of `dcpt restore` and of `dcpt app`."""
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")
    parser.add_argument(
        "--precision",
        choices=["auto", "fp32", "bf16"],
        default="auto",
        help="auto (default) takes bf16 where the processor or GPU has it and it costs a result of 35 dB no more than "
        "0.02 dB, as tried on the first image",
    )
    parser.add_argument(
        "--tile",
        type=whole(0),
        metavar="PIXELS",
        help="largest side of a tile, at least twice the overlap; 0: the whole image (default: the fastest that fits)",
    )
    parser.add_argument("--overlap", type=whole(0), default=OVERLAP, metavar="PIXELS", help=f"default: {OVERLAP}")
    memory = between(0, 1e6, "a number of gigabytes such as 4 or 0.5")
    parser.add_argument("--max-memory", type=memory, metavar="GB", help="what the process may take on the device")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_import(parser)
    parser.add_argument("images", nargs="*", metavar="IMAGE", help="file, folder, or pattern in quotes ('in/**/*.jpg')")
    parser.add_argument("--watch", type=Path, metavar="FOLDER", help="restore what comes into a folder, until Ctrl-C")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="checkpoint (default: the package's own)")
    parser.add_argument("--out", type=Path, default=Path("restored"), help="folder to write to (default: restored)")
    formats = sorted(suffix[1:] for suffix in IMAGE_SUFFIXES)
    parser.add_argument("--format", choices=formats, help="of the results (default: that of each image)")
    parser.add_argument("--overwrite", action="store_true", help="replace results that are there; never the images")
    parser.add_argument(
        "--strength",
        type=strength,
        default=1.0,
        help="0 to 1 (default): how much of what the network changes is taken; between, image and result are blended",
    )
    parser.add_argument(
        "--remove",
        type=filled,
        metavar="WHAT",
        help="what is wrong with the images, noise+jpeg for instance, where the network does not see it by itself, or "
        "sees what is not there; the included one knows noise, motion_blur, defocus_blur, jpeg, haze, snow, rain, "
        "demosaic, low_light and inpainting",
    )
    parser.add_argument(
        "--self-ensemble",
        "--tta",
        action="store_true",
        dest="tta",
        help="average over 8 flips and rotations; takes 8 times as long",
    )
    parser.add_argument("--diagnose", action="store_true", help="say which degradation each image has")
    parser.add_argument("--classifier", type=Path, metavar="FILE", help="diagnose by net_dc_N.pth of a run")
    parser.add_argument("--sheets", type=Path, metavar="FOLDER", help="write a PNG of each image beside its result")
    add_running(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output, nothing else")
    arguments = parser.parse_args()
    if bool(arguments.images) == bool(arguments.watch):
        parser.error("give images, or --watch FOLDER and no images")
    return arguments


class Tools(NamedTuple):
    """What every image passes through."""

    restorer: Restorer
    diagnoser: Diagnoser | None
    strength: float
    sheets: Path | None
    out: Path
    quiet: bool


def restore_all(jobs: list[Job], tools: Tools) -> list[Record]:
    """Restore every job's image, and print a line of each once it is written; returns what became of each."""
    if not jobs:
        return []
    records: dict[Job, Record] = {job: {"input": str(job.source), "output": str(job.target)} for job in jobs}
    places = {job: place for place, job in enumerate(jobs)}
    form = "{l_bar}{bar}| {n:.4g} of {total_fmt} images [{elapsed}, {remaining} left]"
    with ProgressBar(total=len(jobs), bar_format=form, smoothing=0) as bar:

        def read(job: Job) -> ImageFile:
            image = read_image_file(job.source)
            check_format(image, job.target)
            return image

        def work(job: Job, image: ImageFile) -> Restoration:
            bar.report(places[job], len(jobs), job.source.name)
            if tools.diagnoser:
                found = tools.diagnoser.diagnose(as_tensor(image.pixels))
                records[job]["diagnosis"] = {**asdict(found), "words": in_words(found)}
            made = restore_image(image, tools.restorer, lambda share: bar.report(places[job] + share, len(jobs)))
            records[job] |= made.facts()
            return made

        def write(job: Job, made: Restoration) -> None:
            result = made.at(tools.strength)
            lost = (*result.lost, *write_image_file(job.target, result))
            if lost:
                records[job]["lost"] = list(lost)
            if tools.sheets:
                sheet = tools.sheets / f"{job.target.relative_to(tools.out)}.png"
                write_image_file(sheet, compare(made.original, result, f"{job.source.name}: {told(records[job])}"))
                records[job]["sheet"] = str(sheet)

        for job, error in overlapped(jobs, read, work, write, (DataError, RestoreError)):
            records[job] |= {"status": "failed", "error": str(error)} if error else {"status": "restored"}
            if not (error or tools.quiet):
                tqdm.write(f"{job.source} -> {job.target}: {told(records[job])}", file=sys.stdout)
        bar.update(len(jobs) - bar.n)
    return list(records.values())


def told(record: Record) -> str:
    """What was done to an image, in words."""
    tiles = f", {record['tiles']} tiles of {record['tile'][0]} x {record['tile'][1]}" if record["tiles"] > 1 else ""
    found = f"; {record['diagnosis']['words']}" if "diagnosis" in record else ""
    return f"{record['width']} x {record['height']}{tiles}, {record['seconds']:.1f} s{found}"


def diagnoser_of(arguments: argparse.Namespace) -> Diagnoser | None:
    """What tells the degradations: the package's own networks, or those of `--classifier`; None if nobody asks.

    Raises:
        OptionError, CheckpointError: As `load_diagnoser`.
    """
    if not (arguments.diagnose or arguments.classifier):
        return None
    device = choose_device(arguments.device)
    if arguments.classifier:
        return load_diagnoser(arguments.classifier, None, option_file_of(arguments.classifier), device)
    package = default_package()
    return load_diagnoser(package.classifier, package.network, package.options, device)


def restorer_of(arguments: argparse.Namespace, weights: Path) -> Restorer:
    """The network of a checkpoint, to be run as `add_running` says.

    Raises:
        OptionError, CheckpointError, RestoreError: If there is no such device, no network for photographs, or none that
            can be told what to remove.
    """
    network = open_network(weights)
    return Restorer(
        network,
        choose_device(arguments.device),
        arguments.precision,
        arguments.tta,
        arguments.tile,
        arguments.overlap,
        arguments.max_memory and int(1e9 * arguments.max_memory),
        tell(network, arguments.remove, weights) if arguments.remove else None,
    )


def find_jobs(images: Iterable[str], arguments: argparse.Namespace, may_be_none: bool = False) -> list[Job]:
    """What is to be read, and where the results go; sheets of an earlier call are passed over.

    Raises:
        DataError: As `find_images`, unless there may be no images, and as `name_targets`.
    """
    suffix = f".{arguments.format}" if arguments.format else None
    try:
        found = find_images(images, arguments.out)
    except DataError:
        if not may_be_none:
            raise
        found = {}
    if arguments.sheets:
        sheets = arguments.sheets.resolve()
        found = {file: name for file, name in found.items() if not file.resolve().is_relative_to(sheets)}
    return name_targets(found, arguments.out, suffix)


def watch(folder: Path, arguments: argparse.Namespace, tools: Tools) -> list[Record]:
    """Restore what comes into a folder until the user interrupts; returns what became of each image."""
    records: dict[str, Record] = {}
    watched = Watch()
    print(f"Watching {folder}; Ctrl-C ends it", file=sys.stderr)
    try:
        while True:
            ready = watched.ready(find_jobs([str(folder)], arguments, may_be_none=True))
            for record in restore_all([job for job in ready if arguments.overwrite or not is_there(job.target)], tools):
                records[record["input"]] = record
                if record["status"] == "failed":
                    print(f"error: {record['error']}", file=sys.stderr)
            time.sleep(watched.seconds)
    except KeyboardInterrupt:
        return list(records.values())


def work() -> None:
    arguments = parse()
    for folder, option in ((arguments.out, "--out"), (arguments.sheets, "--sheets")):
        if folder:
            refuse_file(folder, option)
    weights = arguments.weights or default_package().network
    jobs: list[Job] = []
    if arguments.watch is None:
        jobs = find_jobs(arguments.images, arguments)
    elif not arguments.watch.is_dir():
        raise OptionError(f"--watch {arguments.watch}: no such folder; make it first")
    elif arguments.out.resolve() == arguments.watch.resolve():
        raise OptionError(f"--watch {arguments.watch} and --out must be two folders; results are not to be restored")
    waiting = [job for job in jobs if arguments.overwrite or not is_there(job.target)]
    kept = [
        {"input": str(job.source), "output": str(job.target), "status": "kept"} for job in jobs if job not in waiting
    ]
    start_logger(None)
    begun = time.perf_counter()
    restorer = restorer_of(arguments, weights)
    tools = Tools(
        restorer, diagnoser_of(arguments), arguments.strength, arguments.sheets, arguments.out, arguments.json
    )
    records = watch(arguments.watch, arguments, tools) if arguments.watch else restore_all(waiting, tools)
    seconds = round(time.perf_counter() - begun, 3)
    failed = [record for record in records if record["status"] == "failed"]
    precision = str(restorer.dtype).removeprefix("torch.") if restorer.dtype else "nothing computed"
    if arguments.json:
        record = {
            "files": [*records, *kept],
            "network": restorer.name,
            "weights": str(weights),
            "device": str(restorer.device),
            "precision": precision,
            "scale": restorer.scale,
            "strength": arguments.strength,
            "remove": arguments.remove,
            "self_ensemble": arguments.tta,
            "seconds": seconds,
        }
        print(to_json(record))
    else:
        print(
            f"{len(records) - len(failed)} images restored to {arguments.out} by {restorer.name} "
            f"({restorer.device}, {precision}) in {seconds:.1f} s"
            + (f"; {len(kept)} were there already and are kept (--overwrite replaces them)" if kept else "")
        )
    if failed:
        errors = {Path(record["input"]): record["error"] for record in failed}
        raise RestoreError(list_failures(errors, len(jobs) or len(records)))


def main() -> int:
    return run_command(work, DataError, RestoreError)
