"""Evaluated models beside published ones: a table for each metric, in the layout of the papers, methods in rows.

A cell reads `ours (paper)`; the row below has the difference. The same grid is written as Markdown and as LaTeX; the
values behind it as CSV.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass

from dcpt_common import markdown
from dcpt_models.evaluation.published import AVERAGE, PublishedTable, field_averages
from dcpt_models.validation.validate import Results

# What a metric is called, and how its values are printed; others are printed by name with four digits.
METRICS = {"psnr": ("PSNR (dB)", ".2f"), "ssim": ("SSIM", ".3f"), "accuracy": ("Accuracy", ".1%")}
INPUT = "input_"
OF_CLASSES = ("accuracy by class", "average precision")  # parts of results that are of classes and not of sets
NOTHING = "-"
CSV_COLUMNS = ("method", "from", "set", "metric", "value", "published_row", "published_value", "difference")

Cells = list[list[str]]


@dataclass(frozen=True)
class Grid:
    """The cells of a metric's table: a header, the rows of evaluated models, and those of published ones."""

    header: list[str]
    ours: Cells
    published: Cells

    def rows(self) -> Cells:
        """All rows, the header first."""
        return [self.header, *self.ours, *self.published]


@dataclass(frozen=True)
class Method:
    """An evaluated model: a row of the table.

    Attributes:
        label: What it is called.
        results: What validation returned.
        published: The row of the published table that it is compared with.
    """

    label: str
    results: Results
    published: str | None = None

    def sets(self) -> list[str]:
        """The test sets, and the average at last, if there is one."""
        return [name for name in self.results if name not in OF_CLASSES]


