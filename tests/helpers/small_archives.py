"""Archives of published data sets as they look when unpacked, with two tiny images each, made from their layouts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dcpt_data.images.pixels import write_image
from dcpt_data.preparation.archives import example
from dcpt_data.sources.published import Layout, Source, known_sources

ROOT_OF_NONE = "somewhere"  # where a layout takes any folder


def every_layout() -> Iterator[tuple[Source, int]]:
    """All sources with the numbers of their layouts."""
    for source in known_sources().values():
        for number in range(len(source.layouts)):
            yield source, number


def path_of(pattern: str, *texts: str, choice: int = 0) -> str:
    """A path that a pattern matches: its `{}` are the texts, and of alternatives it is the one of a number."""
    path = example(pattern.replace("**/", "some/where/"), choice).replace("*", "")
    assert path.count("{}") == len(texts)
    return path.format(*texts)


def image(number: int, size: tuple[int, int] = (24, 32)) -> np.ndarray:
    """An image that no other number gives."""
    return np.random.default_rng(number).integers(0, 256, (*size, 3), np.uint8)


def names_of(source: Source, count: int = 2) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """The texts that name some images, of the ground truth and of the degraded one."""
    layout = source.layouts[0]
    if source.pairing == "prefix":
        return [((f"{i:04}",), (f"{i:04}_0.8_0.2",)) for i in range(1, count + 1)]
    texts = layout.gt.count("{}")
    leading = ("a", "b")[: texts - 1]
    return [((*leading, f"{i}"), (*leading, f"{i}")) for i in range(1, count + 1)]


def unpack(home: Path, source: Source, layout: Layout, count: int = 2, choice: int = 0, first: int = 0) -> Path:
    """Write `count` pairs as a layout has them, below its root, and return the root.

    The nth ground truth is `image(first + n)`; a degraded image is half as bright.
    """
    root = home / (path_of(layout.root, choice=choice) if layout.root else ROOT_OF_NONE)
    for number, (gt, lq) in enumerate(names_of(source, count)):
        pixels = image(first + number)
        sides = [(layout.gt, gt, pixels)] + ([(layout.lq, lq, pixels // 2)] if layout.lq else [])
        for pattern, texts, content in sides:
            file = root / f"{path_of(pattern, *texts, choice=choice)}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            write_image(file, content)
    return root
