"""Pictures of a table: a radar chart of its sets, bars of every method; drawn by matplotlib, an optional package."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import Any

from dcpt_models.errors import OptionError
from dcpt_models.evaluation.published import AVERAGE
from dcpt_models.evaluation.table import Table, metric_title, shown

FORMATS = (".png", ".svg")
# Okabe and Ito's colours, which stay apart for the colour-blind. Evaluated models come first, in strong lines.
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
RADAR_WIDTH = 6.5  # inches
# More lines than this cannot be told apart; the published rows with the lowest averages are left out.
MOST_LINES = len(COLOURS)
# The innermost ring of the radar chart, as a share of its radius, so that the lowest values are not all one point.
INNER = 0.25

Lines = dict[str, dict[str, float]]  # method -> set -> value


def check_chart(file: Path) -> None:
    """Refuse, before anything is evaluated, a chart that cannot be drawn.

    Raises:
        OptionError: If the format is unknown or matplotlib is not installed.
    """
    if file.suffix.lower() not in FORMATS:
        raise OptionError(f"--chart {file}: the name must end with {' or '.join(FORMATS)}")
    if importlib.util.find_spec("matplotlib") is None:
        raise OptionError('--chart needs matplotlib: pip install -e ".[plots]"')


def chosen_lines(table: Table, metric: str) -> tuple[Lines, list[str]]:
    """The methods that a chart shows, of those with a value for every set, and which of them were evaluated here.

    Returns:
        Method -> set -> value, without the average; names of the evaluated ones.
    """
    sets = [name for name in table.sets if name != AVERAGE]
    lines: Lines = {}
    for method in table.methods:
        values = {name: method.results.get(name, {}) for name in sets}
        if all(metric in found for found in values.values()):
            lines[method.label] = {name: values[name][metric] for name in sets}
    ours = list(lines)
    if table.published:
        others: Lines = {}
        for row in table.published.rows:
            published = table.published.row(row)
            if all(metric in published.get(name, {}) for name in sets):
                others[row] = {name: published[name][metric] for name in sets}
        compared = [method.published for method in table.methods]
        ranked = sorted(others, key=lambda row: (row not in compared, -sum(others[row].values())))
        lines.update({row: others[row] for row in ranked[: max(0, MOST_LINES - len(ours))] if row not in lines})
    return lines, ours


def draw_chart(table: Table, file: Path) -> None:
    """Draw the radar chart (of three sets or more) and the bars of PSNR, or else the first metric, into one picture.

    Args:
        table: What is shown.
        file: PNG or SVG.

    Raises:
        OptionError: If no evaluated model has a value for every set.
    """
    from matplotlib.figure import Figure

    metric = next((name for name in table.metrics() if name == "psnr"), (table.metrics() or [""])[0])
    lines, ours = chosen_lines(table, metric)
    if not ours:
        raise OptionError("--chart: nothing was measured on every set; see val:metrics of the option file")
    sets = list(next(iter(lines.values())))
    radar = len(sets) >= 3
    widths = [*([RADAR_WIDTH] if radar else []), max(7.0, 0.9 * len(sets) + 1.5)]
    figure = Figure(figsize=(sum(widths), 5.6), layout="constrained")
    grid = figure.add_gridspec(1, len(widths), width_ratios=widths)
    if radar:
        _draw_radar(figure.add_subplot(grid[0], projection="polar"), table, lines, ours, metric)
    axes = figure.add_subplot(grid[-1])
    _draw_bars(axes, table, lines, ours, metric)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=int(sum(widths) // 2), frameon=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=150)


def _draw_radar(axes: Any, table: Table, lines: Lines, ours: list[str], metric: str) -> None:
    """Each axis runs from the lowest to the highest value of its set, which stand beside its title."""
    sets = list(next(iter(lines.values())))
    ranges = {name: [f(line[name] for line in lines.values()) for f in (min, max)] for name in sets}
    angles = [2 * math.pi * i / len(sets) for i in range(len(sets))]
    for (method, line), colour in zip(lines.items(), COLOURS, strict=False):
        radii = []
        for name in sets:
            low, high = ranges[name]
            radii.append(INNER + (1 - INNER) * ((line[name] - low) / (high - low) if high > low else 1))
        width = 2.4 if method in ours else 1.1
        axes.plot([*angles, angles[0]], [*radii, radii[0]], color=colour, linewidth=width)
        if method in ours:
            axes.fill([*angles, angles[0]], [*radii, radii[0]], color=colour, alpha=0.12)
    titles = [f"{table.title(n)}\n{shown(metric, ranges[n][0])} - {shown(metric, ranges[n][1])}" for n in sets]
    axes.set_theta_offset(math.pi / 2)
    axes.set_theta_direction(-1)
    axes.set_xticks(angles, titles, fontsize=8)
    for angle, label in zip(angles, axes.get_xticklabels(), strict=True):
        across = round(math.sin(angle), 3)  # the first axis points up, the others follow clockwise
        label.set_horizontalalignment("left" if across > 0 else "right" if across < 0 else "center")
    axes.set_yticks([INNER, 1], ["", ""])
    axes.set_ylim(0, 1.02)
    axes.tick_params(axis="x", pad=4)
    axes.set_title(f"{metric_title(metric)}, lowest to highest of each set", fontsize=10, pad=16)


def _draw_bars(axes: Any, table: Table, lines: Lines, ours: list[str], metric: str) -> None:
    """Bars from a common floor, since PSNR has no meaningful zero."""
    sets = list(next(iter(lines.values())))
    width = 0.84 / len(lines)
    for index, ((method, line), colour) in enumerate(zip(lines.items(), COLOURS, strict=False)):
        places = [i + (index - (len(lines) - 1) / 2) * width for i in range(len(sets))]
        bars = axes.bar(places, [line[name] for name in sets], width, label=method, color=colour)
        for bar in bars if method in ours else ():
            bar.set_edgecolor("black")
            bar.set_linewidth(0.8)
    values = [value for line in lines.values() for value in line.values()]
    margin = 0.08 * (max(values) - min(values) or abs(max(values)) or 1)
    axes.set_ylim(min(values) - margin, max(values) + margin)
    axes.set_xticks(range(len(sets)), [table.title(name) for name in sets], rotation=30, ha="right", fontsize=8)
    axes.set_ylabel(metric_title(metric))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", linewidth=0.4)
    axes.set_axisbelow(True)
