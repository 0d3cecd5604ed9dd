"""Ask the nearest neighbours of features for the degradation, as the paper does before and after training.

  dcpt knn --weights experiments/dcpt_promptir_5d/models/net_g_latest.pth
  dcpt knn --network Restormer --gt photographs --degradations gaussian_blur noise jpeg low_light
  dcpt knn --run experiments/dcpt_promptir_5d -opt options/test_promptir_5d.yml --figure curve.pdf

Each network stands beside random ones of its kind and beside raw pixels, without which its figure says nothing.
docs/STUDYING.md tells what is measured how.
"""

import argparse
from pathlib import Path

import dcpt_arch  # noqa: F401 - registers networks
from dcpt_common import to_json
from dcpt_common.arguments import whole
from dcpt_common.progress import ProgressBar
from dcpt_data import DataError
from dcpt_data.datasets.feature_crops import StudySource, study_crops
from dcpt_models.analysis.features.arguments import (
    options_of,
    settings_of,
    source_of,
    study_parser,
    subjects_of,
)
from dcpt_models.analysis.features.findings import conditions, study, study_pixels, table
from dcpt_models.analysis.features.probes import NEIGHBOURS, check_study
from dcpt_models.analysis.features.training_curve import (
    Point,
    check_tuned,
    curve_subjects,
    curve_table,
    draw_curve,
    final_psnr,
    published_curve,
)
from dcpt_models.analysis.run_records import run_checkpoints, validated
from dcpt_models.runtime.command import run_command
from dcpt_models.runtime.devices import choose_device
from dcpt_tools.places import ROOT, option_file


def parse() -> argparse.Namespace:
    parser = study_parser(str(__doc__))
    parser.add_argument("--states", type=whole(1), default=100, metavar="N", help="random splits (default: 100)")
    parser.add_argument(
        "--neighbours", type=whole(1), default=NEIGHBOURS, metavar="K", help=f"that decide (default: {NEIGHBOURS})"
    )
    run = parser.add_argument_group("the curve of a run")
    run.add_argument(
        "--run", type=Path, metavar="RUN", help="every checkpoint net_g_N.pth of a run, as experiments/NAME"
    )
    run.add_argument(
        "--tuned",
        nargs="+",
        type=tuned,
        default=[],
        metavar="N=RUN",
        help="runs that were fine-tuned from the checkpoint of iteration N; their last PSNR is shown with it",
    )
    run.add_argument("--figure", type=Path, metavar="FILE", help="draw the curve as .png, .svg or .pdf")
    arguments = parser.parse_args()
    if arguments.run and (arguments.weights or arguments.network):
        parser.error("--run stands for the networks; leave --weights and --network out")
    if not arguments.run and (arguments.figure or arguments.tuned):
        parser.error("--figure and --tuned go with --run RUN")
    return arguments


def tuned(text: str) -> tuple[int, Path]:
    number, equals, run = text.partition("=")
    if not (number.isdecimal() and equals and run):
        raise argparse.ArgumentTypeError(f"must be ITERATION=RUN, such as 25000=experiments/tuned_25k, not '{text}'")
    return int(number), Path(run)


def work() -> None:
    arguments = parse()
    check_study(arguments.figure)
    arguments.opt = arguments.opt and option_file(arguments.opt)
    options = options_of(arguments, ROOT)
    after, device, settings = dict(arguments.tuned), choose_device(arguments.device), settings_of(arguments)
    if arguments.run:
        subjects = curve_subjects(run_checkpoints(arguments.run), arguments.seeds)
        check_tuned(after, subjects)
        psnr = {iteration: final_psnr(validated(run), run) for iteration, run in after.items()}
    else:
        subjects = subjects_of(arguments, options)
    source = StudySource(**source_of(arguments, options))
    with ProgressBar(desc="images", leave=False) as bar:
        crops = study_crops(source, arguments.images, arguments.crop, arguments.seed, bar.report)
    findings = [study_pixels(crops.images, crops.labels, settings)]
    for subject in subjects:
        with ProgressBar(desc=subject.label, leave=False) as bar:
            findings.append(study(subject, crops.images, crops.labels, settings, device, bar.report))
    points: list[Point] = []
    if arguments.run:
        of_run = validated(arguments.run)
        at = [(one, one.iteration or 0) for one in findings[1:]]
        points = [Point(one, of_run.get(iteration, {}), psnr.get(iteration)) for one, iteration in at]
    if arguments.figure:
        draw_curve(findings[0], points, 1 / len(crops.counts), arguments.figure)
    about = conditions(source.about, crops.counts, arguments.images, arguments.crop, settings)
    if arguments.json:
        record = {"findings": [one.record() for one in findings], "curve": [point.record() for point in points]}
        print(to_json({**record, "images": crops.counts, "conditions": about}))
        return
    print(curve_table(findings[0], points) if points else table(findings))
    print("\n".join(["", *(f"* {key}: {value}" for key, value in about.items())]))
    if points:
        print(f"* the paper: {published_curve()}")


def main() -> int:
    return run_command(work, DataError)
