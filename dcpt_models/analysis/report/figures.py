"""The figures of a report, as SVG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dcpt_models.analysis.features.tsne import draw_embeddings, save_figure
from dcpt_models.analysis.run_records import Curves
from dcpt_models.evaluation.charts import COLOURS
from dcpt_models.evaluation.published import AVERAGE
from dcpt_models.evaluation.table import INPUT, Method, metric_title
from dcpt_models.validation.validate import Results

DASHES = ("-", "--", ":", "-.")  # where colours come again
# Groups of what is logged while training, in the order of a report; whatever else is logged comes after them.
FIRST = ("losses", "train", "lr")


@dataclass(frozen=True)
class Chart:
    """Lines over the iterations.

    Attributes:
        title: What they show.
        lines: Name -> iteration and value.
    """

    title: str
    lines: Curves


def charts_of_training(curves: Curves) -> list[Chart]:
    """A chart for each value that was logged; the learning rates of all networks are in one."""
    groups: dict[str, Curves] = {}
    for name, points in curves.items():
        group, _, own = name.partition("/")
        if group != "metrics":  # of validations, which have charts of their own
            title = group if group == "lr" else own
            groups.setdefault(f"{FIRST.index(group) if group in FIRST else len(FIRST)}{title}", {})[own] = points
    return [Chart(key[1:], groups[key]) for key in sorted(groups)]


def charts_of_validation(validations: Mapping[int, Results]) -> list[Chart]:
    """A chart for each metric, with a line for each set and one for their mean."""
    found: dict[str, Curves] = {}
    for iteration, results in validations.items():
        for name in Method("", results).sets():
            for metric, value in results[name].items():
                if metric.startswith(INPUT):  # the same each time
                    continue
                found.setdefault(metric, {}).setdefault(name, []).append((iteration, value))
    return [Chart(f"{metric_title(metric)}, validation", lines) for metric, lines in found.items()]


def draw_chart(chart: Chart) -> bytes:
    """A chart as SVG."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    figure = Figure(figsize=(5.2, 3.1))
    axes = figure.subplots()
    for i, (name, points) in enumerate(chart.lines.items()):
        iterations, values = zip(*points, strict=True)
        mean = name == AVERAGE
        style: dict[str, Any] = {
            "color": "black" if mean else COLOURS[i % len(COLOURS)],
            "linewidth": 2 if mean else 1.2,
        }
        marker = "o" if len(points) < 25 else ""
        dashes = DASHES[i // len(COLOURS) % len(DASHES)]
        axes.plot(iterations, values, dashes, marker=marker, markersize=3, label=name, **style)
    axes.set_title(chart.title, fontsize=10)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlabel("Iterations", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(linewidth=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if len(chart.lines) > 1:
        axes.legend(frameon=False, fontsize=8, ncols=1 + len(chart.lines) // 6)
    stream = io.BytesIO()
    save_figure(figure, stream)
    return stream.getvalue()


def draw_points(panels: Mapping[str, np.ndarray], labels: Sequence[str]) -> bytes:
    """t-SNE as SVG; see `dcpt_models.analysis.features.tsne`."""
    stream = io.BytesIO()
    draw_embeddings(panels, labels, stream)
    return stream.getvalue()
