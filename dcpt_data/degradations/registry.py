"""The registry of degradations: one plain function each, under the name that is also its class label.

A new degradation is one file in ``kinds/``, or one that ``--import`` names::

    @register_degradation
    def fog(image: Image, rng: Rng, *, strength: Range = (0.2, 0.6)) -> Image: ...

``image`` is float32, H x W x 3, RGB, [0, 1] and contiguous; the function leaves it as it is and returns a new array of
the same kind. All its randomness comes from ``rng``, through methods that both of NumPy's generators have. Its
parameters are keyword-only and have annotations and defaults, so that a typing error in an option file is found. The
defaults are the ranges that training draws from.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from types import MappingProxyType
from typing import Any, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from dcpt_common import nearest

Image: TypeAlias = npt.NDArray[np.float32]
Rng: TypeAlias = np.random.Generator | np.random.RandomState
Range: TypeAlias = float | Sequence[float]
Degradation: TypeAlias = Callable[..., Image]

STAGES = (
    "light",  # of the scene
    "precipitation",  # drops and flakes in front of the scene
    "air",  # between the scene and the camera
    "glass",  # in front of the lens, and what is on it
    "focus",
    "movement",  # while the shutter is open
    "resolution",
    "photons",  # counted by the sensor
    "electronics",  # that read it out
    "colour",  # made from one value a pixel
    "file",
    "picture",  # what happens to it later
)
"""Where a degradation acts, from the scene to the finished picture: the order in which those of a composition act.

