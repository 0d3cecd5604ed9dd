"""The registry of degradations: one plain function each, under the name that is also its class label.

A new degradation is one file beside this one and one line in ``__init__.py``::

    @register_degradation
    def fog(image: Image, rng: Rng, *, strength: Range = (0.2, 0.6)) -> Image: ...

``image`` is float32, H x W x 3, RGB, [0, 1] and contiguous; the function leaves it as it is and returns a new array of
the same kind. All its randomness comes from ``rng``, through methods that both of NumPy's generators have. Its
parameters are keyword-only and have annotations and defaults, so that a typing error in an option file is found.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from dcpt_data.names import nearest

Image: TypeAlias = npt.NDArray[np.float32]
Rng: TypeAlias = np.random.Generator | np.random.RandomState
Range: TypeAlias = float | Sequence[float]
Degradation: TypeAlias = Callable[..., Image]

_registered: dict[str, Degradation] = {}
DEGRADATIONS: Mapping[str, Degradation] = MappingProxyType(_registered)


def register_degradation(function: Degradation) -> Degradation:
    """Registers a degradation under its own name and returns it unchanged.

    Raises:
        ValueError: The name is taken.
        TypeError: The signature is not ``(image, rng, *, parameter: annotation = default, ...)``.
    """
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
    _registered[name] = function
    return function


def degradation_names() -> list[str]:
    """Returns the registered names in alphabetical order; which class index a name has is for the options to say."""
    return sorted(_registered)


def degrade(name: str, image: Image, rng: Rng, **parameters: Any) -> Image:
    """Degrades an image.

    The result follows from the image, the state of ``rng`` and the parameters alone; no global random state is read or
    changed, and the image is left as it is.

    Args:
        name: A registered degradation.
        image: float32, H x W x 3, RGB, [0, 1]; any H, W >= 1, and any memory layout.
        rng: Where all randomness is drawn from.
        **parameters: The degradation's own keyword parameters.

    Returns:
        A new contiguous float32 array of the image's shape, in [0, 1] unless the degradation says otherwise.

    Raises:
        ValueError: An unknown degradation or parameter, a value out of its range, an image of another kind.
    """
    function = _find(name, parameters)
    _check_image(image)
    return function(np.ascontiguousarray(image), rng, **parameters)


def check_parameters(name: str, parameters: Mapping[str, Any]) -> None:
    """Checks a degradation's name, parameter names and values, so that option files fail before anything runs.

    Raises:
        ValueError: As ``degrade`` would.
    """
    function = _find(name, parameters)
    # A trial on a single pixel costs next to nothing and leaves each range written in one place only, its function.
    function(np.zeros((1, 1, 3), np.float32), np.random.default_rng(0), **parameters)


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
    numbers: list[Any] = list(value) if isinstance(value, list | tuple) else [value]
    if len(numbers) == 0 or not all(isinstance(n, Real) and not isinstance(n, bool) for n in numbers):
        raise ValueError(f"{name} must be a number, a (low, high) pair or a list of 3 or more choices, got {value!r}")
    if not all(low <= n <= high for n in numbers):
        raise ValueError(f"{name} must lie in [{low:g}, {high:g}], got {value!r}")
    if len(numbers) == 2:
        if numbers[0] > numbers[1]:
            raise ValueError(f"{name} is a (low, high) pair, got {value!r}; swap the two")
        return float(rng.uniform(*numbers))
    return float(numbers[0] if len(numbers) == 1 else rng.choice(numbers))


def _find(name: str, parameters: Iterable[str]) -> Degradation:
    if name not in _registered:
        raise ValueError(f"unknown degradation '{name}'{nearest(name, degradation_names())}")
    function = _registered[name]
    accepted = list(inspect.signature(function).parameters)[2:]  # after image and rng
    for parameter in parameters:
        if parameter not in accepted:
            raise ValueError(f"degradation '{name}' has no parameter '{parameter}'{nearest(parameter, accepted)}")
    return function


def _check_image(image: Image) -> None:
    expected = "expected a float32 array, H x W x 3, RGB, in [0, 1]"
    if not isinstance(image, np.ndarray):
        raise ValueError(f"{expected}, got {type(image).__name__}")
    if image.dtype != np.float32:
        hint = "; convert with image.astype(np.float32) / 255" if image.dtype == np.uint8 else ""
        raise ValueError(f"{expected}, got dtype {image.dtype}{hint}")
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(f"{expected}, got shape {image.shape}")
