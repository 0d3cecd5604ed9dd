"""Intervals of the bootstrap, against cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from dcpt_models.analysis.study.bootstrap import AVERAGE, Paired, intervals


def of(values: list[list[float]] | np.ndarray, first: str = "a") -> Paired:
    array = np.array(values, dtype=float)
    return Paired([f"{first}{i}" for i in range(array.shape[1])], array)


def test_two_images_are_resampled_as_by_hand() -> None:
    # One seed, values 0 and 1: the mean of two draws is 0, 1/2, 1 with probabilities 1/4, 1/2, 1/4.
    pair = {"rain": of([[0, 1]])}
    assert intervals(pair)["rain"] == (0.5, 0, 1)  # a fortieth cuts neither end off
    assert intervals(pair, level=0.6)["rain"] == (0.5, 0, 1)  # nor does a fifth
    assert intervals(pair, level=0.4)["rain"] == (0.5, 0.5, 0.5)  # three tenths cut off both


def test_two_seeds_are_resampled_as_images_are() -> None:
    seeds = {"rain": of([[0, 0, 0], [1, 1, 1]])}
    assert intervals(seeds)["rain"] == (0.5, 0, 1)
    assert intervals(seeds, level=0.4)["rain"] == (0.5, 0.5, 0.5)


def test_many_images_give_the_interval_of_the_normal_distribution() -> None:
    values = np.random.default_rng(1).normal(0.3, 2, (1, 400))
    found = intervals({"rain": of(values)})["rain"]
    half = 1.96 * values.std() / 20
    assert found.mean == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half, abs=0.06 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.06 * half)


def test_variances_of_seeds_and_of_images_add_up() -> None:
    rng = np.random.default_rng(2)
    of_seeds, of_images = rng.normal(0, 1, (30, 1)), rng.normal(0, 3, (1, 200))
    found = intervals({"rain": of(of_seeds + of_images)})["rain"]
    deviation = np.sqrt(of_seeds.var() / 30 + of_images.var() / 200)
    assert found.high - found.low == pytest.approx(2 * 1.96 * deviation, rel=0.06)


def test_what_sets_of_the_same_images_have_in_common_stays_common() -> None:
    opposite = {"rain": of([[1, -1, 3, 0]]), "noise": of([[-1, 1, -3, 0]])}
    found = intervals(opposite)
    assert found["rain"].low < 0 < found["rain"].high
    assert found[AVERAGE] == (0, 0, 0)
    others = {"rain": opposite["rain"], "noise": of(opposite["noise"].values, first="b")}
    assert intervals(others)[AVERAGE].low < -0.2 < 0.2 < intervals(others)[AVERAGE].high


def test_the_average_weighs_sets_alike_whatever_their_size() -> None:
    assert intervals({"rain": of([[1, 1, 1, 1]]), "noise": of([[3]], first="b")})[AVERAGE] == (2, 2, 2)


def test_draws_depend_on_the_seed_alone_and_zero_is_excluded_only_by_an_interval_beside_it() -> None:
    values = {"rain": of(np.random.default_rng(3).normal(size=(3, 9)))}
    assert intervals(values) == intervals(values)
    assert intervals(values) != intervals(values, seed=1)
    assert not intervals(values)["rain"].excludes_zero
    shifted = {"rain": of(values["rain"].values + 10)}
    assert intervals(shifted)["rain"].excludes_zero
    assert intervals({"rain": of(-shifted["rain"].values)})["rain"].excludes_zero
