"""Which values a number of an option file may have, declared beside its type."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any


@dataclass(frozen=True)
class Range:
    """Which values a number may have, stated where it is declared: `grad_clip: Annotated[float, Range(above=0)]`.

    Attributes:
        least: The least value.
        most: The largest value.
        above: What it must be above.
        below: What it must be below.
    """

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None

    def refusal(self, value: Any) -> str | None:
        """What is wrong with a value; None if it is in the range, or is no number at all."""
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            return None
        bounds = (
            (self.least is None or value >= self.least, f"{self.least} or more"),
            (self.above is None or value > self.above, f"above {self.above}"),
            (self.most is None or value <= self.most, f"{self.most} or less"),
            (self.below is None or value < self.below, f"below {self.below}"),
        )
        wanted = (
            "a finite number" if not math.isfinite(value) else next((text for met, text in bounds if not met), None)
        )
        return f"must be {wanted}, not {value}" if wanted else None


Count = Annotated[int, Range(least=1)]
"""A whole number of things that there must be."""
Natural = Annotated[int, Range(least=0)]
"""A whole number of things that there may be."""
Blocks = Annotated[int, Range(least=0, most=1000)]
"""How often a network repeats a block; published ones have at most some hundred, and 10**9 would be built for hours."""
Depth = Annotated[int, Range(least=1, most=1000)]
"""The same of a network that has nothing but these blocks."""
Positive = Annotated[float, Range(above=0)]
"""What has no effect, or no meaning, at 0."""
NotNegative = Annotated[float, Range(least=0)]
"""What is switched off at 0."""
Seed = Annotated[int, Range(least=0, most=2**32 - 1)]
"""A seed, from which others are computed that must fit 64 bits."""
