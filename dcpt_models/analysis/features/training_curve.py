"""Accuracy of the features over the iterations of a run, beside the PSNR after fine-tuning (DCPT, A.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dcpt_common import markdown
from dcpt_models.analysis.features.findings import (
    HEADER,
    Finding,
    Subject,
    architecture,
    checkpoint,
    random_networks,
)
from dcpt_models.analysis.features.tsne import save_figure
from dcpt_models.errors import OptionError
from dcpt_models.evaluation.charts import COLOURS
from dcpt_models.evaluation.published import read_published
from dcpt_models.evaluation.table import shown

PUBLISHED = "pretraining_length"


@dataclass(frozen=True)
class Point:
    """A checkpoint of the run, and what is known of it.

    Attributes:
        finding: What its features tell.
        validated: Averages of the run's own validation at that iteration: accuracy of its classifier, PSNR, ...
        tuned: PSNR in dB of a run that was fine-tuned from this checkpoint, averaged over its sets.
    """

    finding: Finding
    validated: Mapping[str, float]
    tuned: float | None = None

    @property
    def iteration(self) -> int:
        """Training iterations behind it."""
        return self.finding.iteration or 0

    def record(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {**self.finding.record(), "validation": dict(self.validated), "psnr_after_fine_tuning": self.tuned}


def curve_subjects(checkpoints: Mapping[int, Path], seeds: int) -> list[Subject]:
    """Every checkpoint of a run, after random networks of its kind as iteration 0, unless that was saved too."""
    first = next(iter(checkpoints.values()))
    start = [] if 0 in checkpoints else [random_networks(architecture(first), range(seeds), iteration=0)]
    return start + [checkpoint(file, f"iteration {n}", n) for n, file in checkpoints.items()]


def check_tuned(tuned: Mapping[int, Path], subjects: Sequence[Subject]) -> None:
    """Refuse fine-tuned runs that belong to no checkpoint.

    Raises:
        OptionError: If there is one.
    """
    known = [subject.iteration for subject in subjects]
    if unknown := [iteration for iteration in tuned if iteration not in known]:
        raise OptionError(f"--tuned {unknown[0]}=...: the run has checkpoints {', '.join(map(str, known))}")


def final_psnr(validations: Mapping[int, Mapping[str, float]], run: Path) -> float:
    """PSNR in dB of a run's last validation.

    Raises:
        OptionError: If there is none.
    """
    last = validations[max(validations)] if validations else {}
    if "psnr" not in last:
        raise OptionError(f"{run}: no validation.jsonl with psnr in it; give the folder of a fine-tuning run")
    return last["psnr"]


def published_curve() -> str:
    """The paper's figures, in a sentence."""
    table = read_published(PUBLISHED)
    method, row = next(iter(table.rows.items()))
    parts = [f"{table.columns[key]} {row[key]['accuracy']:.0%}, {shown('psnr', row[key]['psnr'])} dB" for key in row]
    return f"{table.source}: {method}, accuracy and PSNR after fine-tuning by length: {'; '.join(parts)}"


def curve_table(pixels: Finding, points: Sequence[Point]) -> str:
    """The points of a curve below raw pixels, in Markdown."""
    header = [*HEADER, "its classifier (%)", "PSNR (dB)", "PSNR after fine-tuning (dB)"]
    rows = [[*pixels.cells(), "-", "-", "-"]]
    for point in points:
        accuracy = point.validated.get("accuracy")
        known = (None if accuracy is None else 100 * accuracy, point.validated.get("psnr"), point.tuned)
        rows.append([*point.finding.cells(), *("-" if value is None else f"{value:.2f}" for value in known)])
    return markdown.table([header, *rows])


def draw_curve(pixels: Finding, points: Sequence[Point], chance: float, file: Path) -> None:
    """Draw accuracy, and PSNR where any is known, against iterations, as .png, .svg or .pdf.

    Args:
        pixels: What raw pixels tell.
        points: In the order of their iterations.
        chance: The accuracy of guessing.
        file: Its suffix is the format.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    psnr = {
        "clean images, reproduced" if any("accuracy" in p.validated for p in points) else "validation": [
            p.validated.get("psnr") for p in points
        ],
        "after fine-tuning from here": [p.tuned for p in points],
    }
    psnr = {label: values for label, values in psnr.items() if any(value is not None for value in values)}
    figure = Figure(figsize=(7.2 if psnr else 3.8, 3.0), layout="constrained")
    axes = figure.subplots(1, 1 + bool(psnr), squeeze=False, sharex=True)[0]
    iterations = [p.iteration for p in points]
    for label, colour, found in (
        ("nearest neighbours", COLOURS[0], [p.finding.knn for p in points]),
        ("linear classifier", COLOURS[1], [p.finding.linear for p in points]),
    ):
        means = [100 * one.mean for one in found]
        axes[0].plot(iterations, means, "o-", color=colour, label=label, markersize=4)
        low, high = ([m + sign * 100 * one.deviation for m, one in zip(means, found, strict=True)] for sign in (-1, 1))
        axes[0].fill_between(iterations, low, high, color=colour, alpha=0.15, linewidth=0)
    _draw_known(axes[0], iterations, [p.validated.get("accuracy") for p in points], 100, "its classifier", COLOURS[2])
    axes[0].axhline(
        100 * pixels.knn.mean, color=COLOURS[0], linewidth=0.8, linestyle=":", label="neighbours, raw pixels"
    )
    axes[0].axhline(100 * chance, color="0.6", linewidth=0.8, linestyle=":", label="chance")
    axes[0].set_ylabel("Accuracy (%)")
    for (label, values), colour in zip(psnr.items(), COLOURS[3:], strict=False):
        _draw_known(axes[1], iterations, values, 1, label, colour)
        axes[1].set_ylabel("PSNR (dB)")
    for one in axes:
        one.set_xlabel("Training iterations")
        one.xaxis.set_major_formatter(EngFormatter(sep=""))
        one.spines[["top", "right"]].set_visible(False)
        one.legend(frameon=False, fontsize=8)
    save_figure(figure, file)


def _draw_known(
    axes: Any, iterations: Sequence[int], values: Sequence[float | None], factor: float, label: str, colour: str
) -> None:
    known = [(i, factor * value) for i, value in zip(iterations, values, strict=True) if value is not None]
    if known:
        axes.plot(*zip(*known, strict=True), "s--", color=colour, label=label, markersize=4)
