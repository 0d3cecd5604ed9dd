"""The study of features (DCPT, Section 3.1 and A.3): trained networks, random ones, and raw pixels."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from basicsr.archs import build_network

from dcpt_arch import AnyBackbone
from dcpt_arch.backbones.base import NOTE, RestorationBackbone
from dcpt_arch.checkpoints.loading import (
    CheckpointError,
    detect_family,
    find_weights,
    load_network,
    noted_in,
    read_checkpoint,
)
from dcpt_common import markdown
from dcpt_models.analysis.features.extraction import Level, extract_features
from dcpt_models.analysis.features.probes import (
    NEIGHBOURS,
    Accuracy,
    distances,
    knn_accuracies,
    linear_probe_accuracies,
)
from dcpt_models.errors import OptionError

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Subject:
    """What is studied: a network, or several random ones that count as one.

    Attributes:
        label: What it is called.
        build: Makes the networks, one after the other.
        iteration: Training iterations behind it, in the study of a run.
    """

    label: str
    build: Callable[[], Iterator[RestorationBackbone]]
    iteration: int | None = None


@dataclass(frozen=True)
class Settings:
    """How it is studied.

    Attributes:
        states: Random states of the splits into training and test part.
        neighbours: How many neighbours decide.
        level: Which features; see `dcpt_models.analysis.features.extraction`.
        grid: Side that maps are averaged down to; None for none.
    """

    states: Sequence[int] = tuple(range(100))
    neighbours: int = NEIGHBOURS
    level: Level = "head"
    grid: int | None = None


@dataclass(frozen=True)
class Finding:
    """What was found of a subject.

    Attributes:
        label: What it is called.
        knn: Accuracy of the nearest neighbours, over all splits (and networks).
        linear: The same of the linear classifier.
        values: How many values an image's features have.
        networks: How many networks it is of; 0 for pixels.
        between: Distances of the images, N x N, in the first network.
        iteration: Training iterations behind it.
    """

    label: str
    knn: Accuracy
    linear: Accuracy
    values: int
    networks: int
    between: np.ndarray
    iteration: int | None = None

    def cells(self) -> list[str]:
        """Its row of a table; accuracies in per cent."""
        shares = (f"{100 * one.mean:.1f} ± {100 * one.deviation:.1f}" for one in (self.knn, self.linear))
        return [self.label, f"{self.values:,}", *shares]

    def record(self) -> dict[str, Any]:
        """All but the distances, for JSON."""
        result = {key: getattr(self, key) for key in ("label", "iteration", "values", "networks")}
        return result | {"knn": self.knn._asdict(), "linear_probe": self.linear._asdict()}


def checkpoint(file: Path, label: str | None = None, iteration: int | None = None) -> Subject:
    """A trained network."""

    def build() -> Iterator[RestorationBackbone]:
        yield load_network(file)

    return Subject(label or name_of(file), build, iteration)


def name_of(file: Path) -> str:
    """What a checkpoint is called: run and file, or the file alone where it lies in no run."""
    folder = file.absolute().parent
    return f"{folder.parent.name}/{file.stem}" if folder.name == "models" else file.stem


def random_networks(section: dict[str, Any], seeds: Iterable[int], iteration: int | None = None) -> Subject:
    """Networks with random weights.

    Args:
        section: `type` and arguments of the network, as `network_g` in an option file.
        seeds: One for each network.
        iteration: Given in the study of a run.
    """
    seeds = list(seeds)

    def build() -> Iterator[RestorationBackbone]:
        for seed in seeds:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                try:
                    network = build_network(copy.deepcopy(section))
                except (KeyError, TypeError, ValueError) as error:
                    raise OptionError(f"network {section['type']}: {error}") from error
            yield network.eval()

    count = f"{len(seeds)} random network" + ("s" if len(seeds) > 1 else "")
    return Subject(f"{section['type']}, {count}", build, iteration)


def architecture(file: Path) -> dict[str, Any]:
    """Type and arguments of the network that a checkpoint belongs to.

    Raises:
        CheckpointError: If it is not known.
    """
    content = read_checkpoint(file)
    state = find_weights(content, file=file).state
    if isinstance(content.get(NOTE), dict):
        return {"type": AnyBackbone.__name__, **AnyBackbone.from_note(content[NOTE]).arguments()}
    family = detect_family(state)
    if family is None:
        raise CheckpointError(f"{file}: weights of an unknown network")
    arguments = {**family.arguments(family.convert(state)), **noted_in(content, family)}
    return {"type": family.network.__name__, **arguments}


def study(
    subject: Subject,
    images: torch.Tensor,
    labels: Sequence[str],
    settings: Settings,
    device: torch.device,
    progress: Progress = lambda done, total: None,
) -> Finding:
    """Study the features of a subject's networks.

    Args:
        subject: What is studied.
        images: N x 3 x H x W.
        labels: The degradation of each.
        settings: Level, grid, splits and neighbours.
        device: Where the networks run.
        progress: Called with how many images of how many a network has done.
    """
    knn: list[float] = []
    linear: list[float] = []
    between: list[np.ndarray] = []
    values = 0
    for network in subject.build():
        features = extract_features(network.to(device), images, settings.level, settings.grid, progress)
        values = features[0].size
        between.append(distances(features))
        knn += knn_accuracies(between[-1], labels, settings.states, settings.neighbours)
        linear += linear_probe_accuracies(features, labels, settings.states)
    found = Accuracy.of(knn), Accuracy.of(linear)
    return Finding(subject.label, *found, values, len(between), between[0], subject.iteration)


def study_pixels(images: torch.Tensor, labels: Sequence[str], settings: Settings) -> Finding:
    """The same study on raw pixels, without a network: the baseline of all others."""
    between = distances(images.numpy())
    knn = knn_accuracies(between, labels, settings.states, settings.neighbours)
    linear = linear_probe_accuracies(images.numpy(), labels, settings.states)
    return Finding("raw pixels", Accuracy.of(knn), Accuracy.of(linear), images[0].numel(), 0, between)


HEADER = ["features", "values", "nearest neighbours (%)", "linear classifier (%)"]


def table(findings: Sequence[Finding]) -> str:
    """Findings side by side, in Markdown."""
    return markdown.table([HEADER, *(finding.cells() for finding in findings)])


def conditions(source: str, counts: dict[str, int], asked: int, crop: int, settings: Settings) -> dict[str, str]:
    """How it was studied, in words that a reader of a table needs.

    Args:
        source: Where the images come from.
        counts: Degradation -> images.
        asked: How many of each were asked for.
        crop: Side of the crops in pixels.
        settings: The rest.
    """
    numbers = ", ".join(f"{name} {count}" for name, count in counts.items())
    fewer = [name for name, count in counts.items() if count < asked]
    features = (
        "of the last block, before the restoration head"
        if settings.level == "head"
        else (f"of level {settings.level}, which the classifier reads")
    )
    result = {
        "images": f"{numbers}; crops of {crop} x {crop} from {source}",
        "features": features + (f", averaged down to {settings.grid} x {settings.grid}" if settings.grid else ""),
        "nearest neighbours": f"{settings.neighbours}, equal weights, Euclidean distances of the flattened features",
        "linear classifier": "logistic regression (L2, C = 1) on the means of the channels, standardised",
        "splits": f"{len(settings.states)} random ones, two thirds of each degradation to learn from; mean and "
        "standard deviation over splits and networks",
        "chance": f"{1 / len(counts):.1%}",
    }
    if fewer:
        result["**compare with care**"] = f"fewer than {asked} images of {', '.join(fewer)}"
    return result
