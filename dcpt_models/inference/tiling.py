"""Large images in overlapping tiles: where they lie, and how their results are joined without seams."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import torch

Rows = tuple[int, torch.Tensor]


@dataclass(frozen=True)
class Axis:
    """How tiles cover one side of an image.

    Neighbours share `overlap` pixels or more. In the middle of what they share, over half of `overlap`, the one fades
    into the other; so at least a quarter of `overlap` next to a tile's inner edge, where the network lacked
    surroundings, is not used at all.

    Attributes:
        length: The side in pixels, a multiple of the network's size multiple, as are the next three.
        tile: Side of a tile.
        overlap: Least number of pixels that neighbours share; at most half of `tile`.
        starts: Where tiles begin.
    """

    length: int
    tile: int
    overlap: int
    starts: tuple[int, ...]

    def enlarged(self, factor: int) -> Axis:
        """The same tiles on a side that is `factor` times as long."""
        starts = tuple(factor * start for start in self.starts)
        return Axis(factor * self.length, factor * self.tile, factor * self.overlap, starts)

    def fades(self) -> list[tuple[int, int]]:
        """First pixel of each fade and the one behind its last, from the first pair of neighbours on."""
        half = self.overlap // 4
        middles = [(after + before + self.tile) // 2 for before, after in pairwise(self.starts)]
        return [(middle - half, middle + half) for middle in middles]

    def parts(self) -> list[tuple[int, int, torch.Tensor]]:
        """What is used of each tile: begin and end in the image, and the weight of each pixel between, in [0, 1].

        The weights of all tiles sum to 1 at every pixel.
        """
        fades = self.fades()
        found = []
        for index in range(len(self.starts)):
            begin = fades[index - 1][0] if index > 0 else 0
            end = fades[index][1] if index < len(fades) else self.length
            weight = torch.ones(end - begin)
            if index > 0:
                rise = _ramp(fades[index - 1])
                weight[: len(rise)] = rise
            if index < len(fades):
                rise = _ramp(fades[index])
                weight[len(weight) - len(rise) :] = 1 - rise
            found.append((begin, end, weight))
        return found

    def own(self, unit: int) -> list[slice]:
        """The part of each tile that is no other's, in units of so many pixels from where the tile begins.

        Neighbours meet about in the middle of what they share. `unit` divides what tiles begin at, and their side.
        """
        middles = [(after + before + self.tile) // 2 for before, after in pairwise(self.starts)]
        edges = [0, *(middle // unit for middle in middles), self.length // unit]
        firsts = [start // unit for start in self.starts]
        return [slice(begin - first, end - first) for first, (begin, end) in zip(firsts, pairwise(edges), strict=True)]


def _ramp(fade: tuple[int, int]) -> torch.Tensor:
    """From 0 to 1 along half a period of a cosine, whose ends have no kink."""
    length = fade[1] - fade[0]
    return 0.5 - 0.5 * torch.cos((torch.arange(length) + 0.5) * (math.pi / max(1, length)))


def cover(length: int, tile: int, overlap: int, multiple: int) -> Axis:
    """Cover a side with as few equal tiles of at most the given size as can be, evenly spread.

    Args:
        length: The side in pixels; it is rounded up to `multiple`.
        tile: Largest side of a tile; a tile is at least twice the overlap.
        overlap: Least number of pixels that neighbours share; rounded up to `multiple`.
        multiple: The network's size multiple. Tiles begin at multiples of it, so that what the network does at coarser
            resolutions falls on the same pixels as in the whole image.
    """
    length, overlap = _round_up(length, multiple), _round_up(overlap, multiple)
    tile = max(tile // multiple * multiple, 2 * overlap, multiple)
    if tile >= length:
        return Axis(length, length, overlap, (0,))
    count = math.ceil((length - overlap) / (tile - overlap))
    tile = max(_round_up(math.ceil((length + (count - 1) * overlap) / count), multiple), 2 * overlap)
    last = (length - tile) // multiple
    return Axis(length, tile, overlap, tuple(i * last // (count - 1) * multiple for i in range(count)))


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


@dataclass(frozen=True)
class Tiling:
    """How an image is cut.

    Attributes:
        down: Along the height.
        across: Along the width.
        batch: Tiles that a network gets at once, at most.
    """

    down: Axis
    across: Axis
    batch: int = 1

    @property
    def count(self) -> int:
        """Number of tiles."""
        return len(self.down.starts) * len(self.across.starts)

    @property
    def pixels(self) -> int:
        """Pixels that a network gets at once, at most."""
        return self.down.tile * self.across.tile * min(self.batch, len(self.across.starts))

    def enlarged(self, factor: int) -> Tiling:
        """The same tiles in an image whose sides are `factor` times as long: where a network's results lie."""
        return replace(self, down=self.down.enlarged(factor), across=self.across.enlarged(factor))


def plan(height: int, width: int, pixels: int, side: int | None, overlap: int, multiple: int) -> Tiling:
    """Choose tiles for an image.

    Args:
        height: Of the image.
        width: Of the image.
        pixels: What a network can take at once. A tile is not smaller than twice the overlap, even if that is more.
        side: Side of the tiles; None for the largest that can be taken, the whole image if it fits.
        overlap: Least number of pixels that neighbours share.
        multiple: The network's size multiple.
    """
    if side is None:
        high, wide = _round_up(height, multiple), _round_up(width, multiple)
        # Square tiles, as long as neither side of the image is shorter than they.
        square = math.isqrt(max(0, pixels))
        wide = min(wide, max(square, pixels // min(high, max(1, square))))
        high = min(high, max(square, pixels // max(1, wide)))
    else:
        high = wide = side
    down, across = cover(height, high, overlap, multiple), cover(width, wide, overlap, multiple)
    return Tiling(down, across, max(1, pixels // (down.tile * across.tile)))


def join(
    tiling: Tiling, tiles: Callable[[int, int], torch.Tensor], restore: Callable[[torch.Tensor], torch.Tensor]
) -> Iterator[Rows]:
    """Restore an image tile by tile, from the top down, with no more in memory than one row of tiles.

    Args:
        tiling: The tiles.
        tiles: (top, left) -> what is to be restored to the tile that begins there, padded where the image ends.
        restore: N of them -> N x C x tile height x tile width.

    Yields:
        Finished rows: the number of the first, and C x rows x (padded) width; all rows in order, the padded ones too.
    """
    parts = list(zip(tiling.across.starts, tiling.across.parts(), strict=True))
    carried: torch.Tensor | None = None
    vertical = tiling.down.parts()
    for row, (top, (begin, end, weight)) in enumerate(zip(tiling.down.starts, vertical, strict=True)):
        strip: torch.Tensor | None = None
        for first in range(0, len(parts), tiling.batch):
            group = parts[first : first + tiling.batch]
            restored = restore(torch.stack([tiles(top, left) for left, _ in group]))
            if strip is None:
                strip = restored.new_zeros(restored.shape[1], end - begin, tiling.across.length)
            for image, (left, (start, stop, fade)) in zip(restored, group, strict=True):
                used = image[:, begin - top : end - top, start - left : stop - left]
                strip[:, :, start:stop] += used * fade.to(image)
        assert strip is not None
        strip *= weight.to(strip)[:, None]
        if carried is not None:
            strip[:, : carried.shape[1]] += carried
        finished = (vertical[row + 1][0] if row + 1 < len(vertical) else end) - begin
        carried = strip[:, finished:].clone()
        yield begin, strip[:, :finished]
