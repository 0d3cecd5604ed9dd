"""Which size of tiles is fastest on a processor: measured while photographs are restored, for they differ by machine.

Large tiles share less with their neighbours; small ones stay in the caches. Which of the two counts for more is another
matter on each machine and for each network.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from dcpt_models.inference.tiling import Tiling

SIDES = (256, 512)  # of the tiles that are tried beside the largest, in pixels
# A size is tried on a tile, twice, if that is no more than this share of the image.
SHARE = 1 / 16
# Times that a size must have been seen: the first one also takes what is taken once, memory above all.
SEEN = 2


class TileSpeeds:
    """Remembers what tiles of each size took, and chooses by it."""

    def __init__(self) -> None:
        self._seen: Counter[tuple[int, int]] = Counter()
        self._least: dict[tuple[int, int], float] = {}  # seconds of a tile

    def note(self, tiling: Tiling, count: int, seconds: float) -> None:
        """Remember what so many tiles took together."""
        shape = _shape(tiling)
        self._seen[shape] += 1
        self._least[shape] = min(seconds / count, self._least.get(shape, seconds / count))

    def is_known(self, tiling: Tiling) -> bool:
        """Whether tiles of this size have been seen often enough."""
        return self._seen[_shape(tiling)] >= SEEN

    def expected(self, tiling: Tiling) -> float:
        """Seconds that an image cut so would take."""
        return self._least[_shape(tiling)] * tiling.count

    def fastest(self, largest: Tiling, others: Sequence[Tiling], attempt: Callable[[Tiling], None]) -> Tiling:
        """The way to cut an image that takes the least time.

        As long as the largest tiles are not known, they are taken, which makes them known for the images that follow.

        Args:
            largest: The largest tiles that memory allows.
            others: With smaller tiles.
            attempt: Restores one tile of a size; what it takes is noted by `note`.
        """
        image = largest.down.length * largest.across.length
        for tiling in others:
            if _area(tiling) <= SHARE * image:
                for _ in range(0 if self.is_known(tiling) else SEEN):
                    attempt(tiling)
        if not self.is_known(largest):
            return largest
        return min((tiling for tiling in (largest, *others) if self.is_known(tiling)), key=self.expected)


def _shape(tiling: Tiling) -> tuple[int, int]:
    return tiling.down.tile, tiling.across.tile


def _area(tiling: Tiling) -> int:
    return tiling.down.tile * tiling.across.tile
