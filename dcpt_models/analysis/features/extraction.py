"""Features of images as arrays, for the probes and t-SNE."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from dcpt_arch.backbones.base import RestorationBackbone
from dcpt_models.errors import OptionError
from dcpt_models.runtime.memory import free_memory

# "head" for what the restoration head is given, or the number of a declared level, 0 for the highest resolution.
Level = int | Literal["head"]
BATCH = 4  # images at a time
# Of the memory that is free, the share that features may take; larger ones go to a temporary file.
SHARE = 0.4


@torch.inference_mode()
def extract_features(
    network: RestorationBackbone,
    images: torch.Tensor,
    level: Level = "head",
    grid: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> np.ndarray:
    """The features that a network computes of images, in eval mode; the mode it was in is restored.

    Args:
        network: On any device.
        images: N x 3 x H x W, float32.
        level: Which features. "head" are those of the last block, which the restoration head makes the image of (DCPT,
            Section 3.1); a number is that of a level that the classifier reads.
        grid: Average the maps down to grid x grid values; None leaves them as they are.
        progress: Called with how many images of how many are done.

    Returns:
        N x C x H' x W', float32; in a temporary file that vanishes with the array if memory is short.

    Raises:
        OptionError: If the network has no such level.
    """
    if level != "head" and level not in range(len(network.feature_info)):
        last = len(network.feature_info) - 1
        raise OptionError(f"{type(network).__name__} has no feature level {level}; give 'head', or 0 to {last}")
    device = next(network.parameters()).device
    training = network.training
    network.eval()
    result: np.ndarray | None = None
    try:
        for begin in range(0, len(images), BATCH):
            part = images[begin : begin + BATCH].to(device)
            found = _before_head(network, part) if level == "head" else network(part, features="only")[level]
            if grid is not None:
                found = F.adaptive_avg_pool2d(found, grid)
            values = found.float().cpu().numpy()
            if result is None:
                result = _room((len(images), *values.shape[1:]))
            result[begin : begin + len(part)] = values
            progress(begin + len(part), len(images))
    finally:
        network.train(training)
    assert result is not None, "no images"
    return result


def _before_head(network: RestorationBackbone, images: torch.Tensor) -> torch.Tensor:
    """What the first module of a network's head is given."""
    given: list[torch.Tensor] = []

    def note(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        given.append(inputs[0])

    hooks = [module.register_forward_pre_hook(note) for module in network.head_modules()]
    try:
        network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return given[0]


def _room(shape: tuple[int, ...]) -> np.ndarray:
    size = 4 * int(np.prod(shape))
    if size <= SHARE * free_memory(torch.device("cpu")):
        return np.empty(shape, np.float32)
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, np.float32, "w+", shape=shape)
