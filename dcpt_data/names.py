"""Help with names that are not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the one that was probably meant, and all that are known."""
    names = [str(other) for other in known]
    matches = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"; did you mean '{matches[0]}'?" if matches else "."
    return f"{hint} Known: {', '.join(names)}"
