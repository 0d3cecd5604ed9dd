"""Records as valid JSON; used by everything that prints or saves JSON."""

from __future__ import annotations

import json
import math
from typing import Any


def to_json(record: Any, indent: int | None = None) -> str:
    """A record as JSON, in one line by default; NaN and infinity, which JSON does not have, become null."""
    return json.dumps(_finite(record), allow_nan=False, indent=indent)


def with_nan(figures: Any) -> Any:
    """Figures as `to_json` has written them, read again: what is null in them was no finite number, and becomes NaN."""
    if isinstance(figures, dict):
        return {key: with_nan(item) for key, item in figures.items()}
    return math.nan if figures is None else figures


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
