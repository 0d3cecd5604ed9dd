"""Draw how a network's features lie together: t-SNE, a point for each image, coloured by its degradation.

  dcpt tsne --weights experiments/dcpt_promptir_5d/models/net_g_latest.pth --figure tsne.pdf

A random network of the same kind, and raw pixels, are drawn beside it. Images and features are chosen as in
`dcpt knn`; docs/STUDYING.md tells how.
"""

import argparse
from pathlib import Path

import dcpt_arch  # noqa: F401 - registers networks
from dcpt_common import to_json
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
from dcpt_models.analysis.features.findings import conditions, study, study_pixels
from dcpt_models.analysis.features.probes import check_study
from dcpt_models.analysis.features.tsne import PERPLEXITY, draw_embeddings, embed
from dcpt_models.errors import OptionError
from dcpt_models.runtime.command import run_command
from dcpt_models.runtime.devices import choose_device
from dcpt_tools.places import ROOT, option_file


def parse() -> argparse.Namespace:
    parser = study_parser(str(__doc__))
    parser.add_argument("--figure", type=Path, required=True, metavar="FILE", help="ends with .png, .svg or .pdf")
    parser.add_argument("--perplexity", type=float, default=PERPLEXITY, help=f"default: {PERPLEXITY:g}")
    return parser.parse_args()


def work() -> None:
    arguments = parse()
    check_study(arguments.figure)
    arguments.opt = arguments.opt and option_file(arguments.opt)
    options = options_of(arguments, ROOT)
    subjects, device, settings = (
        subjects_of(arguments, options),
        choose_device(arguments.device),
        settings_of(arguments),
    )
    source = StudySource(**source_of(arguments, options))
    with ProgressBar(desc="images", leave=False) as bar:
        crops = study_crops(source, arguments.images, arguments.crop, arguments.seed, bar.report)
    if not 1 <= arguments.perplexity < len(crops.labels):
        raise OptionError(f"--perplexity must lie between 1 and the number of images, {len(crops.labels)}")
    findings = [study_pixels(crops.images, crops.labels, settings)]
    for subject in subjects:
        with ProgressBar(desc=subject.label, leave=False) as bar:
            findings.append(study(subject, crops.images, crops.labels, settings, device, bar.report))
    titles = [f"{one.label}\nnearest neighbours {100 * one.knn.mean:.1f} %" for one in findings]
    points = [embed(one.between, arguments.perplexity, arguments.seed) for one in findings]
    draw_embeddings(dict(zip(titles, points, strict=True)), crops.labels, arguments.figure)
    about = conditions(source.about, crops.counts, arguments.images, arguments.crop, settings)
    if arguments.json:
        panels = [{**one.record(), "points": at.tolist()} for one, at in zip(findings, points, strict=True)]
        record = {"figure": str(arguments.figure), "labels": crops.labels, "panels": panels, "conditions": about}
        print(to_json(record))
    else:
        print("\n".join([f"{arguments.figure}: t-SNE", *(f"* {key}: {value}" for key, value in about.items())]))


def main() -> int:
    return run_command(work, DataError)
