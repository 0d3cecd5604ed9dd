"""Every number that an option file may give has a range where it is declared."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from typing import Any

import pytest
from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, LOSS_REGISTRY, MODEL_REGISTRY

import dcpt_arch  # noqa: F401 - registers networks
import dcpt_data  # noqa: F401 - registers data sets
import dcpt_models  # noqa: F401 - registers methods and losses
from dcpt_common import Range
from dcpt_models.analysis.study.arms import FeatureOptions, PhotographOptions, StudyOptions
from dcpt_models.metrics.by_name import OURS
from dcpt_models.optim.optimizers import optimizer_class
from dcpt_models.options.argument_ranges import with_range
from dcpt_models.options.check import declared_by
from dcpt_models.options.sections import DistOptions, FileOptions, LoggerOptions, PathOptions, TableOptions, ValOptions

# Any finite number has a meaning there.
ANY = {("NAFNet", "initial_scale"), ("GuidedNAFNet", "initial_scale"), ("AnyBackbone", "output")}
OPTIONS = [FileOptions, PathOptions, ValOptions, LoggerOptions, DistOptions, TableOptions]
STUDIES = [StudyOptions, PhotographOptions, FeatureOptions]


def declarations() -> dict[str, Any]:
    """Where numbers of option files are declared in this project, by name."""
    found = {kind.__name__: kind for kind in (*OPTIONS, *STUDIES)}
    found |= {f"{name}.TrainOptions": c.TrainOptions for name, c in MODEL_REGISTRY if hasattr(c, "TrainOptions")}
    found |= {f"{name}.Options": c.Options for name, c in DATASET_REGISTRY if hasattr(c, "Options")}
    registered = [*ARCH_REGISTRY, *LOSS_REGISTRY]
    found |= {name: c for name, c in registered if c.__module__.startswith(("dcpt_arch", "dcpt_models"))}
    return found | OURS


def without_range(annotation: Any) -> Iterator[type]:
    """The numbers in a type, at any depth, that have no range."""
    if typing.get_origin(annotation) is typing.Annotated:
        inner, *notes = typing.get_args(annotation)
        if not any(isinstance(note, Range) for note in notes):
            yield from without_range(inner)
    elif annotation in (int, float):
        yield annotation
    elif not dataclasses.is_dataclass(annotation):
        for inner in typing.get_args(annotation):
            if isinstance(inner, type) or typing.get_args(inner):
                yield from without_range(inner)


@pytest.mark.parametrize("name", declarations())
def test_every_number_has_a_range(name: str) -> None:
    declared = declared_by(declarations()[name], skip=("feature_info", "classes", "images", "target")).annotations
    missing = [key for key, kind in declared.items() if list(without_range(kind)) and (name, key) not in ANY]
    assert not missing, "say Annotated[float, Range(...)], Count, Natural, Positive, ... (dcpt_common)"


def test_what_others_declare_without_a_range_has_that_of_its_name() -> None:
    for name in ("AdamW", "Adam", "SGD", "RMSprop"):
        optimizer = optimizer_class(name)
        for key, kind in declared_by(optimizer).annotations.items():
            if key in ("lr", "weight_decay", "momentum"):
                assert not list(without_range(with_range(optimizer, key, kind))), (name, key)
        stated = typing.Annotated[float, Range(least=-1)]
        assert with_range(optimizer, "lr", stated) is stated


def test_what_a_user_declares_is_the_users() -> None:
    def loss(milestones: int, lr: str) -> None:
        """A name that means something else in PyTorch."""

    assert [with_range(loss, key, kind) for key, kind in declared_by(loss).annotations.items()] == [int, str]
