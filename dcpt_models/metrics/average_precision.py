"""Average precision: how well scores rank the images that have a degradation above those that have not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

MEAN = "mean"


def average_precision(scores: npt.ArrayLike, positive: npt.ArrayLike) -> float:
    """The area under the steps of precision over recall: sum over n of (R_n - R_(n-1)) P_n.

    R_n and P_n are recall and precision if everything scored at least the n-th highest score is called positive.
    Equal scores are one step, so their order does not matter. (The definition of scikit-learn.)

    Args:
        scores: Any finite numbers; higher means more likely.
        positive: The truth, one for each score.

    Returns:
        A value in (0, 1]; the share of positives is what scores without meaning give.

    Raises:
        ValueError: If nothing is positive.
    """
    values, truth = np.asarray(scores, np.float64), np.asarray(positive, bool)
    if not truth.any():
        raise ValueError("the average precision of a class needs an image that has it")
    order = np.argsort(-values, kind="stable")
    values, truth = values[order], truth[order]
    last = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)  # of each run of equal scores
    hits = np.cumsum(truth)[last]
    return float((np.diff(hits, prepend=0) * hits / (last + 1)).sum() / hits[-1])


def average_precisions(
    scores: Sequence[Sequence[float]], labels: Sequence[Sequence[float]], classes: Sequence[str]
) -> dict[str, float]:
    """The average precision of each class that some image has, and their plain mean under "mean".

    Args:
        scores: For each image, one number a class.
        labels: Likewise, 1 where the image has the class and 0 where not.
        classes: Their names.

    Returns:
        Class -> average precision; empty without images.
    """
    if not scores:
        return {}
    values, truth = np.asarray(scores), np.asarray(labels) > 0
    result = {name: average_precision(values[:, i], truth[:, i]) for i, name in enumerate(classes) if truth[:, i].any()}
    return {**result, MEAN: sum(result.values()) / len(result)}
