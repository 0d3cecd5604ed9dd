"""Validation: image metrics of every set and their average, accuracy of the classifier, best values of the run."""

from __future__ import annotations

import logging
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import torch
import torch.distributed as dist

from dcpt_models.metrics import measure, to_pixels

if TYPE_CHECKING:
    from dcpt_models.base_model import DegradationModel

Results = dict[str, dict[str, float]]


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


@torch.no_grad()
def validate(model: DegradationModel, loaders: list[Any], iteration: Any, tb_logger: Any, save_img: bool) -> Results:
    """Evaluate a model on every loader; see `DegradationModel.validate`, which sets the networks to eval mode."""
    opt = model.opt.get("val") or {}
    metrics: dict[str, dict[str, Any]] = opt.get("metrics") or {}
    results: Results = {}
    hits: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for loader in loaders:
        name = loader.dataset.opt["name"]
        totals: dict[str, float] = defaultdict(float)
        for batch in loader:
            model.feed_data(batch)
            totals["images"] += 1
            if metrics or save_img:
                restored, rounded = model.restore(), opt.get("rounded", True)
                for metric, value in measure(restored, model.gt, metrics, rounded).items():
                    totals[metric] += value
                if opt.get("measure_input"):
                    for metric, value in measure(model.lq, model.gt, metrics, rounded).items():
                        totals[f"input_{metric}"] += value
                if save_img:
                    _save(restored, Path(model.opt["path"]["visualization"], name), batch["name"][0], iteration)
            logits = model.classify()
            if logits is not None:
                right = float(logits.argmax(1).item() == model.class_indices().item())
                totals["accuracy"] += right
                tally = hits[model.names[0]]
                tally[0] += right
                tally[1] += 1
        totals = _over_processes(dict(totals), model)
        count = totals.pop("images", 0)
        results[name] = {metric: value / count for metric, value in totals.items()}
    if len(results) > 1:
        shared = set.intersection(*(set(metrics) for metrics in results.values()))
        first = next(iter(results.values()))
        results["average"] = {
            metric: sum(values[metric] for values in results.values()) / len(results)
            for metric in first
            if metric in shared
        }
    accuracy = _accuracy_by_class(hits, model)
    if accuracy:
        results["accuracy by class"] = accuracy
    if model.is_train:
        lower = {metric for metric, values in metrics.items() if values.get("better") == "lower"}
        model.best.update(results, iteration, lower)
    _report(model, results, iteration, tb_logger)
    return results


def _over_processes(totals: dict[str, float], model: DegradationModel) -> dict[str, float]:
    """Sum totals over all processes; a process whose share is empty contributes nothing."""
    if model.opt["world_size"] == 1:
        return totals
    gathered: list[Any] = [None] * model.opt["world_size"]
    dist.all_gather_object(gathered, totals)
    summed: dict[str, float] = defaultdict(float)
    for part in gathered:
        for key, value in part.items():
            summed[key] += value
    return dict(summed)


def _accuracy_by_class(hits: dict[str, list[float]], model: DegradationModel) -> dict[str, float]:
    flat = {f"{name}/{kind}": value for name, pair in hits.items() for kind, value in zip("rn", pair, strict=True)}
    flat = _over_processes(flat, model)
    return {name: flat[f"{name}/r"] / flat[f"{name}/n"] for name in model.degradations if flat.get(f"{name}/n", 0) > 0}


def _save(image: torch.Tensor, folder: Path, name: str, iteration: Any) -> None:
    file = folder / f"{name}_{iteration}.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(file), to_pixels(image, rounded=True)):
        raise OSError(f"{file}: cannot be written")


def _report(model: DegradationModel, results: Results, iteration: Any, tb_logger: Any) -> None:
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
