"""Degrading an image with one degradation or several: ``degrade("low_light+haze+rain", image, rng)``."""

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from dcpt_common import CLEAN, JOIN, nearest
from dcpt_data.degradations.registry import STAGES, Degradation, Image, Rng, Traits, find

Part = tuple[Degradation, Traits, Mapping[str, Any]]


def labels(name: str) -> tuple[str, ...]:
    """Returns all degradations of a name, in the order in which they act (see ``registry.STAGES``).

    Those that act at the same place are in alphabetical order, as rain and snow.

    Args:
        name: A degradation, or several in any order, joined by "+"; or "clean".

    Raises:
        ValueError: A part is unknown, or comes twice.
    """
    if name == CLEAN:
        return (CLEAN,)
    parts = name.split(JOIN)
    for part in parts:
        find(part)
        if parts.count(part) > 1:
            raise ValueError(f"'{name}' has '{part}' {parts.count(part)} times; name each degradation once at most")
    return tuple(sorted(parts, key=lambda part: (STAGES.index(find(part)[1].stage), part)))


def degrade(name: str, image: Image, rng: Rng, **parameters: Any) -> Image:
    """Degrades an image as in training.

    The result follows from the image, the state of ``rng`` and the parameters alone; no global random state is read or
    changed, and the image is left as it is.

    Args:
        name: A registered degradation, or several in any order, joined by "+"; they act in the order of ``labels``.
            "clean" is none of them: a copy of the image.
        image: float32, H x W x 3, RGB, [0, 1]; any H, W >= 1, and any memory layout.
        rng: Where all randomness is drawn from.
        **parameters: The degradation's own keyword parameters; of several, a mapping for each of them that is not to
            have its defaults: ``rain={"density": 0.1}``.

    Returns:
        A new contiguous float32 array of the image's shape, in [0, 1] unless the degradation says otherwise.

    Raises:
        ValueError: An unknown degradation or parameter, a value out of its range, an image of another kind.
    """
    stages = parts(name, parameters)
    result = _checked(image)
    for function, _, own in stages:
        result = function(result, rng, **own)
    return result if stages else result.copy()


def degrade_for_evaluation(name: str, image: Image, key: str, **parameters: Any) -> Image:
    """Degrades an image as in evaluation: the same each time, whatever was degraded before it.

    The random generator follows from the image's name, or from the published protocol where there is one, as for noise
    of one sigma. Parameters that are not given have their evaluation defaults.

    Args:
        name: As ``degrade`` takes it.
        image: As ``degrade`` takes it.
        key: The image's name in its data set, such as "buildings/0012.png".
        **parameters: As ``degrade`` takes them.

    Returns:
        As ``degrade`` does.

    Raises:
        ValueError: As ``degrade`` would.
    """
    stages = parts(name, parameters)
    result = _checked(image)
    rng = np.random.default_rng(zlib.crc32(key.encode("utf-8", "surrogateescape")))
    for function, traits, given in stages:
        own = {**(function.__kwdefaults__ or {}), **traits.evaluation, **given}
        fixed = not any(isinstance(value, list | tuple) for value in own.values())
        if traits.legacy_seed is not None and fixed:
            result = function(result, np.random.RandomState(traits.legacy_seed), **own)
        else:
            result = function(result, rng, **own)
    return result if stages else result.copy()


def evaluation_defaults(name: str) -> dict[str, Any]:
    """Returns what each parameter of a single degradation is at evaluation, unless given.

    Raises:
        ValueError: The degradation is unknown.
    """
    function, traits = find(name)
    return {**(function.__kwdefaults__ or {}), **traits.evaluation}


def check_parameters(name: str, parameters: Mapping[str, Any]) -> None:
    """Checks a degradation's name, parameter names and values, so that option files fail before anything runs.

    Raises:
        ValueError: As ``degrade`` would.
    """
    # A trial on a single pixel costs next to nothing and leaves each range written in one place only, its function.
    degrade(name, np.zeros((1, 1, 3), np.float32), np.random.default_rng(0), **parameters)


def parts(name: str, parameters: Mapping[str, Any]) -> list[Part]:
    """Returns the functions of a name in the order in which they act, with their traits and the parameters of each.

    Raises:
        ValueError: As ``degrade`` would, but values are not looked at.
    """
    names = labels(name)
    if name == CLEAN:
        if parameters:
            raise ValueError(f"'{CLEAN}' is no degradation and has no parameters, got {', '.join(parameters)}")
        return []
    if len(names) == 1:
        return [(*find(name, parameters), parameters)]
    for part, own in parameters.items():
        if part not in names:
            raise ValueError(
                f"'{name}' has no part '{part}'{nearest(part, names)}; parameters are given by part, "
                f"such as {names[0]}: {{...}}"
            )
        if not isinstance(own, Mapping):
            raise ValueError(f"parameters of '{part}' in '{name}' must be a mapping by name, got {own!r}")
    return [(*find(part, parameters.get(part, {})), parameters.get(part, {})) for part in names]


def _checked(image: Image) -> Image:
    expected = "expected a float32 array, H x W x 3, RGB, in [0, 1]"
    if not isinstance(image, np.ndarray):
        raise ValueError(f"{expected}, got {type(image).__name__}")
    if image.dtype != np.float32:
        hint = "; convert with image.astype(np.float32) / 255" if image.dtype == np.uint8 else ""
        raise ValueError(f"{expected}, got dtype {image.dtype}{hint}")
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(f"{expected}, got shape {image.shape}")
    return np.ascontiguousarray(image)
