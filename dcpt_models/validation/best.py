"""The best values of a run's validations."""

from __future__ import annotations

import math
from typing import Any

Results = dict[str, dict[str, float]]
"""Set -> metric -> value."""


class Best:
    """The best value of every metric on every set over the whole run, and its iteration."""

    def __init__(self) -> None:
        self.records: dict[str, dict[str, dict[str, Any]]] = {}

    def update(self, results: Results, iteration: int, lower_is_better: set[str]) -> None:
        """Take in the results of one validation; what is not finite is never the best, nor stays it."""
        for name, metrics in results.items():
            record = self.records.setdefault(name, {})
            for metric, value in metrics.items():
                sign = -1 if metric in lower_is_better else 1
                before = record[metric]["val"] if metric in record else math.nan
                if math.isfinite(value) and not (math.isfinite(before) and sign * value <= sign * before):
                    record[metric] = {"val": value, "iter": iteration}
