"""The data sets that option files may name as `source`; the descriptions themselves are data, in sources.yml."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from dcpt_data.errors import DataError
from dcpt_data.names import nearest
from dcpt_data.pairing import Rule


@dataclass(frozen=True)
class Source:
    """One published data set.

    Attributes:
        name: How option files name it.
        degradation: The class label of its images.
        folder: Where it lies below the data sets' root.
        gt: Folder of the ground truth below `folder`.
        lq: Folder of the degraded images below `folder`; None if the degradation is synthesised.
        pairing: See `dcpt_data.pairing`.
        count: Degraded images (or photographs to degrade) when complete.
        about: Name, paper and part.
        where: Its authors' page.
    """

    name: str
    degradation: str
    folder: str
    gt: str
    count: int
    about: str
    where: str
    lq: str | None = None
    pairing: Rule = "same"


@cache
def _catalogue() -> tuple[dict[str, Source], dict[str, dict[str, list[str]]]]:
    data = yaml.safe_load((Path(__file__).parent / "sources.yml").read_text(encoding="utf-8"))
    return {name: Source(name=name, **entry) for name, entry in data["sources"].items()}, data["settings"]


def known_sources() -> dict[str, Source]:
    """All sources by name."""
    return _catalogue()[0]


def known_settings() -> dict[str, dict[str, list[str]]]:
    """The all-in-one settings: name -> {"train": source names, "test": source names}."""
    return _catalogue()[1]


def get_source(name: str) -> Source:
    """Look a source up.

    Raises:
        DataError: If there is none of this name; the message has the nearest name.
    """
    sources = known_sources()
    if name not in sources:
        raise DataError(f"no data set named '{name}' in sources.yml{nearest(name, sources)}")
    return sources[name]
