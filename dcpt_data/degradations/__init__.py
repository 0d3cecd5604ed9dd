"""Degradations as pure functions of an image and a random generator: ``degrade("rain", image, rng)``."""

from dcpt_data.degradations import (  # noqa: F401 - importing a module registers its degradation
    haze,
    low_light,
    motion_blur,
    noise,
    rain,
)
from dcpt_data.degradations.noise import evaluation_noise
from dcpt_data.degradations.registry import (
    DEGRADATIONS,
    check_parameters,
    degradation_names,
    degrade,
    draw,
    register_degradation,
)

__all__ = [
    "DEGRADATIONS",
    "check_parameters",
    "degradation_names",
    "degrade",
    "draw",
    "evaluation_noise",
    "register_degradation",
]
