"""Degradations as pure functions of an image and a random generator: ``degrade("rain", image, rng)``."""

from dcpt_common import CLEAN, import_modules
from dcpt_data.degradations import kinds
from dcpt_data.degradations.batch import degrade_batch
from dcpt_data.degradations.composition import (
    check_parameters,
    degrade,
    degrade_for_evaluation,
    evaluation_defaults,
    labels,
)
from dcpt_data.degradations.registry import (
    DEGRADATIONS,
    degradation_names,
    draw,
    draw_whole,
    register_degradation,
)

import_modules(kinds)

__all__ = [
    "CLEAN",
    "DEGRADATIONS",
    "check_parameters",
    "degradation_names",
    "degrade",
    "degrade_batch",
    "degrade_for_evaluation",
    "draw",
    "draw_whole",
    "evaluation_defaults",
    "labels",
    "register_degradation",
]
