"""Synthesis as a batch transform: degradations of tensors, on the device where they are.

The functions are those of the registry, so that formulas, ranges and statistics are the same as in a data set. Each
image is drawn for on the CPU, as in a data set; what is done to its pixels is done on the device.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from dcpt_common import CLEAN
from dcpt_data.degradations.arrays import TensorRng
from dcpt_data.degradations.composition import labels, parts
from dcpt_data.degradations.registry import degradation_names, find


@torch.no_grad()
def degrade_batch(
    images: torch.Tensor,
    names: str | Sequence[str],
    generator: torch.Generator,
    parameters: Mapping[str, Mapping[str, Any]] | None = None,
) -> torch.Tensor:
    """Degrades a batch as in training; the result follows from the arguments and the generator's state alone.

    Args:
        images: N x 3 x H x W, float32, RGB, [0, 1], on any device; they are left as they are.
        names: A degradation as ``degrade`` takes it, also a composition, for all images or for each of them.
        generator: Where all randomness is drawn from, on the images' device.
        parameters: The parameters of single degradations, ``{"noise": {"sigma": 50}}``, alone and in compositions;
            all others have their defaults.

    Returns:
        A new contiguous tensor of the images' shape and device.

    Raises:
        ValueError: Images of another kind, an unknown degradation or parameter, a value out of its range, a degradation
            that needs OpenCV to work on pixels, or a generator of another device.
    """
    every = [names] * len(images) if isinstance(names, str) else list(names)
    given = parameters or {}
    _check(images, every, generator, given)
    if len(images) == 0:
        return images.clone()
    seeds = torch.randint(2**62, (len(images),), generator=generator, device=images.device).tolist()
    degraded = []
    for image, name, seed in zip(images, every, seeds, strict=True):
        result: Any = image.permute(1, 2, 0)
        rng = TensorRng(seed, generator)
        own = {part: given.get(part, {}) for part in labels(name)}
        for function, _, values in parts(name, own if len(own) > 1 else own[name]):
            result = function(result, rng, **values)
        degraded.append(result.permute(2, 0, 1))
    return torch.stack(degraded)


def _check(
    images: torch.Tensor, names: list[str], generator: torch.Generator, parameters: Mapping[str, Mapping[str, Any]]
) -> None:
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype != torch.float32:
        raise ValueError(f"expected float32 images, N x 3 x H x W, got {images.dtype} of shape {tuple(images.shape)}")
    if len(names) != len(images):
        raise ValueError(f"expected a degradation for each of {len(images)} images, got {len(names)}")
    if generator.device.type != images.device.type:
        raise ValueError(
            f"the images are on {images.device}, the generator on {generator.device}; "
            f"make it with torch.Generator('{images.device}')"
        )
    for name, own in parameters.items():
        find(name, own)
    for part in {part for name in names for part in labels(name)} - {CLEAN}:
        if not find(part)[1].tensors:
            able = ", ".join(name for name in degradation_names() if find(name)[1].tensors)
            raise ValueError(f"'{part}' needs arrays: synthesise it in the data set. Tensors can have: {able}")
