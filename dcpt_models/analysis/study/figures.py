"""The figures of a study: differences with intervals, validation curves, and accuracy of features; by matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dcpt_models.analysis.features.tsne import MARKERS, save_figure
from dcpt_models.analysis.study.arms import StudyOptions
from dcpt_models.analysis.study.bootstrap import AVERAGE
from dcpt_models.analysis.study.results import StudyResults
from dcpt_models.evaluation.charts import COLOURS
from dcpt_models.evaluation.table import metric_title

WIDTH = 7.2  # inches
ROW = 0.28  # of an arm


def draw_differences(study: StudyOptions, results: StudyResults, file: Path) -> None:
    """Draw the mean differences of the average, a panel for each arm that others are compared with."""
    from matplotlib.figure import Figure

    metric = results.metrics[0]
    baselines = [name for name in (study.reference, study.control) if name]
    figure = Figure(figsize=(WIDTH, 0.9 + ROW * len(study.arms)), layout="constrained")
    panels = figure.subplots(1, len(baselines), squeeze=False)[0]
    for axes, baseline, colour in zip(panels, baselines, COLOURS, strict=False):
        compared = results.compared(metric, baseline)
        found = [one.found[AVERAGE] for one in compared]
        places = range(len(compared))
        means = [one.mean for one in found]
        # The interval need not hold the mean: it is that of the draws.
        axes.hlines(places, [one.low for one in found], [one.high for one in found], color=colour, linewidth=1.6)
        axes.plot(means, places, "o", color=colour, markersize=5)
        axes.axvline(0, color="0.6", linewidth=0.8)
        axes.set_yticks(places, [one.arm for one in compared])
        axes.invert_yaxis()
        axes.set_xlabel(f"{metric_title(metric)}, minus {baseline}")
        axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, file)


def draw_curves(results: StudyResults, file: Path) -> bool:
    """Draw the validation of each arm's last run; returns whether any was validated."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    if not any(results.curves.values()):
        return False
    figure = Figure(figsize=(WIDTH, 3.8), layout="constrained")
    axes = figure.subplots()
    for index, (arm, curve) in enumerate(results.curves.items()):
        if not curve:
            continue
        colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index // len(COLOURS) % len(MARKERS)]
        values = np.array(list(curve.values()))
        axes.plot(list(curve), values.mean(axis=1), f"{marker}-", color=colour, label=arm, markersize=3, linewidth=1.2)
        axes.fill_between(list(curve), values.min(axis=1), values.max(axis=1), color=colour, alpha=0.12, linewidth=0)
    axes.set_xlabel("Iterations of the last run")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_ylabel(f"{metric_title(results.metrics[0])}, validation")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    save_figure(figure, file)
    return True


def draw_features(groups: dict[str, list[dict[str, Any]]], chance: float, file: Path) -> None:
    """Draw the accuracy of the nearest neighbours and of the linear classifier; every seed is a point.

    Args:
        groups: What findings are of -> findings, as `dcpt knn` prints them.
        chance: The accuracy of guessing.
        file: Its suffix is the format.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 0.9 + ROW * len(groups)), layout="constrained")
    panels: Sequence[Any] = figure.subplots(1, 2, sharey=True)
    titles = {"knn": "Nearest neighbours (%)", "linear_probe": "Linear classifier (%)"}
    for axes, (key, title), colour in zip(panels, titles.items(), COLOURS, strict=False):
        for place, findings in enumerate(groups.values()):
            values = [100 * finding[key]["mean"] for finding in findings]
            axes.plot(values, [place] * len(values), "o", color=colour, markersize=4, alpha=0.6)
            axes.plot([float(np.mean(values))], [place], "|", color=colour, markersize=12)
        axes.axvline(100 * chance, color="0.6", linewidth=0.8, linestyle=":")
        axes.set_xlabel(title)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_yticks(range(len(groups)), list(groups))
    panels[0].invert_yaxis()
    save_figure(figure, file)
