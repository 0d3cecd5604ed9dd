"""The list of published data sets: which are present, and a Markdown table of all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dcpt_common import markdown
from dcpt_data.datasets.locating import locate, open_images
from dcpt_data.datasets.options import SetOptions
from dcpt_data.errors import DataError
from dcpt_data.preparation.archives import examples
from dcpt_data.preparation.stand_ins import is_stand_in
from dcpt_data.sources.published import Source, known_groups, known_sources


@dataclass(frozen=True)
class Presence:
    """What is there of a data set.

    Attributes:
        found: Pairs, or photographs to degrade; None if nothing can be read.
        text: The same in words.
        stand_in: It is not what was published.
    """

    found: int | None
    text: str
    stand_in: bool


def presence(source: Source, datasets_root: str) -> Presence:
    """Look what is there of a data set. Names are read, images are not."""
    if not any(Path(datasets_root, source.folder).glob("*")):
        return Presence(None, "-", False)
    images = locate(SetOptions(source=source.name, datasets_root=datasets_root))
    stand_in = is_stand_in(images)
    try:
        found = len(open_images(images))
    except DataError:
        return Presence(None, "incomplete: check it", stand_in)
    if stand_in:
        return Presence(found, f"stand-in of {found:,}", stand_in)
    return Presence(found, f"{found:,}" + (f" of {source.count:,}" if source.count else ""), stand_in)


def markdown_table() -> str:
    """All data sets in a Markdown table, those that share an archive and the ground truth in one row."""
    families = {tuple(members): name for name, members in known_groups().items() if _is_family(name, members)}
    rows = {members[0]: (name, members) for members, name in families.items()}
    inner = {member for members in families for member in members[1:]}
    table = [["name", "for", "degradation", "images", "what it is", "how its archive looks"]]
    for source in known_sources().values():
        if source.name not in inner:
            table.append(_row(source, *rows.get(source.name, (source.name, (source.name,)))))
    return markdown.table(table, padded=False)


def _is_family(name: str, members: list[str]) -> bool:
    return all(member.startswith(f"{name}-") for member in members)


def _row(source: Source, name: str, members: tuple[str, ...]) -> list[str]:
    label, degradation = f"`{name}`", source.degradation
    if len(members) > 1:
        label += f": `{members[0]}`, " + ", ".join(f"`{member.removeprefix(name)}`" for member in members[1:])
        degradation = "as named"
    unit = "pairs" if source.lq is not None else "photographs"
    count = f"{source.count:,} {unit}" if source.count is not None else unit
    return [
        label,
        source.part,
        degradation,
        count + (" each" if len(members) > 1 else ""),
        f"[{source.about}]({source.where})",
        "<br>".join(" and ".join(f"`{path}`" for path in examples(layout)) for layout in source.layouts),
    ]
