"""Results as a Markdown table, beside those of the paper."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from dcpt_models.option_files import OptionError, nearest
from dcpt_models.validation import Results


@dataclass(frozen=True)
class Published:
    """One row of a published table.

    Attributes:
        source: Paper and table.
        row: Name of the method.
        titles: Set -> title of its column.
        values: Set -> PSNR in dB, SSIM.
    """

    source: str
    row: str
    titles: dict[str, str]
    values: dict[str, tuple[float, float]]


def published_row(table: str, row: str) -> Published:
    """Look a published row up.

    Raises:
        OptionError: If there is no such table or row; the message has the nearest name.
    """
    folder = Path(__file__).parent / "published"
    tables = {file.stem: file for file in folder.glob("*.yml")}
    if table not in tables:
        raise OptionError(f"key 'table:published': no table '{table}'{nearest(table, tables)}")
    data = yaml.safe_load(tables[table].read_text(encoding="utf-8"))
    if row not in data["rows"]:
        raise OptionError(f"key 'table:row': no row '{row}' in {data['source']}{nearest(row, data['rows'])}")
    values = {name: (pair[0], pair[1]) for name, pair in zip(data["columns"], data["rows"][row], strict=True)}
    return Published(data["source"], row, data["columns"], values)


def _cell(metrics: dict[str, float], prefix: str = "", sign: str = "") -> str:
    """PSNR / SSIM, whichever of them was measured."""
    shown = (("psnr", ".2f"), ("ssim", ".3f"))
    return (
        " / ".join(format(metrics[prefix + key], sign + form) for key, form in shown if prefix + key in metrics) or "-"
    )


def _markdown(rows: list[list[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)


def results_table(results: Results, paper: Published | None) -> str:
    """A Markdown table with a row for each set: PSNR in dB / SSIM, from the metrics of these names.

    Args:
        results: What validation returned.
        paper: The published row to set beside it: `ours (paper)`, and the difference.

    Returns:
        The table.
    """
    sets = [name for name, values in results.items() if values.keys() & {"psnr", "ssim"}]
    inputs = any(key.startswith("input_") for name in sets for key in results[name])
    header = ["Data set", *(["Input"] if inputs else []), f"Ours ({paper.row})" if paper else "Restored"]
    rows = [[*header, *(["Difference"] if paper else [])]]
    for name in sets:
        values = results[name]
        title = f"{paper.titles[name]} ({name})" if paper and name in paper.titles and name != "average" else name
        row = [title, *([_cell(values, "input_")] if inputs else []), _cell(values)]
        if paper and name in paper.values:
            psnr, ssim = paper.values[name]
            row[-1] += f" ({psnr:.2f} / {ssim:.3f})"
            published = {"psnr": psnr, "ssim": ssim}
            row.append(_cell({key: values[key] - published[key] for key in published if key in values}, sign="+"))
        elif paper:
            row.append("-")
        rows.append(row)
    return _markdown(rows)
