"""Make a report of a run, or of all runs in a folder: one HTML file that needs nothing else.

  dcpt report experiments/dcpt_nafnet_5d
  dcpt report demo --out demo.html

It has the options, the curves, the last validation beside the published table, and, from the newest checkpoint and the
validation sets of the options: the classifier's confusion matrix, t-SNE of the features, and restored examples with a
slider. What cannot be made any more, since data or checkpoints are gone, is said in its place.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import torch

import dcpt_arch  # noqa: F401 - registers networks
from dcpt_arch.checkpoints.loading import CheckpointError
from dcpt_common import to_json
from dcpt_common.arguments import whole
from dcpt_common.progress import ProgressBar
from dcpt_data import DataError, build_val_loaders, check_folders
from dcpt_data.datasets.feature_crops import StudySource, study_crops
from dcpt_data.preparation.stand_ins import stand_ins
from dcpt_models.analysis.features.probes import check_study
from dcpt_models.analysis.report.contents import describe, study_features
from dcpt_models.analysis.report.page import CONFUSION, EXAMPLES, POINTS, TABLE, RunReport, page
from dcpt_models.analysis.report.samples import observe
from dcpt_models.analysis.run_records import find_runs, options_to_test, started_in
from dcpt_models.errors import OptionError
from dcpt_models.evaluation.testing import source_version
from dcpt_models.runtime.command import add_import, run_command
from dcpt_models.runtime.logs import start_logger
from dcpt_tools.places import ROOT

# What keeps a part of a report from being made, and is said in its place.
GONE = (CheckpointError, DataError, OptionError)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_import(parser)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run, or of several")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the report (default: report.html in that folder)")
    parser.add_argument(
        "--images", type=whole(1), default=20, metavar="N", help="of each set for the confusion matrix (default: 20)"
    )
    parser.add_argument("--examples", type=whole(0), default=1, metavar="N", help="pictures of each set (default: 1)")
    parser.add_argument(
        "--points",
        type=whole(0),
        default=40,
        metavar="N",
        help="images of each degradation for t-SNE; 0 for none (default: 40)",
    )
    parser.add_argument("--crop", type=whole(8), default=128, metavar="PIXELS", help="side of these (default: 128)")
    parser.add_argument(
        "--table", nargs=2, metavar=("NAME", "ROW"), help="published table that results stand beside: 5d DCPT-PromptIR"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output, nothing else")
    arguments = parser.parse_args()
    if 0 < arguments.points < 3:
        parser.error("--points must be 0, or 3 and more")
    return arguments


def options_with_data(run: Path) -> dict[str, Any]:
    """The run's options, for testing, with the relative paths that its data lie at.

    Raises:
        DataError: If the data are gone.
    """
    failure = None
    for root in dict.fromkeys([started_in(run, ROOT), ROOT]):
        opt = options_to_test(run, root)
        opt["datasets"] = {key: section for key, section in opt["datasets"].items() if key.split("_")[0] != "train"}
        try:
            check_folders(opt["datasets"], opt.get("degradations"))
        except DataError as error:
            failure = failure or error
        else:
            if not opt["datasets"]:
                raise DataError("the options have no validation sets")
            return opt
    assert failure
    raise failure


def add_samples(report: RunReport, opt: dict[str, Any], arguments: argparse.Namespace) -> None:
    for section in opt["datasets"].values():
        if section["type"] == "DegradationDataset":
            section["limit"] = min(arguments.images, section.get("limit") or arguments.images)
    with ProgressBar(desc=f"{report.name}: validation images", leave=False) as bar:
        report.samples = observe(opt, build_val_loaders(opt["datasets"]), arguments.examples, bar.report)


def add_features(report: RunReport, opt: dict[str, Any], run: Path, arguments: argparse.Namespace) -> None:
    # Of few validation images, several crops each are better than too few points.
    few = any(len(loader) < arguments.points for loader in build_val_loaders(opt["datasets"]))
    source = StudySource(datasets=opt["datasets"], tiles=few)
    crops = study_crops(source, arguments.points, arguments.crop)
    device = torch.device("cuda" if opt["num_gpu"] else "cpu")
    with ProgressBar(desc=f"{report.name}: features", leave=False) as bar:
        study_features(report, run, crops.images, crops.labels, source.about, arguments.points, device, bar.report)


def report_of(run: Path, arguments: argparse.Namespace) -> RunReport:
    report = describe(run, arguments.table)
    try:
        opt = options_with_data(run)
    except GONE as error:
        for section in (CONFUSION, POINTS, EXAMPLES):
            report.note(section, f"Cannot be made any more: {error}")
        return report
    if made := stand_ins(opt["datasets"]):
        report.note(TABLE, f"Compares with no paper: {', '.join(made)} are stand-ins made by `dcpt synthesize`")
    try:
        if arguments.points:
            add_features(report, opt, run, arguments)
    except GONE as error:
        report.note(POINTS, f"Could not be made: {error}")
    try:
        add_samples(report, opt, arguments)
    except GONE as error:
        for section in (CONFUSION, EXAMPLES):
            report.note(section, f"Could not be made: {error}")
    return report


def work() -> None:
    arguments = parse()
    out = arguments.out or arguments.run / "report.html"
    if out.is_dir():
        raise OptionError(f"{out} is a folder; give --out a file, such as report.html")
    check_study(Path("report.svg"))
    runs = find_runs(arguments.run)
    start_logger(None).setLevel("WARNING")
    reports = [report_of(run, arguments) for run in runs]
    about = f"Made by `dcpt report` of {source_version()}."
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(
        page(f"Report: {arguments.run.absolute().name}", reports, about), encoding="utf-8", errors="backslashreplace"
    )
    notes = {report.name: report.notes for report in reports}
    if arguments.json:
        print(to_json({"file": str(out), "runs": [str(run) for run in runs], "notes": notes}))
        return
    print(f"{out}: {', '.join(report.name for report in reports)}, {out.stat().st_size / 1e6:.1f} MB")
    for name, sections in notes.items():
        for section, texts in sections.items():
            print("\n".join(f"{name}: {section}: {text}" for text in texts), file=sys.stderr)


def main() -> int:
    return run_command(work, DataError)
