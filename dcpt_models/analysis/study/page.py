"""The page of a study in Markdown: arms, results with intervals, cost, and figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dcpt_common import markdown, to_json
from dcpt_models.analysis.study.arms import StudyOptions
from dcpt_models.analysis.study.bootstrap import AVERAGE, DRAWS, LEVEL, Interval
from dcpt_models.analysis.study.figures import draw_curves, draw_differences, draw_features
from dcpt_models.analysis.study.results import StudyResults
from dcpt_models.evaluation.table import metric_title, shown

PAGE, RECORD = "page.md", "results.json"
NOTHING = "-"


def write_page(study: StudyOptions, results: StudyResults, folder: Path, command: str) -> tuple[Path, dict[str, Any]]:
    """Write page.md, its figures (SVG) and results.json.

    Args:
        study: The study.
        results: What came out of it.
        folder: The folder that the page is written to.
        command: The command line, which the page names.

    Returns:
        The page, and the content of results.json.
    """
    figures = {"differences": folder / "differences.svg", "curves": folder / "curves.svg"}
    draw_differences(study, results, figures["differences"])
    drawn = draw_curves(results, figures["curves"])
    if not drawn:
        del figures["curves"]
    if results.features:
        figures["features"] = folder / "features.svg"
        groups = grouped(results.features["findings"])
        draw_features(groups, 1 / len(results.features["images"]), figures["features"])
    parts = [
        f"# {study.name}",
        study.about.strip(),
        _arms(study, results),
        _scores(study, results),
        _differences(study, results, figures),
        *([_curves(figures["curves"])] if drawn else []),
        _learned(results, figures),
        _conditions(study, results, command),
    ]
    page = folder / PAGE
    page.write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8")
    record: dict[str, Any] = {
        "name": study.name,
        "reference": study.reference,
        "control": study.control,
        "seeds": study.seeds,
    }
    record = {**record, **results.record(), "files": {"page": PAGE, **{k: f.name for k, f in figures.items()}}}
    (folder / RECORD).write_text(to_json(record, indent=1), encoding="utf-8")
    return page, record


def _arms(study: StudyOptions, results: StudyResults) -> str:
    rows = [["arm", "what it is", "iterations", "minutes"]]
    for name, arm in study.arms.items():
        cost = results.costs[name]
        rows.append([name, arm.about or NOTHING, " + ".join(map(str, cost.iterations)), f"{cost.seconds / 60:.1f}"])
    control = f", `{study.control}` the control" if study.control else ""
    note = (
        f"`{study.reference}` is the reference{control}. Iterations are those of an arm's runs, in order; minutes are "
        "what they took by the clock, with validation and saving, mean over the seeds. They depend on what else the "
        "machine was doing."
    )
    return f"## Arms\n\n{markdown.table(rows)}\n\n{note}"


def _scores(study: StudyOptions, results: StudyResults) -> str:
    parts = []
    for metric in results.metrics:
        rows = [[metric_title(metric), *results.sets, AVERAGE]]
        if results.inputs:
            rows.append(["degraded", *(shown(metric, results.inputs[name][metric]) for name in rows[0][1:])])
        for arm in study.arms:
            found = results.scores[arm][metric]
            rows.append([arm, *(_spread(metric, found[name]) for name in rows[0][1:])])
        parts.append(markdown.table(rows))
    several = len(study.seeds) > 1
    note = f"Mean{' ± standard deviation' if several else ''} over {_seeds(study)} of the mean over the test images."
    return "## Test\n\n" + "\n\n".join([*parts, note])


def _spread(metric: str, values: Sequence[float]) -> str:
    mean = shown(metric, float(np.mean(values)))
    return f"{mean} ± {shown(metric, float(np.std(values, ddof=1)))}" if len(values) > 1 else mean


def _seeds(study: StudyOptions) -> str:
    named = ", ".join(map(str, study.seeds))
    return f"{len(study.seeds)} seeds ({named})" if len(study.seeds) > 1 else f"one seed ({named})"


def _differences(study: StudyOptions, results: StudyResults, figures: dict[str, Path]) -> str:
    parts = ["## Differences"]
    for baseline in filter(None, (study.reference, study.control)):
        for metric in results.metrics:
            names = [*results.sets, AVERAGE]
            rows = [[f"{metric_title(metric)}, minus {baseline}", *names, f"{AVERAGE}, seed by seed"]]
            for one in results.compared(metric, baseline):
                cells = [_interval(metric, one.found[name]) for name in names]
                rows.append([one.arm, *cells, ", ".join(shown(metric, value, "+") for value in one.by_seed)])
            parts.append(markdown.table(rows))
    parts.append(f"![Differences of the average, with their intervals]({figures['differences'].name})")
    parts.append(
        f"Paired differences, seed by seed and image by image, and their {LEVEL:.0%} intervals: percentiles of {DRAWS} "
        "bootstrap draws of seeds and of images, both with replacement. Bold ones exclude zero; of as many as there "
        "are here, some do so by chance. Few seeds make intervals too narrow, since two or three can only be drawn in "
        "so many ways, and a single one says nothing of seeds: see whether the sign is the same seed by seed."
    )
    return "\n\n".join(parts)


def _interval(metric: str, one: Interval) -> str:
    text = "{} [{}, {}]".format(*(shown(metric, value, "+") for value in one))
    return f"**{text}**" if one.excludes_zero else text


def _curves(figure: Path) -> str:
    note = "Validation of each arm's last run: mean over seeds, and from the lowest to the highest."
    return f"## Curves\n\n![Validation while training]({figure.name})\n\n{note}"


def _learned(results: StudyResults, figures: dict[str, Path]) -> str:
    parts = ["## What the features tell"]
    if results.accuracy:
        rows = [["arm", "its classifier (%)"]]
        rows += [[arm, _percent(values)] for arm, values in results.accuracy.items()]
        parts.append(markdown.table(rows))
        parts.append(
            "Top-1 accuracy on the validation images at the end of the run that has a classifier: of pre-training, or "
            "of the last run where it is the only one."
        )
    if results.features:
        rows = [["features of", "nearest neighbours (%)", "linear classifier (%)"]]
        for label, findings in grouped(results.features["findings"]).items():
            shares = ([f[key]["mean"] for f in findings] for key in ("knn", "linear_probe"))
            rows.append([label, *(_percent(values) for values in shares)])
        parts += [markdown.table(rows), f"![Accuracy of simple classifiers]({figures['features'].name})"]
        parts.append(
            "Of the network that an arm's last run starts from, or of that run's where the arm has no other; mean ± "
            "standard deviation over seeds. "
            + "; ".join(f"{key}: {value}" for key, value in results.features["conditions"].items())
            + "."
        )
    return "\n\n".join(parts) if len(parts) > 1 else ""


def grouped(findings: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Findings by what they are of: pixels and random networks, then arm by arm; arms of the same runs together."""
    result: dict[str, list[dict[str, Any]]] = {}
    for finding in findings:
        label = ", ".join(dict.fromkeys(finding["arms"])) if "arms" in finding else finding["label"]
        result.setdefault(label, []).append(finding)
    return result


def _percent(values: Sequence[float]) -> str:
    mean = f"{100 * float(np.mean(values)):.1f}"
    return f"{mean} ± {100 * float(np.std(values, ddof=1)):.1f}" if len(values) > 1 else mean


def _conditions(study: StudyOptions, results: StudyResults, command: str) -> str:
    lines = [f"* {key}: {value}" for key, value in results.conditions.items()]
    if study.photographs:
        given = study.photographs
        lines.append(
            f"* photographs: of `{given.folder}`, {given.validation_share:.0%} held out for validation (seed "
            f"{given.seed}); test on {f'`{given.test}`' if given.test else 'those that scikit-image installs'}"
        )
    return "\n".join(["## How", "", f"    {command}", "", *lines])
