"""The results of a study: read from the files of its commands, and compared between arms."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dcpt_models.analysis.run_records import validated
from dcpt_models.analysis.study.arms import PlannedRun, StudyOptions, test_folder
from dcpt_models.analysis.study.bootstrap import AVERAGE, DRAWS, LEVEL, Interval, Paired, intervals
from dcpt_models.analysis.study.jobs import seconds_of
from dcpt_models.analysis.study.plan import FEATURES, RESULTS, Runs, studied_runs
from dcpt_models.errors import RunError
from dcpt_models.evaluation.testing import PER_IMAGE

Images = dict[str, dict[str, float]]  # image -> metric -> value
PerSeed = list[dict[str, Images]]  # for each seed: test set -> images
Curve = dict[int, list[float]]  # iteration -> value of each seed
_KEYS = ("set", "image", "degradation")  # columns of per_image.csv that are no metrics
INPUT = "input_"


@dataclass(frozen=True)
class Comparison:
    """An arm held against another one.

    Attributes:
        arm: The arm.
        baseline: The other one, whose values are subtracted.
        metric: Of which values.
        found: Test set, and `average` -> mean difference and its interval.
        by_seed: Mean difference of the average, of each seed.
    """

    arm: str
    baseline: str
    metric: str
    found: dict[str, Interval]
    by_seed: list[float]

    @classmethod
    def of(cls, arm: str, baseline: str, metric: str, pairs: Mapping[str, Paired]) -> Comparison:
        """Compare, given the differences on each set."""
        by_seed = np.mean([one.values.mean(axis=1) for one in pairs.values()], axis=0)
        return cls(arm, baseline, metric, intervals(pairs), by_seed.tolist())

    def record(self) -> dict[str, Any]:
        """All of it, for JSON."""
        found = {name: one._asdict() | {"excludes_zero": one.excludes_zero} for name, one in self.found.items()}
        keys = ("arm", "baseline", "metric", "by_seed")
        return {**{key: getattr(self, key) for key in keys}, "difference": found}


@dataclass(frozen=True)
class Cost:
    """What an arm costs, with what it shares with others.

    Attributes:
        iterations: Of each of its runs.
        seconds: Wall time of its runs, mean over seeds, with start, validation and saving.
    """

    iterations: list[int]
    seconds: float


@dataclass(frozen=True)
class StudyResults:
    """What came out.

    Attributes:
        metrics: What was measured; the first one is shown in figures.
        sets: The test sets.
        inputs: Set, and `average` -> metric -> value of the degraded images; empty if they were not measured.
        scores: Arm -> metric -> set, and `average` -> value of each seed.
        comparisons: Of every arm with the reference, then with the control.
        curves: Arm -> validation of its last run: iteration -> value of each seed.
        accuracy: Arm -> top-1 accuracy of its classifier at the last validation, of each seed; of arms that have one.
        features: What `dcpt knn` found, with the arms and the seed of each finding; none if it was not asked for.
        costs: Arm -> cost.
        conditions: How it was tested.
    """

    metrics: list[str]
    sets: list[str]
    inputs: dict[str, dict[str, float]]
    scores: dict[str, dict[str, dict[str, list[float]]]]
    comparisons: list[Comparison]
    curves: dict[str, Curve]
    accuracy: dict[str, list[float]]
    features: dict[str, Any] | None
    costs: dict[str, Cost]
    conditions: dict[str, str]

    def compared(self, metric: str, baseline: str) -> list[Comparison]:
        """The comparisons with an arm."""
        return [one for one in self.comparisons if one.metric == metric and one.baseline == baseline]

    def record(self) -> dict[str, Any]:
        """All of it, for JSON."""
        keep = ("metrics", "sets", "inputs", "scores", "curves", "accuracy", "features", "conditions")
        return {
            **{key: getattr(self, key) for key in keep},
            "comparisons": [one.record() for one in self.comparisons],
            "costs": {arm: asdict(cost) for arm, cost in self.costs.items()},
            "bootstrap": {"level": LEVEL, "draws": DRAWS, "seed": 0, "resampled": "seeds and images"},
        }


def collect(study: StudyOptions, last: Runs, folder: Path) -> StudyResults:
    """Read and compare what the commands of a study have written.

    Args:
        study: The study.
        last: What `plan_runs` found.
        folder: The study's folder.

    Raises:
        RunError: If arms or seeds were tested on different images.
    """
    measured = {arm: [read_images(folder / test_folder(arm, seed)) for seed in study.seeds] for arm in study.arms}
    sets, metrics = _check_alike(measured)
    shown = [metric for metric in metrics if not metric.startswith(INPUT)]
    one = measured[study.reference][0]
    inputs = {metric: _means(one, INPUT + metric) for metric in shown if INPUT + metric in metrics}
    comparisons = [
        Comparison.of(arm, baseline, metric, paired(measured[arm], measured[baseline], metric))
        for baseline in (study.reference, study.control)
        if baseline
        for metric in shown
        for arm in study.arms
        if arm != baseline
    ]
    ends = {arm: [last[arm, seed] for seed in study.seeds] for arm in study.arms}
    tested = json.loads((folder / test_folder(study.reference, study.seeds[0]) / RESULTS).read_text(encoding="utf-8"))
    protocol = tested["evaluations"][0]["protocol"]
    return StudyResults(
        metrics=shown,
        sets=sets,
        inputs={name: {metric: inputs[metric][name] for metric in inputs} for name in [*sets, AVERAGE] if inputs},
        scores={
            arm: {metric: _each_seed([_means(each, metric) for each in seeds]) for metric in shown}
            for arm, seeds in measured.items()
        },
        comparisons=comparisons,
        curves={arm: _curve([validated(folder / run.folder) for run in runs], shown[0]) for arm, runs in ends.items()},
        accuracy={arm: found for arm, runs in ends.items() if (found := _accuracies(runs, folder))},
        features=_features(last, folder) if study.features else None,
        costs=_costs(ends, folder),
        conditions={key: protocol[key] for key in protocol if key not in ("weights", "sha256")},
    )


def read_images(folder: Path) -> dict[str, Images]:
    """The values of every image of a test: set -> image -> metric -> value."""
    found: dict[str, Images] = {}
    with (folder / PER_IMAGE).open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            values = {key: float(value) for key, value in row.items() if key not in _KEYS and value}
            found.setdefault(row["set"], {})[row["image"]] = values
    return found


def _check_alike(measured: Mapping[str, PerSeed]) -> tuple[list[str], list[str]]:
    """Sets and metrics, which must be the same everywhere, as the images must."""
    every = [tests for seeds in measured.values() for tests in seeds]
    images = [{name: list(of_set) for name, of_set in tests.items()} for tests in every]
    if not all(other == images[0] for other in images):
        raise RunError(
            "arms or seeds were tested on different images; remove the test folders of the study and start it again"
        )
    values = [one for tests in every for of_set in tests.values() for one in of_set.values()]
    metrics = [name for name in values[0] if all(name in one for one in values)] if values else []
    if not metrics:
        raise RunError("nothing was measured of the test images; say in val:metrics of the test's option file what is")
    return list(images[0]), metrics


def paired(arm: PerSeed, baseline: PerSeed, metric: str) -> dict[str, Paired]:
    """Arm minus baseline, image by image and seed by seed."""
    result = {}
    for name, images in arm[0].items():
        rows = [
            [mine[name][image][metric] - other[name][image][metric] for image in images]
            for mine, other in zip(arm, baseline, strict=True)
        ]
        result[name] = Paired(list(images), np.array(rows))
    return result


def _means(tests: dict[str, Images], metric: str) -> dict[str, float]:
    """Set -> mean, and the plain mean of these."""
    means = {name: float(np.mean([one[metric] for one in images.values()])) for name, images in tests.items()}
    return means | {AVERAGE: float(np.mean(list(means.values())))}


def _each_seed(found: Sequence[dict[str, float]]) -> dict[str, list[float]]:
    return {name: [one[name] for one in found] for name in found[0]}


def _curve(validations: Sequence[dict[int, dict[str, float]]], metric: str) -> Curve:
    """The iterations that every seed has validated."""
    common = [n for n in validations[0] if all(metric in of_seed.get(n, {}) for of_seed in validations)]
    return {n: [of_seed[n][metric] for of_seed in validations] for n in common}


def _accuracies(ends: Sequence[PlannedRun], folder: Path) -> list[float]:
    """Of the classifier of the run whose features are studied."""
    found = []
    for end in ends:
        validations = validated(folder / end.studied().folder)
        if validations and "accuracy" in (last := validations[max(validations)]):
            found.append(last["accuracy"])
    return found if len(found) == len(ends) else []


def _features(last: Runs, folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / FEATURES).read_text(encoding="utf-8"))
    runs = studied_runs(last)
    first = len(found["findings"]) - len(runs)  # pixels and random networks come before
    for finding, run in zip(found["findings"][first:], runs, strict=True):
        arms = [arm for (arm, _), end in last.items() if end.studied().folder == run.folder]
        finding.update(arms=arms, seed=run.seed, label=str(run.folder))
    return {"findings": found["findings"], "images": found["images"], "conditions": found["conditions"]}


def _costs(ends: Mapping[str, Sequence[PlannedRun]], folder: Path) -> dict[str, Cost]:
    seconds = seconds_of(folder)
    return {
        arm: Cost(
            [run.iterations for run in runs[0].chain()],
            float(np.mean([sum(seconds.get(str(run.folder), 0.0) for run in end.chain()) for end in runs])),
        )
        for arm, runs in ends.items()
    }
