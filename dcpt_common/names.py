"""The known name that an unknown one most likely means; used in error messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def closest(name: str, known: Iterable[str]) -> str | None:
    """The one of `known` that `name` most likely means, whatever its case, or None when none is near."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    matches = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return by_lower[matches[0]] if matches else None


def nearest(name: str, known: Iterable[str], limit: int = 16) -> str:
    """The end of a message about an unknown name.

    Args:
        name: The name that is not known.
        known: The names that are.
        limit: How many of those to list at most.

    Returns:
        `; did you mean 'x'?`, or `; known: a, b, c` when none is near, or nothing when nothing is known.
    """
    names = [str(other) for other in known]
    if (match := closest(str(name), names)) is not None:
        return f"; did you mean {match!r}?"
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"; known: {', '.join(names[:limit])}{more}" if names else ""