It begins as in CDD-11 (Guo et al., "OneRestore: A Universal Restoration Framework for Composite Degradation", ECCV
2024): low light, then rain or snow, then haze. The rest follows the light through the camera into the file.
"""


@dataclass(frozen=True)
class Traits:
    """What is declared beside a degradation; see ``register_degradation``."""

    stage: str
    evaluation: Mapping[str, Any]
    legacy_seed: int | None
    tensors: bool


_registered: dict[str, Degradation] = {}
_traits: dict[str, Traits] = {}
DEGRADATIONS: Mapping[str, Degradation] = MappingProxyType(_registered)


@overload
def register_degradation(function: Degradation) -> Degradation: ...


@overload
def register_degradation(
    *,
    stage: str = ...,
    evaluation: Mapping[str, Any] = ...,
    legacy_seed: int | None = ...,
    tensors: bool = ...,
) -> Callable[[Degradation], Degradation]: ...


def register_degradation(
    function: Degradation | None = None,
    *,
    stage: str = "picture",
    evaluation: Mapping[str, Any] = MappingProxyType({}),
    legacy_seed: int | None = None,
    tensors: bool = False,
) -> Degradation | Callable[[Degradation], Degradation]:
    """Registers a degradation under its own name and returns it unchanged; ``@register_degradation``, or with traits.

    Args:
        function: The degradation.
        stage: Where it acts, of ``STAGES``.
        evaluation: Parameters that are other at evaluation than the defaults.
        legacy_seed: The published protocol seeds NumPy's legacy generator with this for every image, provided that no
            parameter is a range. Without it, an image's generator follows from its name.
        tensors: The function takes tensors as well, as it computes through operators and ``arrays.py``.

    Raises:
        ValueError: The name is taken, or a trait is unknown.
        TypeError: The signature is not ``(image, rng, *, parameter: annotation = default, ...)``.
    """
    if function is None:
        return lambda function: _register(function, Traits(stage, dict(evaluation), legacy_seed, tensors))
    return _register(function, Traits(stage, dict(evaluation), legacy_seed, tensors))


def _register(function: Degradation, traits: Traits) -> Degradation:
    name = function.__name__
    if name in _registered:
        raise ValueError(f"degradation '{name}' is registered already, by {_registered[name].__module__}")
    parameters = list(inspect.signature(function).parameters.values())
    if [parameter.name for parameter in parameters[:2]] != ["image", "rng"]:
        raise TypeError(f"degradation '{name}' must take (image, rng, *, ...)")
    for parameter in parameters[2:]:
        if parameter.kind is not parameter.KEYWORD_ONLY or parameter.empty in (parameter.default, parameter.annotation):
            raise TypeError(
                f"parameter '{parameter.name}' of degradation '{name}' must be keyword-only, "
                "with an annotation and a default"
            )
    if traits.stage not in STAGES:
        raise ValueError(f"degradation '{name}' has no stage '{traits.stage}'{nearest(traits.stage, STAGES)}")
    _check_names(name, function, traits.evaluation)
    _registered[name], _traits[name] = function, traits
    return function


def degradation_names() -> list[str]:
    """Returns the registered names in alphabetical order; which class index a name has is for the options to say."""
    return sorted(_registered)


def find(name: str, parameters: Iterable[str] = ()) -> tuple[Degradation, Traits]:
    """Returns a single degradation and its traits.

    Raises:
        ValueError: The name is unknown, or it has no parameter of a given name.
    """
    if name not in _registered:
        raise ValueError(f"unknown degradation '{name}'{nearest(name, degradation_names())}")
    _check_names(name, _registered[name], parameters)
    return _registered[name], _traits[name]


def draw(rng: Rng, value: Range, name: str, low: float, high: float) -> float:
    """Draws the number that a parameter stands for.

    A number stands for itself and takes nothing from ``rng``. A list or tuple of exactly two numbers is a range
    (low, high), drawn from uniformly. A longer one is a list of choices, each as likely as the others; a choice between
    two values only is written with each of them twice, ``[15, 15, 50, 50]``.

    Args:
        rng: Where the number is drawn from.
        value: A number, a range or a list of choices.
        name: The parameter's name, for messages.
        low: The smallest value allowed.
        high: The greatest value allowed.

    Raises:
        ValueError: ``value`` is none of these, or reaches out of [low, high].
    """
    numbers = _numbers(value, name, low, high)
    if len(numbers) == 2:
        return float(rng.uniform(*numbers))
    return float(numbers[0] if len(numbers) == 1 else rng.choice(numbers))


def draw_whole(rng: Rng, value: Range, name: str, low: int, high: int) -> int:
    """Draws the whole number that a parameter stands for: as ``draw``, where a range has both its ends.

    Raises:
        ValueError: As ``draw``, and for numbers that are not whole.
    """
    numbers = _numbers(value, name, low, high)
    if not all(float(n).is_integer() for n in numbers):
        raise ValueError(f"{name} must be whole, got {value!r}")
    if len(numbers) == 2:
        return min(int(rng.uniform(numbers[0], numbers[1] + 1)), int(numbers[1]))
    return int(numbers[0] if len(numbers) == 1 else rng.choice(numbers))


def _numbers(value: Range, name: str, low: float, high: float) -> list[Any]:
    numbers: list[Any] = list(value) if isinstance(value, list | tuple) else [value]
    if len(numbers) == 0 or not all(isinstance(n, Real) and not isinstance(n, bool) for n in numbers):
        raise ValueError(f"{name} must be a number, a (low, high) pair or a list of 3 or more choices, got {value!r}")
    if not all(low <= n <= high for n in numbers):
        raise ValueError(f"{name} must lie in [{low:g}, {high:g}], got {value!r}")
    if len(numbers) == 2 and numbers[0] > numbers[1]:
        raise ValueError(f"{name} is a (low, high) pair, got {value!r}; swap the two")
    return numbers


def choose(rng: Rng, value: str, name: str, choices: Sequence[str]) -> str:
    """Returns the word that a parameter stands for; ``any`` is one of the others, each as likely.

    Raises:
        ValueError: ``value`` is not a choice.
    """
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}{nearest(str(value), choices)}")
    words = [word for word in choices if word != "any"]
    return words[int(rng.uniform(0, len(words)))] if value == "any" else value


def _check_names(name: str, function: Degradation, parameters: Iterable[str]) -> None:
    accepted = list(inspect.signature(function).parameters)[2:]  # after image and rng
    for parameter in parameters:
        if parameter not in accepted:
            raise ValueError(f"degradation '{name}' has no parameter '{parameter}'{nearest(parameter, accepted)}")
