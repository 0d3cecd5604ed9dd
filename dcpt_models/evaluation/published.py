"""Published tables, as data with their source: one file each in `published_tables/`.

A file has these keys:

* `source`: paper and table; `about`: what it shows.
* `columns`: name of a test set, as option files have it -> title of its column; `average` is the mean over the sets.
* `rows`: method -> metric -> a value for each column, `~` where the paper has none; PSNR in dB, accuracy from 0 to 1.
* `means`: method -> metric -> the mean of the row's printed values, where it is not the average that the paper prints.
* `sources`: method -> where its row is from, if not all are from `source`.
* `notes`: whatever else a reader must know, such as values that differ from another table of the same paper.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import yaml

from dcpt_common import nearest
from dcpt_models.errors import OptionError

FOLDER = Path(__file__).parent / "published_tables"
AVERAGE = "average"
# The file that has averages of other papers: its columns are names of other files.
FIELD = "field"

Values = dict[str, dict[str, float]]  # set -> metric -> value


@dataclass(frozen=True)
class PublishedTable:
    """A published table.

    Attributes:
        name: Name of its file.
        source: Paper and table.
        about: What it shows.
        columns: Set -> title of its column, in the paper's order.
        rows: Method -> set -> metric -> value, without those that the paper does not give.
        means: Method -> metric -> mean of the printed values, where that is not the printed average.
        sources: Method -> where its row is from, if not from `source`.
        notes: What else must be known.
    """

    name: str
    source: str
    about: str
    columns: dict[str, str]
    rows: dict[str, Values]
    means: Values = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def row(self, name: str) -> Values:
        """A method's values.

        Where the paper prints no average, the plain mean of the values stands in for it, if none of them is missing.

        Raises:
            OptionError: If there is no such method; the message has the nearest name.
        """
        if name not in self.rows:
            raise OptionError(f"key 'table:row': no row '{name}' in {self.source}{nearest(name, self.rows)}")
        values = self.rows[name]
        if self.prints_average or len(self.columns) == 1:
            return values
        metrics = list(next(iter(values.values()), {}))
        whole = [m for m in metrics if all(m in values.get(column, {}) for column in self.columns)]
        means = {m: sum(values[column][m] for column in self.columns) / len(self.columns) for m in whole}
        return {**values, AVERAGE: means} if means else values

    @property
    def prints_average(self) -> bool:
        """Whether the paper prints an average over the sets."""
        return AVERAGE in self.columns


def published_names() -> list[str]:
    """The names of all published tables."""
    return sorted(file.stem for file in FOLDER.glob("*.yml"))


@cache
def read_published(name: str) -> PublishedTable:
    """Look a published table up.

    Raises:
        OptionError: If there is none of this name; the message has the nearest name.
    """
    if name not in published_names():
        raise OptionError(f"key 'table:published': no table '{name}'{nearest(name, published_names())}")
    data = yaml.safe_load((FOLDER / f"{name}.yml").read_text(encoding="utf-8"))
    columns = {str(key): str(title) for key, title in data.pop("columns").items()}
    rows: dict[str, Values] = {}
    for method, metrics in data.pop("rows").items():
        rows[method] = {column: {} for column in columns}
        for metric, values in metrics.items():
            for column, value in zip(columns, values, strict=True):
                if value is not None:
                    rows[method][column][metric] = value
    return PublishedTable(name=name, columns=columns, rows=rows, **data)


def field_averages(name: str) -> dict[str, tuple[dict[str, float], str]]:
    """Averages that other papers publish for the setting of a table: method -> (metric -> value, source)."""
    table = read_published(FIELD)
    if name not in table.columns:
        return {}
    known = read_published(name).rows
    return {
        method: (values[name], table.sources[method])
        for method, values in table.rows.items()
        if values[name] and method not in known
    }
