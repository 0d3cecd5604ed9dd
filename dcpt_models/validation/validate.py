"""Validation: image metrics of every set and their average, accuracy of the classifier, best values of the run."""

from __future__ import annotations

import logging
import math
import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import cv2
import torch
from tqdm import tqdm

from dcpt_models.errors import MetricError, RunError
from dcpt_models.metrics.average_precision import average_precisions
from dcpt_models.metrics.by_name import lower_is_better, measure, to_pixels
from dcpt_models.runtime.distributed import gather
from dcpt_models.validation.best import Best, Results


class Measurable(Protocol):
    """A model as validation sees it; `DegradationModel` is one."""

    opt: dict[str, Any]
    is_train: bool
    multi_label: Any
    degradations: list[str]
    names: list[str]
    lq: torch.Tensor
    gt: torch.Tensor
    best: Best

    def feed_data(self, data: dict[str, Any]) -> None:
        """Take a batch."""

    def predict(self, image: bool) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """The restored image, if it is asked for, and the logits, if there is a classifier."""

    def target(self) -> torch.Tensor:
        """The target of the logits."""

    def rightly_classified(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Whether each row of logits is a correct classification."""


@dataclass
class Observation:
    """What is observed of one image.

    Attributes:
        image: Its name within the set.
        degradation: Its label.
        values: Image metrics, those of the degraded image as `input_*`, and `accuracy`, 0 or 1.
        scores: The logits, for models that tell several classes at once.
        labels: What they should say, 0 or 1 for each class.
    """

    image: str
    degradation: str
    values: dict[str, float]
    scores: list[float] = field(default_factory=list)
    labels: list[float] = field(default_factory=list)


class Records(Protocol):
    """Where observations are kept from one call to the next; see `dcpt_models.evaluation.per_image`."""

    def find(self, name: str, batch: dict[str, Any]) -> Observation | None:
        """The observation of an image of the set `name`, if it is known."""

    def add(self, name: str, batch: dict[str, Any], observation: Observation) -> None:
        """Keep an observation."""

    def complete(self, observed: dict[str, list[Observation]]) -> None:
        """Take what all processes have observed, set by set."""


@torch.no_grad()
def validate(
    model: Measurable,
    loaders: list[Any],
    iteration: Any,
    tb_logger: Any,
    save_img: bool,
    records: Records | None = None,
) -> Results:
    """Evaluate a model on every loader; see `DegradationModel.validate`, which sets the networks to eval mode."""
    observed: dict[str, list[Observation]] = {}
    for loader in loaders:
        name = loader.dataset.opt["name"]
        mine = []
        for batch in shown(loader, name, model.opt.get("rank", 0)):
            picture = _picture(model, name, batch, iteration) if save_img else None
            drawn = picture is None or picture.exists()
            observation = records.find(name, batch) if records and drawn else None
            if observation is None:
                observation = _observe(model, batch, picture)
                if records:
                    records.add(name, batch, observation)
            mine.append(observation)
        observed[name] = [observation for part in gather(mine) for observation in part]
    if records:
        records.complete(observed)
    results = summarise(observed, model.degradations)
    if model.is_train:
        metrics = (model.opt.get("val") or {}).get("metrics") or {}
        lower = {metric for metric, section in metrics.items() if lower_is_better(section)}
        model.best.update(results, iteration, lower)
    _report(model, results, iteration, tb_logger)
    return results


def shown(loader: Any, name: str, rank: int = 0) -> Iterator[Any]:
    """The batches of a loader, with a bar below them where standard error is a terminal."""
    quiet = None if rank == 0 else True  # None: where it is no terminal
    yield from tqdm(loader, desc=name, unit="image", file=sys.stderr, leave=False, disable=quiet)


def _observe(model: Measurable, batch: dict[str, Any], picture: Path | None) -> Observation:
    """Measure a batch of one image; the restored one is saved as `picture`, if that is given.

    Raises:
        MetricError: If a metric cannot be computed on it; the message names the image.
    """
    opt = model.opt.get("val") or {}
    metrics: dict[str, dict[str, Any]] = opt.get("metrics") or {}
    model.feed_data(batch)
    restored, logits = model.predict(image=bool(metrics or picture))
    result = Observation(batch["name"][0], model.names[0], {})
    if restored is not None:
        rounded = opt.get("rounded", True)
        try:
            result.values.update(measure(restored, model.gt, metrics, rounded))
            if opt.get("measure_input"):
                of_input = measure(model.lq, model.gt, metrics, rounded)
                result.values.update({f"input_{metric}": value for metric, value in of_input.items()})
        except MetricError as error:
            raise MetricError(f"image '{result.image}' ({batch.get('lq_path', ['?'])[0]}): {error}") from error
        if picture:
            _save(restored, picture)
    if logits is not None:
        target = model.target()
        result.values["accuracy"] = model.rightly_classified(logits, target).float().mean().item()
        if model.multi_label:
            result.scores, result.labels = logits[0].tolist(), target[0].tolist()
    return result


def summarise(observed: dict[str, list[Observation]], degradations: list[str]) -> Results:
    """Means over the images of each set, and what is computed from those.

    The sums are exact, so that they depend neither on the order of the images nor on the number of processes.

    Args:
        observed: Set -> its images.
        degradations: The classes of the option file.

    Returns:
        Set -> metric -> value; the plain mean of the sets under "average", for metrics that all of them have;
        "accuracy by class" and "average precision" for models with a classifier.
    """
    results: Results = {
        name: {metric: math.fsum(one.values[metric] for one in images) / len(images) for metric in _metrics_of(images)}
        for name, images in observed.items()
    }
    if len(results) > 1:
        sets = list(results.values())
        shared = [metric for metric in sets[0] if all(metric in values for values in sets)]
        results["average"] = {metric: sum(values[metric] for values in sets) / len(sets) for metric in shared}
    images = [one for part in observed.values() for one in part]
    hits: dict[str, list[float]] = defaultdict(list)
    for one in images:
        if "accuracy" in one.values:
            hits[one.degradation].append(one.values["accuracy"])
    accuracy = {name: sum(hits[name]) / len(hits[name]) for name in degradations if hits.get(name)}
    if accuracy:
        results["accuracy by class"] = accuracy
    scored = [one for one in images if one.scores]
    if scored:
        scores, labels = [one.scores for one in scored], [one.labels for one in scored]
        results["average precision"] = average_precisions(scores, labels, degradations)
    return results


def _metrics_of(images: list[Observation]) -> list[str]:
    return list(images[0].values) if images else []


def _picture(model: Measurable, name: str, batch: dict[str, Any], iteration: Any) -> Path:
    """Where the restored image of a batch is saved: in a folder of its set, since sets share names of images.

    Raises:
        RunError: If the name of the image or of the set leads out of the folder of pictures.
    """
    folder = Path(model.opt["path"]["visualization"])
    file = folder / name / f"{batch['name'][0]}_{iteration}.png"
    if "\0" in str(file) or not Path(os.path.normpath(file)).is_relative_to(os.path.normpath(folder)):
        raise RunError(f"the picture of '{batch['name'][0]}' in set '{name}' would lie outside of {folder}; rename it")
    return file


def _save(image: torch.Tensor, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    _, data = cv2.imencode(".png", to_pixels(image, rounded=True))
    file.write_bytes(data.tobytes())  # OpenCV itself takes no name that is not UTF-8


def _report(model: Measurable, results: Results, iteration: Any, tb_logger: Any) -> None:
    if model.opt["rank"] != 0:
        return
    logger = logging.getLogger("basicsr")
    for name, values in results.items():
        if not values:
            continue
        parts = []
        for metric, value in values.items():
            best = model.best.records.get(name, {}).get(metric)
            parts.append(f"{metric} {value:.4f}" + (f" (best {best['val']:.4f} @ {best['iter']})" if best else ""))
            if tb_logger:
                tb_logger.add_scalar(f"metrics/{name}/{metric}", value, iteration)
        logger.info(f"Validation {name}: {', '.join(parts)}")
