"""The data sets that option files may name as `source`; the descriptions themselves are data, in sources.yml."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from dcpt_common import nearest
from dcpt_data.errors import DataError
from dcpt_data.sources.pairing import Rule

Part = Literal["train", "test"]


@dataclass(frozen=True)
class Layout:
    """How an archive of a data set looks when it is unpacked; patterns as `dcpt_data.preparation.archives` reads them.

    Attributes:
        gt: Paths of the ground truth below the root.
        lq: Paths of the degraded images below the root; None if the degradation is synthesised.
        root: End of the root's own path; None if any folder may be it.
        order: Where the names on both sides differ, the nth of them belong to each other.
    """

    gt: str
    lq: str | None = None
    root: str | None = None
    order: bool = False


@dataclass(frozen=True)
class Crops:
    """Squares that photographs are cut into: `size` pixels wide and high, `step` pixels from one to the next."""

    size: int
    step: int


@dataclass(frozen=True)
class Source:
    """One published data set.

    Attributes:
        name: How option files name it.
        degradation: The class label of its images; several joined by "+" for a composition.
        part: What it is for; no photograph should be in both.
        folder: Where it lies below the data sets' root. Sources may share a folder, and the ground truth in it.
        gt: Folder of the ground truth below `folder`.
        about: Name, paper and part.
        where: Its authors' page.
        layouts: How its archives look.
        lq: Folder of the degraded images below `folder`; None if the degradation is synthesised.
        pairing: See `dcpt_data.sources.pairing`.
        count: Degraded images (or photographs to degrade) when complete; None if that is not known.
        size: Width and height of most of its images in pixels; None if they differ too much, or it is not known.
        size_about: The same where it is not known for certain.
        photographs: Images of the ground truth, where several degraded images share one; None if there are as many.
        crops: How its photographs are cut; None if they are whole.
        stand_in: What a stand-in is degraded by instead, where `degradation` cannot be synthesised.
    """

    name: str
    degradation: str
    part: Part
    folder: str
    gt: str
    about: str
    where: str
    layouts: tuple[Layout, ...]
    lq: str | None = None
    pairing: Rule = "same"
    count: int | None = None
    size: tuple[int, int] | None = None
    size_about: tuple[int, int] | None = None
    photographs: int | None = None
    crops: Crops | None = None
    stand_in: str | None = None

    def roots(self, datasets_root: str | Path) -> tuple[Path, Path | None]:
        """Folders of the ground truth and, if there are any, of the degraded images."""
        base = Path(datasets_root, self.folder)
        return base / self.gt, base / self.lq if self.lq is not None else None


@dataclass(frozen=True)
class _Catalogue:
    sources: dict[str, Source]
    groups: dict[str, list[str]]
    settings: dict[str, dict[Part, list[str]]]


@cache
def _catalogue() -> _Catalogue:
    data = yaml.safe_load((Path(__file__).parent / "sources.yml").read_text(encoding="utf-8"))
    sources: dict[str, Source] = {}
    groups: dict[str, list[str]] = data["groups"]
    for name, entry in data["sources"].items():
        made = {source.name: source for source in _read(name, entry)}
        sources |= made
        if list(made) != [name]:
            groups[name] = list(made)
    settings = {
        setting: {part: [member for name in names for member in groups.get(name, [name])] for part, names in of.items()}
        for setting, of in data["settings"].items()
    }
    return _Catalogue(sources, groups, settings)


def register_source(name: str, **entry: Any) -> None:
    """Make a data set known by name, as if it stood in sources.yml.

    Args:
        name: How option files name it.
        entry: What sources.yml says of a data set: `degradation`, `part`, `folder`, `gt`, `about`, `where`, and
            whatever else `Source` has.

    Raises:
        DataError: If the name is taken, or a field is missing or unknown.
    """
    if name in known_sources() or name in known_groups():
        raise DataError(f"there is a data set '{name}' already; choose another name")
    try:
        made = list(_read(name, dict(entry)))
    except TypeError as error:
        raise DataError(f"data set '{name}': {error}; the fields are those of Source") from error
    _catalogue().sources.update({source.name: source for source in made})


def _read(name: str, entry: dict[str, Any]) -> Iterator[Source]:
    """The sources of one entry: itself, or its members."""
    members = entry.pop("members", None)
    crops, layouts = entry.pop("crops", None), entry.pop("layouts", [])
    sizes: dict[str, Any] = {key: tuple(entry.pop(key)) for key in ("size", "size_about") if key in entry}
    for member, degradation in members.items() if members else [("", entry.pop("degradation", None))]:
        own = {key: _fill_in(value, member) for key, value in entry.items()}
        yield Source(
            name=f"{name}-{member}" if member else name,
            degradation=degradation,
            layouts=tuple(Layout(**_fill_in(layout, member)) for layout in layouts),
            crops=Crops(**crops) if crops else None,
            **sizes,
            **own,
        )


def _fill_in(value: Any, member: str) -> Any:
    if isinstance(value, dict):
        return {key: _fill_in(inner, member) for key, inner in value.items()}
    return value.replace("{member}", member) if isinstance(value, str) else value


def known_sources() -> dict[str, Source]:
    """All sources by name."""
    return _catalogue().sources


def known_groups() -> dict[str, list[str]]:
    """Names that stand for several sources, which they are."""
    return _catalogue().groups


def known_settings() -> dict[str, dict[Part, list[str]]]:
    """The settings of the paper: name -> {"train": source names, "test": source names}."""
    return _catalogue().settings


def get_source(name: str) -> Source:
    """Look a source up.

    Raises:
        DataError: If there is none of this name; the message has the nearest name.
    """
    sources = known_sources()
    if name in known_groups():
        raise DataError(f"'{name}' is a group of data sets; name them one by one: {', '.join(known_groups()[name])}")
    if name not in sources:
        raise DataError(f"no data set named '{name}' in sources.yml{nearest(name, sources, limit=len(sources))}")
    return sources[name]


def expand(names: Iterable[str]) -> list[Source]:
    """The sources that names of sources and groups stand for, each once.

    Raises:
        DataError: If a name is not known; the message has the nearest name.
    """
    found: dict[str, Source] = {}
    for name in names:
        if name not in known_groups() and name not in known_sources():
            raise DataError(
                f"no data set named '{name}' in sources.yml{nearest(name, [*known_sources(), *known_groups()])}"
            )
        for member in known_groups().get(name, [name]):
            found[member] = get_source(member)
    return list(found.values())


def sharing(sources: Iterable[Source]) -> dict[str, list[Source]]:
    """Sources by the folder that they lie in."""
    by_folder: dict[str, list[Source]] = {}
    for source in sources:
        by_folder.setdefault(source.folder, []).append(source)
    return by_folder


def source_folder(root_gt: Path, source: Source) -> Path:
    """The folder of a source whose ground truth lies in `root_gt`."""
    return (root_gt / "image").parents[len(Path(source.gt).parts)]