@dataclass(frozen=True)
class Table:
    """Models that were evaluated on the same sets.

    Attributes:
        methods: At least one.
        published: The published table that they are compared with; all its rows are shown.
    """

    methods: list[Method]
    published: PublishedTable | None = None

    @property
    def sets(self) -> list[str]:
        """The columns: the sets of the first model."""
        return self.methods[0].sets()

    def metrics(self) -> list[str]:
        """What was measured, without the metrics of the degraded images."""
        names = [metric for method in self.methods for name in self.sets for metric in method.results.get(name, {})]
        return [name for name in dict.fromkeys(names) if not name.startswith(INPUT)]

    def title(self, name: str) -> str:
        """The title of a set's column: the paper's, and the set's name where it says more."""
        if name == AVERAGE:
            return "Average"
        title = self.published.columns.get(name, name) if self.published else name
        return title if _letters(name) in _letters(title) else f"{title} ({name})"

    # --- the grid -----------------------------------------------------------------------------------------------------

    def grid(self, metric: str) -> Grid:
        """The cells of a metric's table."""
        ours: Cells = []
        given = next((m for m in self.methods if any(INPUT + metric in values for values in m.results.values())), None)
        if given:
            ours.append(["Input", *self._cells(given.results, metric, INPUT + metric)])
        for method in self.methods:
            mine, theirs = (self._cells(x, metric, metric) for x in (method.results, self._paper(method)))
            compared = any(cell != NOTHING for cell in theirs)
            label = f"{method.label} ({method.published})" if compared else method.label
            ours.append([label, *(a if b == NOTHING else f"{a} ({b})" for a, b in zip(mine, theirs, strict=True))])
            if compared:
                differences = [self.difference(method, name, metric) for name in self.sets]
                ours.append(["difference", *(NOTHING if d is None else shown(metric, d, "+") for d in differences)])
        published: Cells = []
        if self.published:
            for row in self.published.rows:
                published.append([row, *self._cells(self.published.row(row), metric, metric)])
            for row, (values, _) in field_averages(self.published.name).items():
                published.append([row, *self._cells({AVERAGE: values}, metric, metric)])
        header = [metric_title(metric), *(self.title(name) for name in self.sets)]
        return Grid(header, ours, [row for row in published if any(cell != NOTHING for cell in row[1:])])

    def _paper(self, method: Method) -> Results:
        return self.published.row(method.published) if self.published and method.published else {}

    def _cells(self, results: Results, metric: str, key: str) -> list[str]:
        found = [results.get(name, {}).get(key) for name in self.sets]
        return [NOTHING if value is None else shown(metric, value) for value in found]

    def difference(self, method: Method, name: str, metric: str) -> float | None:
        """Ours less the paper's, of the values as they are, not as they are printed."""
        ours = method.results.get(name, {}).get(metric)
        theirs = self._paper(method).get(name, {}).get(metric)
        return None if ours is None or theirs is None else ours - theirs

    # --- formats ------------------------------------------------------------------------------------------------------

    def markdown(self) -> str:
        """A table for each metric."""
        return "\n\n".join(markdown.table(self.grid(metric).rows()) for metric in self.metrics())

    def latex(self) -> str:
        """A tabular of package booktabs for each metric."""
        return "\n\n".join(_latex(self.grid(metric)) for metric in self.metrics())

    def legend(self) -> list[str]:
        """Sentences that say what the table is compared with, and what must be known of that."""
        if not self.published:
            return []
        compared = list(dict.fromkeys(method.published for method in self.methods if method.published))
        lines = [f"In parentheses: {' and '.join(compared)}. Published rows: {self.published.source}."]
        if AVERAGE in self.sets and not self.published.prints_average and len(self.published.columns) > 1:
            lines.append("The paper prints no average; the mean of its values stands in.")
        others = field_averages(self.published.name)
        if others and AVERAGE in self.sets:
            rows: dict[str, list[str]] = {}
            for row, (_, source) in others.items():
                rows.setdefault(source, []).append(row)
            parts = (f"{', '.join(names)}: {source}" for source, names in rows.items())
            lines.append(f"Averages alone, from other papers: {'; '.join(parts)}.")
        return lines + self.published.notes

    def records(self) -> Iterable[tuple[object, ...]]:
        """Every value behind the table; see `CSV_COLUMNS`."""
        for method in self.methods:
            paper = self._paper(method)
            for name in self.sets:
                for metric, value in method.results.get(name, {}).items():
                    theirs = paper.get(name, {}).get(metric)
                    row = method.published if theirs is not None else None
                    difference = self.difference(method, name, metric)
                    yield method.label, "evaluation", name, metric, value, row, theirs, difference
        if self.published:
            for row in self.published.rows:
                for name, values in self.published.row(row).items():
                    for metric, value in values.items():
                        yield row, self.published.source, name, metric, value, None, None, None
            for row, (values, source) in field_averages(self.published.name).items():
                for metric, value in values.items():
                    yield row, source, AVERAGE, metric, value, None, None, None


def _letters(text: str) -> str:
    """What is left of "Low-Light" and of "low_light" alike."""
    return "".join(c for c in text.lower() if c.isalnum())


def metric_title(metric: str) -> str:
    """What a metric is called."""
    return METRICS.get(metric, (metric, ""))[0]


def shown(metric: str, value: float, sign: str = "") -> str:
    """A value as it is printed."""
    return format(value, sign + METRICS.get(metric, ("", ".4f"))[1])


def as_csv(tables: Iterable[Table]) -> str:
    """The values behind tables, one in a line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for table in tables:
        writer.writerows(table.records())
    return text.getvalue()


_SPECIAL = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def latex_escaped(text: str) -> str:
    """Text with nothing in it that means something to LaTeX."""
    return "".join(_SPECIAL.get(c, c) for c in text)


def _latex(grid: Grid) -> str:
    lines = [rf"\begin{{tabular}}{{l{'c' * (len(grid.header) - 1)}}}"]
    for rule, rows in (("top", [grid.header]), ("mid", grid.ours), ("mid", grid.published)):
        if rows:
            lines += [rf"\{rule}rule", *(" & ".join(map(latex_escaped, row)) + r" \\" for row in rows)]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])
