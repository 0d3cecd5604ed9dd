"""The best values of a run's validations."""

from __future__ import annotations

from typing import Any

Results = dict[str, dict[str, float]]
"""Set -> metric -> value."""


class Best:
    """The best value of every metric on every set over the whole run, and its iteration."""

    def __init__(self) -> None:
        self.records: dict[str, dict[str, dict[str, Any]]] = {}

    def update(self, results: Results, iteration: int, lower_is_better: set[str]) -> None:
        """Take in the results of one validation."""
        for name, metrics in results.items():
            record = self.records.setdefault(name, {})
            for metric, value in metrics.items():
                sign = -1 if metric in lower_is_better else 1
                if metric not in record or sign * value > sign * record[metric]["val"]:
                    record[metric] = {"val": value, "iter": iteration}
