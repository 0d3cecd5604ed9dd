"""Accuracy of simple classifiers on features: nearest neighbours, and a linear classifier.

By scikit-learn, an optional package.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dcpt_models.errors import OptionError

FIGURES = (".png", ".svg", ".pdf")
NEIGHBOURS = 5
TEST_SHARE = 1 / 3
FEWEST = 3  # images of a class, so that training and test part have some
COLUMNS = 2**15  # values of each image that are looked at together


class Accuracy(NamedTuple):
    """Top-1 accuracy, 0 to 1: mean and standard deviation over the random splits."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Accuracy:
        """The accuracy of several splits."""
        return cls(float(np.mean(values)), float(np.std(values)))


def check_study(figure: Path | None = None) -> None:
    """Refuse, before anything is computed, a study that lacks its packages, or a figure that cannot be drawn.

    Args:
        figure: The file that is to be drawn, if any.

    Raises:
        OptionError: Naming what is to be installed, or the formats there are.
    """
    if figure and figure.suffix.lower() not in FIGURES:
        raise OptionError(f"{figure}: the name of a figure must end with {', '.join(FIGURES)}")
    needed = {"sklearn": "scikit-learn"} | ({"matplotlib": "matplotlib"} if figure else {})
    missing = [name for module, name in needed.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise OptionError(f'the study of features needs {" and ".join(missing)}: pip install -e ".[study]"')


def distances(features: np.ndarray) -> np.ndarray:
    """Euclidean distances between images, N x N, float64; the features of an image are flattened.

    Computed in parts, so that features larger than memory, in a file, can be compared.
    """
    rows = features.reshape(len(features), -1)
    squares = np.zeros((len(rows), len(rows)))
    for begin in range(0, rows.shape[1], COLUMNS):
        part = rows[:, begin : begin + COLUMNS].astype(np.float64)
        part -= part.mean(axis=0)  # distances stay, and the subtraction below loses less
        products = part @ part.T
        own = np.diag(products)
        squares += own[:, None] + own[None, :] - 2 * products
    np.fill_diagonal(squares, 0)
    return np.sqrt(squares.clip(0))


def knn_accuracies(
    between: np.ndarray, labels: Sequence[str], states: Iterable[int], neighbours: int = NEIGHBOURS
) -> list[float]:
    """Accuracy of the nearest neighbours' majority, for each of some random splits.

    As in DCPT, A.2: five neighbours with uniform weights; two thirds of each class to look among, one to classify. The
    paper finds the neighbours by a KD-tree, which is one way to find the same ones; among so few images with a million
    values each it is the slower one.

    Args:
        between: N x N distances.
        labels: The class of each image.
        states: Random states of the splits.
        neighbours: How many are asked.
    """
    from sklearn.neighbors import KNeighborsClassifier

    def right(train: np.ndarray, test: np.ndarray, targets: np.ndarray) -> float:
        classifier = KNeighborsClassifier(neighbours, weights="uniform", metric="precomputed")
        classifier.fit(between[np.ix_(train, train)], targets[train])
        return float(classifier.score(between[np.ix_(test, train)], targets[test]))

    return _over_splits(right, labels, states)


def knn_accuracy(
    features: np.ndarray, labels: Sequence[str], states: Iterable[int], neighbours: int = NEIGHBOURS
) -> Accuracy:
    """Mean and deviation of `knn_accuracies`, from the features: N x ..., flattened."""
    return Accuracy.of(knn_accuracies(distances(features), labels, states, neighbours))


def linear_probe_accuracies(features: np.ndarray, labels: Sequence[str], states: Iterable[int]) -> list[float]:
    """Accuracy of a linear classifier, for each of some random splits, which are those of `knn_accuracies`.

    It is a logistic regression (L2, C = 1) on the channels' means, each standardised over the training part.

    Args:
        features: N x C x H x W, or N x C.
        labels: The class of each image.
        states: Random states of the splits.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    means = np.stack([image.reshape(len(image), -1).mean(axis=1, dtype=np.float64) for image in features])

    def right(train: np.ndarray, test: np.ndarray, targets: np.ndarray) -> float:
        classifier: Any = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
        classifier.fit(means[train], targets[train])
        return float(classifier.score(means[test], targets[test]))

    return _over_splits(right, labels, states)


def linear_probe_accuracy(features: np.ndarray, labels: Sequence[str], states: Iterable[int]) -> Accuracy:
    """Mean and deviation of `linear_probe_accuracies`."""
    return Accuracy.of(linear_probe_accuracies(features, labels, states))


def _over_splits(
    right: Callable[[np.ndarray, np.ndarray, np.ndarray], float], labels: Sequence[str], states: Iterable[int]
) -> list[float]:
    """`right` of every split into training and test part.

    Raises:
        OptionError: If a class has too few images.
    """
    check_study()
    from sklearn.model_selection import train_test_split

    targets = np.array(labels)
    for name, count in zip(*np.unique(targets, return_counts=True), strict=True):
        if count < FEWEST:
            raise OptionError(f"'{name}' has {count} images; at least {FEWEST} of each degradation are needed")
    every = np.arange(len(targets))
    results = []
    for state in states:
        train, test = train_test_split(every, test_size=TEST_SHARE, stratify=targets, random_state=state)
        results.append(right(train, test, targets))
    return results
