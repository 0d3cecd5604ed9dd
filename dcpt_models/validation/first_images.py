"""Computes metrics on the first image of each validation set before a run starts; the training loop uses it.

Otherwise, a metric that cannot be computed would end the run at its first validation, hours later.
"""

from __future__ import annotations

from typing import Any

from dcpt_models.errors import MetricError
from dcpt_models.metrics.by_name import measure


def try_metrics(loaders: list[Any], val: dict[str, Any] | None) -> None:
    """Compute what `val: metrics:` asks for, between an image and itself.

    Args:
        loaders: One for each set; only its data set is read from.
        val: The `val` section.

    Raises:
        MetricError: If a metric cannot be computed on the first image of a set; the message names set, image and size.
        OSError: If what a metric needs cannot be read.
    """
    metrics: dict[str, dict[str, Any]] = (val or {}).get("metrics") or {}
    for loader in loaders if metrics else ():
        dataset = loader.dataset
        if not len(dataset):
            continue
        sample = dataset[0]
        image = sample["gt"][None]
        try:
            measure(image, image, metrics, (val or {}).get("rounded", True))
        except MetricError as error:
            name, place = getattr(dataset, "opt", {}).get("name", "?"), sample.get("gt_path", "its first image")
            raise MetricError(f"validation set '{name}', {place}: {error}") from error
