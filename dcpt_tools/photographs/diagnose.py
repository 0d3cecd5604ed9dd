"""Tell which degradation photographs have, and where, by a pre-trained backbone and its classifier.

  dcpt diagnose photo.jpg --maps maps
  dcpt diagnose photo.jpg --classifier experiments/dcpt_promptir_5d/models/net_dc_latest.pth
  dcpt diagnose --calibrate --classifier experiments/dcpt_promptir_5d/models/net_dc_latest.pth

Without --classifier it is the networks that come with the package (dcpt_models/weights/README.md). Of one's own, the
third command comes first: on the validation sets of the run's option file it finds how far the classifier's confidence
can be trusted, and from where on an image has none of its degradations or an unfamiliar one. The result is written
beside the classifier. The backbone is net_g_N.pth beside net_dc_N.pth; the option file is the run's.
"""

import argparse
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

import dcpt_arch  # noqa: F401 - registers networks
import dcpt_models  # noqa: F401 - registers models
from dcpt_common import CLEAN, to_json
from dcpt_common.arguments import between
from dcpt_common.progress import ProgressBar
from dcpt_data import DataError, build_val_loaders, check_folders
from dcpt_data.images.file_lists import Job, find_images, is_there, list_failures, name_targets
from dcpt_data.images.photograph_files import ImageFile, read_image_file, write_image_file
from dcpt_models.errors import OptionError
from dcpt_models.inference.calibration import calibrate
from dcpt_models.inference.diagnoser import Diagnoser, Diagnosis, calibration_file, load_diagnoser, option_file_of
from dcpt_models.inference.diagnosis_sheet import draw
from dcpt_models.inference.packaged import default_package
from dcpt_models.inference.pipeline import overlapped
from dcpt_models.methods.labels import multi_hot
from dcpt_models.options.command_line import datasets_of
from dcpt_models.runtime.command import add_import, refuse_file, run_command
from dcpt_models.runtime.devices import choose_device
from dcpt_models.runtime.logs import start_logger
from dcpt_tools.photographs.steps import as_shown, as_tensor, in_words
from dcpt_tools.places import ROOT, option_file


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_import(parser)
    parser.add_argument("images", nargs="*", metavar="IMAGE", help="file, folder, or pattern in quotes ('in/**/*.jpg')")
    parser.add_argument("--classifier", type=Path, metavar="FILE", help="net_dc_N.pth of a run (default: our own)")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="the backbone (default: net_g_N.pth beside it)")
    parser.add_argument("-opt", metavar="FILE", help="option file of the run (default: the one archived in it)")
    parser.add_argument("--maps", type=Path, metavar="FOLDER", help="write a PNG of each image that shows where")
    parser.add_argument("--overwrite", action="store_true", help="replace maps that are there")
    parser.add_argument("--calibrate", action="store_true", help="find temperature and limit on the validation sets")
    parser.add_argument(
        "--false-alarms",
        type=between(0, 1, "a share between 0 and 1 such as 0.05"),
        default=0.05,
        metavar="SHARE",
        help="of images with a known degradation that may be called unfamiliar (with --calibrate; default: 0.05)",
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output, nothing else")
    arguments = parser.parse_args()
    if arguments.calibrate == bool(arguments.images):
        parser.error("give images, or --calibrate and no images")
    if not arguments.classifier and (arguments.weights or arguments.opt or arguments.calibrate):
        parser.error("--weights, -opt and --calibrate are about the classifier of a run; give it by --classifier")
    return arguments


def as_stored(image: torch.Tensor) -> torch.Tensor:
    """An image as it would come from a file of 8 bits; noise of a data set is not clipped."""
    return (image.clamp(0, 1) * 255).round() / 255


def fit(diagnoser: Diagnoser, options: str, arguments: argparse.Namespace) -> None:
    """Calibrate on the validation sets of an option file, and on their clean images."""
    datasets = {key: opt for key, opt in datasets_of(options, ROOT).items() if key.split("_")[0] != "train"}
    check_folders(datasets)
    loaders = build_val_loaders(datasets)
    logits, labels = [], []
    clean: dict[str, np.ndarray] = {}  # by file, since sets can be of the same photographs
    with ProgressBar(total=sum(len(loader) for loader in loaders), unit="image") as bar:
        for loader in loaders:
            for batch in loader:
                logits.append(diagnoser.logits(as_stored(batch["lq"][0])))
                labels.append(batch["degradation"][0])
                file = batch["gt_path"][0]
                if CLEAN not in diagnoser.names and file not in clean:
                    clean[file] = diagnoser.logits(batch["gt"][0])
                bar.update()
    try:
        targets = np.array(multi_hot(labels, diagnoser.names))
        found = calibrate(
            np.stack(logits),
            targets,
            np.array(list(clean.values())),
            diagnoser.multi_label,
            arguments.false_alarms,
            diagnoser.crop,
            diagnoser.weights,
        )
    except ValueError as error:
        raise OptionError(f"{option_file}: {error}") from error
    file = calibration_file(arguments.classifier)
    found.write(file)
    if arguments.json:
        print(to_json({"file": str(file), **asdict(found)}))
        return
    half = found.held_out
    print(
        f"{file}: temperature {found.temperature:.3f} from {found.images} images\n"
        f"On one half of them, with what was found on the other: accuracy {half['accuracy']:.1%}; negative "
        f"log-likelihood {half['nll']:.3f} ({half['nll_uncalibrated']:.3f} before), calibration error "
        f"{half['error']:.3f} ({half['error_uncalibrated']:.3f}); {half['false_alarms']:.1%} called unfamiliar"
        + (f"; of their clean images {half['clean_unfamiliar']:.1%}" if "clean_unfamiliar" in half else "")
    )


def diagnose(diagnoser: Diagnoser, arguments: argparse.Namespace) -> None:
    """Diagnose images and print what was found."""
    out = arguments.maps or Path("maps")
    if arguments.maps:
        refuse_file(out, "--maps")
    jobs = name_targets(find_images(arguments.images, out), out, ".png")
    if arguments.maps and not arguments.overwrite:
        there = [job.target for job in jobs if is_there(job.target)]
        if there:
            raise OptionError(f"{there[0]} exists; choose another --maps, or give --overwrite")
    found: dict[Job, Diagnosis] = {}
    failures: dict[Path, str] = {}
    begun = time.perf_counter()

    def read(job: Job) -> np.ndarray:
        return read_image_file(job.source).pixels

    def work(job: Job, pixels: np.ndarray) -> ImageFile | None:
        image = as_tensor(pixels)
        found[job] = diagnosis = diagnoser.diagnose(image)
        if not arguments.maps:
            return None
        return ImageFile(draw(as_shown(pixels), diagnoser.evidence(image, diagnosis.leading), diagnosis))

    def write(job: Job, sheet: ImageFile | None) -> None:
        if sheet:
            write_image_file(job.target, sheet)

    with ProgressBar(total=len(jobs), unit="image") as bar:
        for job, error in overlapped(jobs, read, work, write, (DataError,)):
            if error:
                failures[job.source] = str(error)
            bar.update()
    records = [
        {"input": str(job.source), **asdict(found[job]), "map": str(job.target) if arguments.maps else None}
        for job in jobs
        if job.source not in failures
    ]
    summary = Counter(record["answer"] for record in records)
    if arguments.json:
        answer = {
            "files": records,
            "failed": [{"input": str(path), "error": error} for path, error in failures.items()],
            "summary": dict(summary.most_common()),
            "calibrated": diagnoser.calibration is not None,
            "weights": diagnoser.weights,
            "seconds": round(time.perf_counter() - begun, 3),
        }
        print(to_json(answer))
    else:
        for job in (job for job in jobs if job.source not in failures):
            print(f"{job.source}: {in_words(found[job])}")
        if len(records) > 1:
            counts = ", ".join(f"{count} {answer}" for answer, count in summary.most_common())
            print(f"{len(records)} images: {counts}")
        if diagnoser.calibration is None:
            print("Not calibrated: confidence can be far off, and unfamiliar images get an answer too. See --calibrate")
    if failures:
        raise DataError(list_failures(failures, len(jobs)))


def work() -> None:
    arguments = parse()
    device = choose_device(arguments.device)
    start_logger(None)
    if arguments.classifier:
        options = Path(option_file(arguments.opt)) if arguments.opt else option_file_of(arguments.classifier)
        files = (arguments.classifier, arguments.weights, options)
    else:
        package = default_package()
        files = (package.classifier, package.network, package.options)
    diagnoser = load_diagnoser(*files, device, calibrated=not arguments.calibrate)
    if arguments.calibrate:
        fit(diagnoser, str(files[2]), arguments)
    else:
        diagnose(diagnoser, arguments)


def main() -> int:
    return run_command(work, DataError)
