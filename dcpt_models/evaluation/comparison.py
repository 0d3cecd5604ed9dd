"""Tables of several evaluated models with their conditions, written as Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dcpt_common import to_json
from dcpt_models.evaluation.charts import draw_chart
from dcpt_models.evaluation.published import PublishedTable
from dcpt_models.evaluation.table import Method, Table, as_csv
from dcpt_models.evaluation.testing import PER_IMAGE, protocol
from dcpt_models.validation.validate import Results


@dataclass
class Evaluation:
    """A model on the sets of an option file: what is to be done, and what came out.

    Attributes:
        label: What the model is called.
        opt: Completed options for testing.
        published: The table that it is compared with.
        row: The row of that.
        counts: Set -> number of its images.
        stand_ins: Sets that are not what was published.
        incomplete: Sets of which images are missing, with how many there are.
        own: Sets that are no published ones by name.
        results: What validation returned.
    """

    label: str
    opt: dict[str, Any]
    published: PublishedTable | None = None
    row: str | None = None
    counts: dict[str, int] = field(default_factory=dict)
    stand_ins: list[str] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)
    own: list[str] = field(default_factory=list)
    results: Results = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where its own results are."""
        return Path(self.opt["path"]["results_root"])

    def record(self) -> dict[str, Any]:
        """All of it, for JSON."""
        paper: dict[str, Any] | None = None
        if self.published and self.row:
            paper = {"table": self.published.name, "row": self.row, "source": self.published.source}
            paper["values"] = self.published.row(self.row)
        return {
            "name": self.label,
            "results": self.results,
            "images": self.counts,
            "paper": paper,
            "stand_ins": self.stand_ins,
            "incomplete": self.incomplete,
            "own": self.own,
            "protocol": protocol(self.opt),
            "per_image": str(self.folder / PER_IMAGE),
        }

    def conditions(self) -> dict[str, str]:
        """How it was measured, and what keeps it from being compared with a paper."""
        images = ", ".join(f"{name} {count}" for name, count in self.counts.items())
        result = {**protocol(self.opt), "images": images}
        if self.published and self.own:
            own = ", ".join(self.own)
            result["**compare with care**"] = (
                f"{own} are read from folders of your own, not as a `source` of a known name"
            )
        if self.stand_ins:
            made = ", ".join(self.stand_ins)
            result["**not comparable with any paper**"] = f"{made} are stand-ins made by `dcpt synthesize`"
        elif self.incomplete:
            result["**not comparable with any paper**"] = f"images are missing: {', '.join(self.incomplete)}"
        return result


def conditions(evaluations: list[Evaluation]) -> list[str]:
    """What all evaluations have in common, once, then what each has of its own, in Markdown."""
    found = {one.label: one.conditions() for one in evaluations}
    keys = list(dict.fromkeys(key for each in found.values() for key in each))
    common = {key for key in keys if len({each.get(key) for each in found.values()}) == 1}
    first = found[evaluations[0].label]
    lines = [f"* {key}: {first[key]}" for key in keys if key in common]
    for label, each in found.items():
        own = [f"* {key}: {value}" for key, value in each.items() if key not in common]
        lines += ["", f"{label}:", "", *own] if own else []
    return [*lines, ""]


def side_by_side(evaluations: Iterable[Evaluation]) -> list[tuple[Table, list[Evaluation]]]:
    """A table for all models that were tested on the same sets, each with these models."""
    groups: dict[tuple[Any, ...], list[Evaluation]] = {}
    for one in evaluations:
        groups.setdefault((one.published and one.published.name, *one.counts), []).append(one)
    return [
        (Table([Method(one.label, one.results, one.row) for one in group], group[0].published), group)
        for group in groups.values()
    ]


def write_comparison(evaluations: list[Evaluation], out: Path, chart: Path | None) -> tuple[str, dict[str, Any]]:
    """Write table.md, table.csv, table.tex and results.json, and draw a chart for each table.

    Args:
        evaluations: Finished ones.
        out: The folder to write to.
        chart: File of the first table's chart; those of others have a number. None for no charts.

    Returns:
        The Markdown, and the content of results.json.
    """
    tables = side_by_side(evaluations)
    out.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    for table, group in tables:
        lines += [table.markdown(), "", *(f"* {line}" for line in table.legend()), *conditions(group)]
    files = {"markdown": out / "table.md", "csv": out / "table.csv", "latex": out / "table.tex"}
    files["json"] = out / "results.json"
    files["markdown"].write_text("\n".join(lines), encoding="utf-8")
    files["csv"].write_text(as_csv(table for table, _ in tables), encoding="utf-8")
    files["latex"].write_text("\n\n".join(table.latex() for table, _ in tables) + "\n", encoding="utf-8")
    charts = []
    for index, (table, _) in enumerate(tables if chart else []):
        assert chart is not None
        charts.append(chart.with_stem(f"{chart.stem}-{index + 1}") if index else chart)
        draw_chart(table, charts[-1])
    record = {
        "evaluations": [one.record() for one in evaluations],
        "files": {kind: str(file) for kind, file in files.items()},
        "charts": [str(file) for file in charts],
    }
    files["json"].write_text(to_json(record, indent=1), encoding="utf-8")
    return "\n".join(lines), record
