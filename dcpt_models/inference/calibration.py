"""Calibration of a classifier: temperature of its probabilities, and the limit of familiarity."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, logsumexp, softmax

from dcpt_arch.checkpoints.loading import CheckpointError
from dcpt_common import to_json, with_nan

Array = np.ndarray
_BINS = 15  # of the expected calibration error, as in the paper that introduced it for networks


@dataclass(frozen=True)
class Calibration:
    """What was found on validation images, and holds for one pair of networks.

    Attributes:
        temperature: Logits are divided by it.
        limit: Images of less familiarity (see `familiarity`) are called unfamiliar.
        false_alarms: Greatest share of images with a known degradation that are called unfamiliar all the same.
        crop: Side in pixels of the crops that images were looked at by.
        images: Number of images that it was found on.
        weights: File -> first digits of its sha256, of backbone and classifier.
        held_out: What was measured on one half of the images, with temperature and limit of the other, and the mean of
            both: `accuracy`; `error`, the expected calibration error; `nll`, the negative log-likelihood; both of these
            also `_uncalibrated`; `false_alarms`; and `clean_unfamiliar`, the share of clean images that are called
            unfamiliar, where there were any.
    """

    temperature: float
    limit: float
    false_alarms: float
    crop: int
    images: int
    weights: dict[str, str]
    held_out: dict[str, float]

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(to_json(asdict(self), indent=1) + "\n", encoding="utf-8")


def read_calibration(path: Path, weights: Mapping[str, str]) -> Calibration:
    """Read a calibration, which must be of the given weights.

    Raises:
        CheckpointError: If it is of others, or no calibration.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        found = Calibration(**{**record, "held_out": with_nan(record["held_out"])})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{path}: not a calibration ({error}); run `dcpt diagnose --calibrate`") from error
    if found.weights != weights:
        raise CheckpointError(
            f"{path}: was made for other weights ({found.weights}, not {dict(weights)}); "
            "run `dcpt diagnose --calibrate` again"
        )
    return found


def probabilities(logits: Array, temperature: float, multi_label: bool) -> Array:
    """N x classes of logits -> probabilities: of one class each, or of each class by itself."""
    scaled = logits / temperature
    return expit(scaled) if multi_label else softmax(scaled, axis=-1)


def familiarity(logits: Array, multi_label: bool) -> Array:
    """How much N x classes of logits look like those of known degradations; the greater, the more.

    The negative free energy (Liu et al., "Energy-based Out-of-distribution Detection", NeurIPS 2020); for several
    labels the sum over the classes (Wang et al., "Can multi-label classification networks know what they don't know?",
    NeurIPS 2021).
    """
    return np.logaddexp(0, logits).sum(-1) if multi_label else logsumexp(logits, axis=-1)


def fit_temperature(logits: Array, targets: Array, multi_label: bool) -> float:
    """The temperature under which the targets are most likely (Guo et al., ICML 2017).

    Args:
        logits: N x classes.
        targets: N x classes of 0 and 1.
        multi_label: Whether an image can have several classes.
    """

    def cost(log_temperature: float) -> float:
        return negative_log_likelihood(logits / math.exp(log_temperature), targets, multi_label)

    return math.exp(minimize_scalar(cost, bounds=(-5, 5), method="bounded").x)


def negative_log_likelihood(logits: Array, targets: Array, multi_label: bool) -> float:
    """The mean over images (and over classes that do not exclude each other); see `fit_temperature`."""
    if multi_label:
        return float((np.logaddexp(0, logits) - targets * logits).mean())
    return float((logsumexp(logits, axis=1) - (targets * logits).sum(1)).mean())


def fit_limit(values: Array, false_alarms: float) -> float:
    """The familiarity that a further image of the same kind falls short of with no more than this probability.

    Raises:
        ValueError: If there are too few values to tell.
    """
    rank = math.floor(false_alarms * (len(values) + 1))
    if rank < 1:
        needed = math.ceil(1 / false_alarms) - 1
        raise ValueError(f"{len(values)} images are too few for {false_alarms:.1%} false alarms; {needed} are needed")
    return float(np.sort(values)[rank - 1])


def calibration_error(confidence: Array, right: Array) -> float:
    """Expected calibration error: how far confidence and accuracy lie apart, in [0, 1], over bins of confidence.

    Args:
        confidence: N probabilities.
        right: N, whether what they stand for is so.
    """
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    parts = [(bins == index) for index in range(_BINS)]
    return float(sum(abs(confidence[part].mean() - right[part].mean()) * part.mean() for part in parts if part.any()))


def calibrate(
    logits: Array,
    targets: Array,
    clean: Array,
    multi_label: bool,
    false_alarms: float,
    crop: int,
    weights: Mapping[str, str],
) -> Calibration:
    """Find temperature and limit on validation images.

    Args:
        logits: N x classes, of images with known degradations.
        targets: N x classes of 0 and 1.
        clean: M x classes, of clean images; M may be 0.
        multi_label: Whether an image can have several classes.
        false_alarms: Share of images with a known degradation that may be called unfamiliar, in (0, 1).
        crop: Side of the crops.
        weights: File -> digest.

    Raises:
        ValueError: If there are too few images.
    """
    measured: list[dict[str, float]] = []
    for first in (0, 1):
        fitted, other = slice(first, None, 2), slice(1 - first, None, 2)
        temperature = fit_temperature(logits[fitted], targets[fitted], multi_label)
        limit = fit_limit(familiarity(logits[fitted], multi_label), false_alarms)
        known = familiarity(logits[other], multi_label) >= limit
        row = {"false_alarms": float(1 - known.mean())}
        for suffix, value in (("", temperature), ("_uncalibrated", 1.0)):
            confidence, right = judged(probabilities(logits[other], value, multi_label), targets[other], multi_label)
            row[f"error{suffix}"] = calibration_error(confidence, right)
            row[f"nll{suffix}"] = negative_log_likelihood(logits[other] / value, targets[other], multi_label)
        row["accuracy"] = float(right.mean())
        if len(clean):
            row["clean_unfamiliar"] = float((familiarity(clean, multi_label) < limit).mean())
        measured.append(row)
    return Calibration(
        temperature=fit_temperature(logits, targets, multi_label),
        limit=fit_limit(familiarity(logits, multi_label), false_alarms),
        false_alarms=false_alarms,
        crop=crop,
        images=len(logits),
        weights=dict(weights),
        held_out={name: (measured[0][name] + measured[1][name]) / 2 for name in measured[0]},
    )


def judged(chances: Array, targets: Array, multi_label: bool) -> tuple[Array, Array]:
    """The confidence of every decision, and whether it is right: one for each image, or one for each of its classes."""
    if multi_label:
        said = chances >= 0.5
        return np.where(said, chances, 1 - chances).ravel(), (said == targets.astype(bool)).ravel()
    best = chances.argmax(1)
    return chances.max(1), targets[np.arange(len(best)), best].astype(bool)
