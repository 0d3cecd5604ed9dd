"""A trial pass of one image before training and testing, which finds wrong output shapes; used by every method.

A network that gives an image of another shape would be trained on a loss that PyTorch broadcasts silently.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any

import torch
from torch import nn

from dcpt_models.errors import OptionError

CHANNELS = 3  # of every image that the data sets give
SIDE = 128  # of the image, where no crop is trained on


def check_restores(network: nn.Module, key: str, side: int = SIDE) -> None:
    """Make sure that a network gives an image of the shape that it is given.

    It is asked on PyTorch's meta device first, which computes shapes only; a network that cannot do that computes one
    image. No random state is changed.

    Args:
        network: The network, wherever it is.
        key: Of its section in the option file, for messages.
        side: Of the image in pixels: that of the crops that are trained on.

    Raises:
        OptionError: If it refuses the image or gives another shape; the message names the key and the reason.
    """
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        if not _fits_on_meta(network, side):
            _check(network, key, side)
    finally:
        for module, training in modes.items():
            module.training = training


def _fits_on_meta(network: nn.Module, side: int) -> bool:
    """Whether a copy of a network that has shapes and no values gives the right shape."""
    image = torch.empty(1, CHANNELS, side, side, device="meta")
    # A copy, since networks may keep what they compute, in which what stands for a tensor is not copied but replaced.
    shapes: dict[int, Any] = {id(p): nn.Parameter(torch.empty_like(p, device="meta")) for p in network.parameters()}
    shapes.update({id(buffer): torch.empty_like(buffer, device="meta") for buffer in network.buffers()})
    try:
        with torch.random.fork_rng([]), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            restored = copy.deepcopy(network, shapes)(image)
    except Exception:  # it may do what has no meaning without values
        return False
    return isinstance(restored, torch.Tensor) and restored.shape == image.shape


def _check(network: nn.Module, key: str, side: int) -> None:
    name = type(network).__name__
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    image = torch.zeros(1, CHANNELS, side, side, device=device)
    with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.no_grad():
        try:
            restored = network(image)
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            why = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise OptionError(
                f"key '{key}': {name} does not take an image of {CHANNELS} channels and {side}x{side} pixels ({why}); "
                f"give it the argument that makes it take {CHANNELS} channels (in_channels, num_in_ch or the like: "
                f"{CHANNELS}), or choose a network that restores images of this size"
            ) from error
    if not isinstance(restored, torch.Tensor):
        raise OptionError(
            f"key '{key}': {name} gives a {type(restored).__name__} in place of one image; choose a network that gives "
            "the restored image alone"
        )
    if restored.shape != image.shape:
        raise OptionError(f"key '{key}': {name} {_difference(restored, side)}")


def _difference(restored: torch.Tensor, side: int) -> str:
    """What is another about a restored image than about the image of `side`, and what to do."""
    if restored.dim() != 4:
        return f"gives {tuple(restored.shape)}, no image of 1 x {CHANNELS} x {side} x {side}; choose another network"
    _, channels, height, width = restored.shape
    if channels != CHANNELS:
        return (
            f"gives images of {channels} channels, and gt has {CHANNELS}; give it the argument that makes it give "
            f"{CHANNELS} (out_channels, num_out_ch or the like: {CHANNELS})"
        )
    times = f"{height / side:g}" if height == width else f"{height / side:g} x {width / side:g}"
    return (
        f"gives images of {width}x{height} pixels for {side}x{side}, {times} times the side, and gt is as large as lq; "
        "give it the argument that leaves the size as it is (scale, upscale or the like: 1)"
    )
