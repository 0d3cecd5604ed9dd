"""The HTML page of a report: one file that loads nothing from elsewhere."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dcpt_models.analysis.report.figures import Chart, draw_chart
from dcpt_models.analysis.report.samples import Samples, rows_of
from dcpt_models.evaluation.table import Table

FOLDER = Path(__file__).parent


@dataclass
class RunReport:
    """What is known of a run. What is not has a note that says why.

    Attributes:
        name: The run's name.
        facts: What it is, line by line.
        options: Its archived option file.
        charts: Title of a group -> its charts.
        table: Its last validation, beside a published table if the options name one.
        validated: The iteration of that.
        samples: What its newest checkpoint makes of its validation images.
        points: t-SNE of their features, as SVG.
        findings: What stands below that: a Markdown table's cells, and sentences.
        notes: Section -> why it is empty, or what must be known of it.
    """

    name: str
    facts: dict[str, str]
    options: str
    charts: dict[str, list[Chart]] = field(default_factory=dict)
    table: Table | None = None
    validated: int = 0
    samples: Samples | None = None
    points: bytes | None = None
    findings: tuple[list[list[str]], dict[str, str]] = field(default_factory=lambda: ([], {}))
    notes: dict[str, list[str]] = field(default_factory=dict)

    def note(self, section: str, text: str) -> None:
        """Add a note to a section."""
        self.notes.setdefault(section, []).append(text)


# Sections of a run, in the order of the page.
TABLE, CURVES, CONFUSION, POINTS, EXAMPLES, OPTIONS = (
    "Results",
    "Curves",
    "Confusion matrix",
    "Features",
    "Examples",
    "Options",
)


@dataclass(frozen=True)
class Section:
    """A section of a run's part of the page: `filled` if it has more than notes."""

    title: str
    anchor: str
    notes: list[str]
    filled: bool


def page(title: str, reports: Sequence[RunReport], about: str) -> str:
    """A whole page.

    Args:
        title: Of the page.
        reports: A part for each run.
        about: How it was made, in a line.
    """
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(uri=_uri, draw=draw_chart, rows_of=rows_of)
    return environment.get_template("page.html.j2").render(
        title=title,
        about=about,
        runs=[{"report": report, "sections": _sections(i, report)} for i, report in enumerate(reports)],
        policy="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'",
        style=(FOLDER / "page.css").read_text(encoding="utf-8"),
        script=(FOLDER / "page.js").read_text(encoding="utf-8"),
    )


def _sections(index: int, report: RunReport) -> list[Section]:
    """All sections that have something to say."""
    filled = {
        TABLE: bool(report.table),
        CURVES: any(report.charts.values()),
        CONFUSION: bool(report.samples and report.samples.said),
        POINTS: bool(report.points),
        EXAMPLES: bool(report.samples and report.samples.examples),
        OPTIONS: True,
    }
    anchors = {title: f"run-{index}-{title.lower().replace(' ', '-')}" for title in filled}
    sections = [Section(title, anchors[title], report.notes.get(title, []), has) for title, has in filled.items()]
    return [section for section in sections if section.notes or section.filled]


def _uri(data: bytes, kind: str) -> str:
    """An image as part of the page."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
