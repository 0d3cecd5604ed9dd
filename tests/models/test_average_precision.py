"""Average precision against values worked out by hand, and against its definition spelled out."""

from __future__ import annotations

import numpy as np
import pytest

from dcpt_models.metrics.average_precision import average_precision, average_precisions


def by_definition(scores: np.ndarray, positive: np.ndarray) -> float:
    """The sum over thresholds, from the highest, of the recall gained times the precision reached."""
    total = recall_before = 0.0
    for threshold in sorted(set(scores), reverse=True):
        called = scores >= threshold
        recall = (called & positive).sum() / positive.sum()
        total += (recall - recall_before) * (called & positive).sum() / called.sum()
        recall_before = recall
    return total


@pytest.mark.parametrize(
    ("scores", "positive", "expected"),
    [
        ([0.9, 0.8, 0.2, 0.1], [1, 1, 0, 0], 1.0),
        ([0.9, 0.8, 0.2, 0.1], [0, 0, 1, 1], (1 / 3 + 2 / 4) / 2),
        ([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1], (1 / 1 + 2 / 3) / 2),
        ([3.0, 2.0, 1.0], [0, 0, 1], 1 / 3),
        ([0.5, 0.5, 0.5, 0.5], [1, 0, 0, 0], 1 / 4),  # nothing is told apart: the share of positives
        ([0.7, 0.5, 0.5, 0.2], [1, 1, 0, 0], (1 / 1 + 2 / 3) / 2),
        ([-5.0], [1], 1.0),
    ],
)
def test_values_worked_out_by_hand(scores: list[float], positive: list[int], expected: float) -> None:
    assert average_precision(scores, positive) == pytest.approx(expected)
    assert average_precision(scores[::-1], positive[::-1]) == pytest.approx(expected)


def test_it_is_its_definition_also_where_scores_are_equal() -> None:
    rng = np.random.default_rng(0)
    for size in (2, 5, 40):
        for _ in range(20):
            scores, positive = rng.integers(0, size // 2 + 1, size).astype(float), rng.random(size) < 0.3
            positive[rng.integers(size)] = True
            assert average_precision(scores, positive) == pytest.approx(by_definition(scores, positive))


def test_classes_that_no_image_has_do_not_count() -> None:
    found = average_precisions([[1.0, 5.0, 0.0], [2.0, 5.0, 9.0]], [[1, 0, 0], [0, 0, 1]], ["a", "b", "c"])
    assert found == {"a": 0.5, "c": 1.0, "mean": 0.75}
    assert average_precisions([], [], ["a"]) == {}


def test_a_class_without_images_has_no_average_precision() -> None:
    with pytest.raises(ValueError, match="needs an image that has it"):
        average_precision([0.1, 0.2], [0, 0])
