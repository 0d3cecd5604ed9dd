"""Restore photographs: files, folders with all that is in them, or patterns, of any size.

  dcpt restore photo.jpg
  dcpt restore photo.jpg --weights experiments/finetune_promptir_5d/models/net_g_latest.pth

Results go to --out (default: restored) under the same names and paths, 8 or 16 bits, gray or colour, with their alpha
channel, colour profile and EXIF. What is there already is kept, unless --overwrite is given. Large photographs are
restored in overlapping tiles, as large as memory allows. The network is read off the checkpoint; without one, it is
the small one that comes with the package (dcpt_models/weights/README.md).
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from dcpt_arch.checkpoints.loading import load_network
from dcpt_common import to_json
from dcpt_common.arguments import between, whole
from dcpt_common.progress import ProgressBar
from dcpt_data import DataError
from dcpt_data.images.file_lists import Job, find_images, is_there, list_failures, name_targets
from dcpt_data.images.photograph_files import ImageFile, check_format, read_image_file, write_image_file
from dcpt_data.images.pixels import IMAGE_SUFFIXES
from dcpt_models.inference.packaged import default_package
from dcpt_models.inference.pipeline import overlapped
from dcpt_models.inference.restorer import OVERLAP, RestoreError, Restorer
from dcpt_models.runtime.command import add_import, refuse_file, run_command
from dcpt_models.runtime.devices import choose_device
from dcpt_models.runtime.logs import start_logger


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_import(parser)
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="file, folder, or pattern in quotes ('in/**/*.jpg')")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="checkpoint (default: the package's own)")
    parser.add_argument("--out", type=Path, default=Path("restored"), help="folder to write to (default: restored)")
    formats = sorted(suffix[1:] for suffix in IMAGE_SUFFIXES)
    parser.add_argument("--format", choices=formats, help="of the results (default: that of each image)")
    parser.add_argument("--overwrite", action="store_true", help="replace results that are there; never the images")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")
    parser.add_argument(
        "--precision",
        choices=["auto", "fp32", "bf16"],
        default="auto",
        help="auto (default) takes bf16 where the processor or GPU has it and it costs a result of 35 dB no more than "
        "0.02 dB, as tried on the first image",
    )
    parser.add_argument("--tta", action="store_true", help="average over 8 flips and rotations; takes 8 times as long")
    parser.add_argument(
        "--tile",
        type=whole(0),
        metavar="PIXELS",
        help="largest side of a tile, at least twice the overlap; 0: the whole image (default: by memory)",
    )
    parser.add_argument("--overlap", type=whole(0), default=OVERLAP, metavar="PIXELS", help=f"default: {OVERLAP}")
    memory = between(0, 1e6, "a number of gigabytes such as 4 or 0.5")
    parser.add_argument("--max-memory", type=memory, metavar="GB", help="what the process may take on the device")
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output, nothing else")
    return parser.parse_args()


def restore_all(jobs: list[Job], restorer: Restorer) -> list[dict[str, Any]]:
    """Restore every job's image; returns what became of each."""
    records: dict[Job, dict[str, Any]] = {job: {"input": str(job.source), "output": str(job.target)} for job in jobs}
    places = {job: place for place, job in enumerate(jobs)}
    form = "{l_bar}{bar}| {n:.4g} of {total_fmt} images [{elapsed}, {remaining} left]"
    with ProgressBar(total=len(jobs), bar_format=form, smoothing=0) as bar:

        def read(job: Job) -> ImageFile:
            image = read_image_file(job.source)
            check_format(image, job.target)
            return image

        def work(job: Job, image: ImageFile) -> ImageFile:
            begun = time.perf_counter()
            pixels, tiling = restorer.restore(
                image.pixels, lambda share: bar.report(places[job] + share, len(jobs), job.source.name)
            )
            height, width, _ = pixels.shape
            records[job] |= {"width": width, "height": height, "bits": 8 * pixels.itemsize, "tiles": tiling.count}
            records[job] |= {"tile": [tiling.across.tile, tiling.down.tile]}
            records[job]["seconds"] = round(time.perf_counter() - begun, 3)
            return replace(image, pixels=pixels)

        def write(job: Job, image: ImageFile) -> None:
            lost = (*image.lost, *write_image_file(job.target, image))
            if lost:
                records[job]["lost"] = list(lost)

        for job, error in overlapped(jobs, read, work, write, (DataError, RestoreError)):
            records[job] |= {"status": "failed", "error": str(error)} if error else {"status": "restored"}
        bar.update(len(jobs) - bar.n)
    return list(records.values())


def work() -> None:
    arguments = parse()
    refuse_file(arguments.out, "--out")
    device = choose_device(arguments.device)
    weights = arguments.weights or default_package().network
    suffix = f".{arguments.format}" if arguments.format else None
    jobs = name_targets(find_images(arguments.images, arguments.out), arguments.out, suffix)
    waiting = [job for job in jobs if arguments.overwrite or not is_there(job.target)]
    kept = [
        {"input": str(job.source), "output": str(job.target), "status": "kept"} for job in jobs if job not in waiting
    ]
    start_logger(None)
    begun = time.perf_counter()
    restorer = Restorer(
        load_network(weights),
        device,
        arguments.precision,
        arguments.tta,
        arguments.tile,
        arguments.overlap,
        arguments.max_memory and int(1e9 * arguments.max_memory),
    )
    records = restore_all(waiting, restorer)
    seconds = round(time.perf_counter() - begun, 3)
    failed = [record for record in records if record["status"] == "failed"]
    precision = str(restorer.dtype).removeprefix("torch.") if restorer.dtype else "nothing computed"
    if arguments.json:
        record = {
            "files": [*records, *kept],
            "network": type(restorer.network).__name__,
            "weights": str(weights),
            "device": str(device),
            "precision": precision,
            "seconds": seconds,
        }
        print(to_json(record))
    else:
        print(
            f"{len(records) - len(failed)} images restored to {arguments.out} by {type(restorer.network).__name__} "
            f"({device}, {precision}) in {seconds:.1f} s"
            + (f"; {len(kept)} were there already and are kept (--overwrite replaces them)" if kept else "")
        )
    if failed:
        errors = {Path(record["input"]): record["error"] for record in failed}
        raise RestoreError(list_failures(errors, len(jobs)))


def main() -> int:
    return run_command(work, DataError, RestoreError)
