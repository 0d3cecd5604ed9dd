"""Metrics of this project, of BasicSR and of pyiqa as metrics of mmengine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from basicsr.utils.registry import METRIC_REGISTRY
from mmengine.evaluator import BaseMetric

from dcpt_mmengine.registries import METRICS, of_engine
from dcpt_models.metrics.by_name import OURS, measure


@METRICS.register_module()
class ImageMetric(BaseMetric):
    """The mean of a metric over images: `dict(type="ImageMetric", metric="calculate_psnr", crop_border=0)`.

    `dict(type="calculate_psnr", crop_border=0)` says the same. Predictions are dicts with `restored` and `gt`,
    3 x H x W in [0, 1], as `MethodModel.val_step` gives them.

    Args:
        metric: As `type` in `val: metrics:` of an option file.
        rounded: Whether images are rounded to 8 bit first.
        collect_device: As mmengine has it.
        prefix: Likewise.
        arguments: Of the metric.
    """

    metric = ""

    def __init__(
        self,
        metric: str | None = None,
        rounded: bool = True,
        collect_device: str = "cpu",
        prefix: str | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.metric, self.rounded = metric or self.metric, rounded
        self.section = {"type": self.metric, **arguments}

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Measure the images of a batch."""
        for sample in data_samples:
            image, target = (sample[key][None] for key in ("restored", "gt"))
            self.results.append(measure(image, target, {self.metric: self.section}, self.rounded)[self.metric])

    def compute_metrics(self, results: list[float]) -> dict[str, float]:
        """The mean."""
        return {self.metric.removeprefix("calculate_"): sum(results) / len(results)}


def _metric(name: str, function: Any) -> type:
    return type(name, (ImageMetric,), {"metric": name, "__doc__": function.__doc__})


METRICS.sources += [of_engine(OURS.items(), _metric), of_engine(METRIC_REGISTRY, _metric)]
