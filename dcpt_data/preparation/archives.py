"""Finding a published data set in the folder that its archives were unpacked into, by the layouts of sources.yml.

Patterns are paths without the images' suffixes. ``{}`` is a text within one name that belongs to the image's own name,
``*`` any text within one name, ``**/`` any number of folders, ``(a|b)`` one of several texts. Capitals do not matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from dcpt_data.errors import DataError
from dcpt_data.images.pixels import IMAGE_SUFFIXES, list_names
from dcpt_data.sources.pairing import gt_name_by
from dcpt_data.sources.published import Layout, Source, known_sources

_TOKENS = {"**/": "(?:[^/]+/)*", "*": "[^/]*", "{}": "([^/]+?)", "(": "(?:", "|": "|", ")": ")"}
_SUFFIX = f"(?:{'|'.join(re.escape(suffix) for suffix in sorted(IMAGE_SUFFIXES))})"


@dataclass(frozen=True)
class Recognised:
    """A data set found below a folder.

    Attributes:
        source: The published data set.
        layout: The one of its layouts that fits.
        root: The folder that the layout's paths are below.
        gt: Ground truth by the name that it gets below the source's `gt`, without suffix. What no degraded image
            belongs to is left out.
        lq: Degraded images likewise; empty if they are synthesised.
        unpaired: Degraded images without ground truth; they are not in `lq`.
        unused: How many images of the ground truth are left out.
    """

    source: Source
    layout: Layout
    root: Path
    gt: dict[str, Path]
    lq: dict[str, Path]
    unpaired: list[Path]
    unused: int

    @property
    def count(self) -> int:
        """Pairs, or photographs to degrade."""
        return len(self.lq) if self.source.lq is not None else len(self.gt)


class Unpacked:
    """A folder that archives were unpacked into.

    Args:
        folder: The folder.

    Raises:
        DataError: If it is missing or holds no image.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser().absolute()
        self._names = list_names(self.folder)

    def find(self, source: Source) -> Recognised:
        """Find a data set, wherever it is nested.

        A layout's root is looked for by its name; the folder itself may be it under any other name.

        Raises:
            DataError: If it is not there, is there twice, or two images would get one name.
        """
        found = [(layout, root) for layout in source.layouts for root in self._roots_of(layout)]
        others = [] if found else self._named_like_others(source)
        if not found and not others:
            found = [(layout, "") for layout in source.layouts if self._fits(layout, "")]
        if not found:
            looks = f" It is {' and '.join(others)}." if others else ""
            raise DataError(f"{self.folder}: {source.name} is not there.{looks} Expected is\n{describe(source)}")
        sets = [self._read(source, layout, root) for layout, root in found]
        best = max(sets, key=lambda one: (one.count, len(one.root.parts)))  # the first of equals
        if not best.count:
            raise DataError(
                f"{best.root}: no degraded image of {source.name} has its ground truth; one is {best.unpaired[0].name}"
            )
        rivals = {one.root for one in sets if one.count and not _related(one.root, best.root)}
        if rivals:
            raise DataError(
                f"{self.folder}: {source.name} is there more than once, in {best.root} and {min(rivals)}; name one"
            )
        return best

    @cached_property
    def _folders(self) -> list[str]:
        """The folder ("") and all within it that hold images, at any depth; each ends with a slash."""
        folders = {""}
        for name in self._names:
            home = name.rpartition("/")[0]
            while home and f"{home}/" not in folders:
                folders.add(f"{home}/")
                home = home.rpartition("/")[0]
        return sorted(folders)

    def _roots_of(self, layout: Layout) -> list[str]:
        """Folders that have the name of a layout's root and hold what it says."""
        return [root for root in self._folders if self._is_named(layout, root) and self._fits(layout, root)]

    def _is_named(self, layout: Layout, root: str) -> bool:
        if layout.root is None:
            return root == ""
        parts = (self.folder / root).parts[1:]
        name = _pattern(layout.root, "")
        return any(name.fullmatch("/".join(parts[-length:])) for length in range(1, layout.root.count("/") + 2))

    def _fits(self, layout: Layout, root: str) -> bool:
        """Whether a folder holds at least one image of each side of a layout."""
        return all(next(self._matching(side, root), None) for side in (layout.gt, layout.lq) if side is not None)

    def _matching(self, pattern: str, root: str) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Names below a root that a pattern matches, and the texts that it takes from them."""
        compiled = _pattern(pattern, _SUFFIX)
        for name in self._names:
            if name.startswith(root) and (match := compiled.fullmatch(name, len(root))):
                yield name, match.groups()

    def _named_like_others(self, source: Source) -> list[str]:
        """Other sources that have the name of this very folder: it is not to be taken for `source`."""
        return [
            other.name
            for other in known_sources().values()
            for layout in other.layouts
            if layout.root and layout not in source.layouts and self._is_named(layout, "") and self._fits(layout, "")
        ]

    def _read(self, source: Source, layout: Layout, root: str) -> Recognised:
        """All images of a layout, paired by the source's rule."""
        rule, home = source.pairing, self.folder / root
        gt_template, lq_template = (rule["gt"], rule["lq"]) if isinstance(rule, dict) else (None, None)
        gt = self._named(layout.gt, gt_template, root)
        if layout.lq is None:
            return Recognised(source, layout, home, gt, {}, [], 0)
        lq = self._named(layout.lq, lq_template, root)
        if layout.order and gt.keys() != lq.keys():
            if len(gt) != len(lq):
                raise DataError(
                    f"{home}: {len(lq)} degraded images and {len(gt)} of ground truth cannot belong to each other by "
                    "their order; complete what is missing"
                )
            gt = dict(zip(sorted(lq), (gt[name] for name in sorted(gt)), strict=True))
        gt_name = gt_name_by(rule)
        wanted = {name: gt_name(name) for name in lq}
        used = {name for name in wanted.values() if name in gt}
        return Recognised(
            source,
            layout,
            home,
            gt={name: path for name, path in gt.items() if name in used},
            lq={name: path for name, path in lq.items() if wanted[name] in used},
            unpaired=[path for name, path in lq.items() if wanted[name] not in used],
            unused=len(gt) - len(used),
        )

    def _named(self, pattern: str, template: str | None, root: str) -> dict[str, Path]:
        """Images by their names in the data set: the texts that a pattern takes, in the rule's template if any."""
        found: dict[str, Path] = {}
        for below, texts in self._matching(pattern, root):
            name = template.format(*texts) if template else "/".join(texts)
            path = self.folder / below
            if name in found:
                raise DataError(f"{found[name]} and {path} would both become '{name}'; remove one of them")
            found[name] = path
        return found


def describe(source: Source) -> str:
    """The layouts of a source, a line each."""
    return "\n".join(f"  {'   and   '.join(examples(layout))}" for layout in source.layouts)


def examples(layout: Layout) -> list[str]:
    """How the paths of degraded images (if there are any) and of the ground truth look, root included."""
    root = f"{layout.root}/" if layout.root else ""
    return [example(root + side) for side in (layout.lq, layout.gt) if side is not None]


def example(pattern: str, choice: int = 0) -> str:
    """A pattern with one alternative only, by number as far as there are so many, and without `**/`."""
    while "(" in pattern:
        pattern = re.sub(r"\(([^()]*)\)", lambda found: (texts := found[1].split("|"))[choice % len(texts)], pattern)
    return pattern.replace("**/", "")


def _related(first: Path, second: Path) -> bool:
    return first == second or first in second.parents or second in first.parents


@cache
def _pattern(text: str, ending: str) -> re.Pattern[str]:
    tokens = re.split(r"(\*\*/|\*|\{\}|[(|)])", text)
    return re.compile("".join(_TOKENS.get(token, re.escape(token)) for token in tokens) + ending, re.IGNORECASE)
