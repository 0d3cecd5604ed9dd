"""The HTML of a report: one file that needs nothing else, and that a browser lets load nothing else."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from dcpt_models.analysis.report.figures import Chart, draw_chart
from dcpt_models.analysis.report.samples import Example, Samples, rows_of
from dcpt_models.evaluation.table import Grid, Table

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


def page(title: str, reports: Sequence[RunReport], about: str) -> str:
    """A whole page.

    Args:
        title: Of the page.
        reports: A part for each run.
        about: How it was made, in a line.
    """
    style, script = ((FOLDER / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    several = len(reports) > 1
    contents = [_sections(report) for report in reports]
    links = " ".join(
        f'<a href="#{_anchor(i, section)}">{escape(f"{report.name}: {section}" if several else section)}</a>'
        for i, report in enumerate(reports)
        for section in contents[i]
    )
    parts = "\n".join(_run(i, report, contents[i]) for i, report in enumerate(reports))
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{escape(title)}</title>
<style>
{style}</style>
<h1>{escape(title)}</h1>
<p>{escape(about)}</p>
<nav>{links}</nav>
{parts}
<script>
{script}</script>
</html>
"""


def _sections(report: RunReport) -> dict[str, str]:
    """Title -> HTML, of all sections that have something to say."""
    found = {
        TABLE: _table(report),
        CURVES: "".join(_charts(title, charts) for title, charts in report.charts.items()),
        CONFUSION: _matrix(report.samples) if report.samples and report.samples.said else "",
        POINTS: _points(report) if report.points else "",
        EXAMPLES: _examples(report.samples) if report.samples and report.samples.examples else "",
        OPTIONS: f"<details><summary>As archived</summary><pre>{escape(report.options)}</pre></details>",
    }
    notes = {title: "".join(_note(text) for text in report.notes.get(title, [])) for title in found}
    return {title: notes[title] + html for title, html in found.items() if notes[title] or html}


def _run(index: int, report: RunReport, sections: dict[str, str]) -> str:
    facts = "".join(f"<tr><td>{escape(key)}<td>{escape(value)}" for key, value in report.facts.items())
    parts = "\n".join(
        f'<section id="{_anchor(index, title)}"><h3>{title}</h3>{html}</section>' for title, html in sections.items()
    )
    return f'<h2>{escape(report.name)}</h2>\n<table class="facts">{facts}</table>\n{parts}'


def _anchor(index: int, title: str) -> str:
    return f"run-{index}-{title.lower().replace(' ', '-')}"


def _note(text: str) -> str:
    return f'<div class="note">{escape(text)}</div>'


def _table(report: RunReport) -> str:
    if not report.table:
        return ""
    grids = "".join(_grid(report.table.grid(metric)) for metric in report.table.metrics())
    legend = "".join(f"<p>{escape(line)}</p>" for line in report.table.legend())
    return f"<p>Validation after iteration {report.validated:,}.</p>{grids}{legend}"


def _grid(grid: Grid) -> str:
    head = "".join(f"<th>{escape(cell)}" for cell in grid.header)
    rows = "".join(
        f'<tr class="{kind}">' + "".join(f"<td>{escape(cell)}" for cell in row)
        for kind, part in (("ours", grid.ours), ("published", grid.published))
        for row in part
    )
    return f'<div class="scroll"><table><tr>{head}{rows}</table></div><br>'


def _charts(title: str, charts: Sequence[Chart]) -> str:
    images = "".join(_image(draw_chart(chart), "svg+xml", chart.title) for chart in charts)
    return f'<p>{escape(title)}</p><div class="charts">{images}</div>' if charts else ""


def _matrix(samples: Samples) -> str:
    head = "".join(f"<th>{escape(name)}" for name in samples.classes)
    rows = ""
    for name, count, shares in rows_of(samples):
        cells = ""
        for said, share in zip(samples.classes, shares, strict=True):
            hue = "0 114 178" if said in name.split("+") else "213 94 0"  # right, wrong
            ink = "#fff" if share > 0.6 else "inherit"
            cells += f'<td style="background: rgb({hue} / {share:.2f}); color: {ink}">{share:.0%}'
        rows += f"<tr><td>{escape(name)} ({count})</td>{cells}"
    return (
        "<p>Rows: the degradation of the validation images (how many); columns: what the classifier said, as a share "
        f'of the row.</p><div class="scroll"><table class="matrix"><tr><th>{head}{rows}</table></div>'
    )


def _points(report: RunReport) -> str:
    assert report.points is not None
    cells, sentences = report.findings
    rows = "".join(
        "<tr>" + "".join(f"<{'td' if i else 'th'}>{escape(cell)}" for cell in row) for i, row in enumerate(cells)
    )
    lines = "".join(f"<li>{escape(f'{key}: {text}')}" for key, text in sentences.items())
    picture = _image(report.points, "svg+xml", "t-SNE of the features", "points")
    return f'{picture}<div class="scroll"><table>{rows}</table></div><ul class="faint">{lines}</ul>'


def _examples(samples: Samples) -> str:
    what = (
        "Before fine-tuning nothing is restored yet: the network is given clean images, and gives them back."
        if samples.reproduces
        else "Drag the line, or use the arrow keys."
    )
    figures = "".join(_example(one, samples.reproduces) for one in samples.examples)
    return f'<p>{what}</p><div class="examples">{figures}</div>'


def _example(one: Example, reproduces: bool) -> str:
    before, after = ("clean", "given back") if reproduces else ("input", "restored")
    button = f'<button value="{_data(one.target, "jpeg")}">ground truth</button>'
    psnr = f"PSNR {one.psnr[1]:.2f} dB" if reproduces else f"PSNR {one.psnr[0]:.2f} to {one.psnr[1]:.2f} dB"
    return (
        '<figure class="example"><div class="compare">'
        f"{_image(one.before, 'jpeg', before)}{_image(one.after, 'jpeg', after)}"
        f"<span>{before}</span><span>{after}</span>"
        f'<input type="range" min="0" max="100" value="50" aria-label="{escape(one.title)}: where the line is">'
        f"</div><figcaption>{escape(one.title)}. {psnr} {'' if reproduces else button}</figcaption></figure>"
    )


def _image(data: bytes, kind: str, text: str, style: str = "") -> str:
    return f'<img src="{_data(data, kind)}" alt="{escape(text)}"{f" class={style}" if style else ""}>'


def _data(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
