"""Degradations as pure functions of an image and a random generator: ``degrade("rain", image, rng)``."""

from dcpt_data.degradations import (  # noqa: F401 - importing a module registers its degradation
    defocus_blur,
    demosaic,
    downsampling,
    gaussian_blur,
    haze,
    inpainting,
    jpeg,
    low_light,
    motion_blur,
    noise,
    poisson_noise,
    rain,
    raindrop,
    snow,
)
from dcpt_data.degradations.batch import degrade_batch
from dcpt_data.degradations.composition import (
    CLEAN,
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
