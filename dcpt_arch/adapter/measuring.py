"""Measures a network by dry passes: which modules give maps, which sizes it takes, which parameters it uses."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from dcpt_arch.adapter.dry_runs import Call, DryRuns, Pass, Size
from dcpt_arch.adapter.layouts import Layout, layout_of

CHANNELS = 3
# Two sizes whose sides all differ, multiples of 128; then multiples of 168, for windows of 7 and 12.
OBLONGS: tuple[tuple[Size, Size], ...] = (((128, 256), (256, 384)), ((168, 336), (336, 504)))
SQUARES: tuple[tuple[Size, Size], ...] = (((128, 128), (256, 256)), ((168, 168), (336, 336)))
# What the strides' least common multiple is multiplied by in search of the size multiple.
FACTORS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 48, 64, 96, 128)
LARGEST_MULTIPLE = 256


@dataclass(frozen=True)
class Measured:
    """A network from image to image, measured.

    Attributes:
        network: The network.
        runs: Dry passes of it.
        passes: Those of two sizes.
        square: Whether it takes squares alone.
        layouts: Name of a module that runs once -> the layout of what it gives; only those that give maps.
        item: Which item of the network's output is the image; None if it gives the image alone.
    """

    network: nn.Module
    runs: DryRuns
    passes: tuple[Pass, Pass]
    square: bool
    layouts: dict[str, Layout]
    item: int | str | None

    @property
    def calls(self) -> dict[str, Call]:
        """The calls of the modules that run once."""
        return {name: calls[0] for name, calls in self.passes[0].calls.items() if len(calls) == 1}

    @property
    def unused(self) -> list[str]:
        """Names of the parameters that are trained and have no part in the image."""
        shown = self.passes[0]
        if shown.opaque:
            return []
        trained = (name for name, parameter in self.network.named_parameters() if parameter.requires_grad)
        return [name for name in trained if name not in shown.reached]


def measure(
    network: nn.Module, multiple: int | None = None, square: bool | None = None, item: int | str | None = None
) -> Measured:
    """Measure a network.

    Args:
        network: The network; it is not changed.
        multiple: Its size multiple if that is known.
        square: Whether it takes squares alone, if that is known.
        item: Which item of a list, tuple or dict that it gives is the image.

    Raises:
        ValueError: If it takes no RGB image, or gives none of the same size; the message has the reason.
    """
    runs = DryRuns(network, CHANNELS)
    passes, square = _first_passes(runs, multiple, square)
    for shown in (*passes, _in_training(runs, passes[0])):
        check_image(image_of(shown.output, item), shown.size)
    layouts = {}
    for name, calls in passes[0].calls.items():
        others = passes[1].calls.get(name, [])
        if len(calls) == len(others) == 1 and calls[0].shape and others[0].shape:
            layout = layout_of((calls[0].shape, others[0].shape), (passes[0].size, passes[1].size))
            if layout:
                layouts[name] = layout
    return Measured(network, runs, passes, square, layouts, item)


def _first_passes(runs: DryRuns, multiple: int | None, square: bool | None) -> tuple[tuple[Pass, Pass], bool]:
    reason: Exception | None = None
    for squares in (False, True) if square is None else (square,):
        if multiple:
            p = -(-96 // multiple)
            q = p + -(-64 // multiple)
            small, large = (p, p if squares else q), (q, q if squares else p + q)
            tried: Iterable[tuple[Size, Size]] = [
                ((small[0] * multiple, small[1] * multiple), (large[0] * multiple, large[1] * multiple))
            ]
        else:
            tried = SQUARES if squares else OBLONGS
        for first, second in tried:
            try:
                return (runs.first(first), runs.run(second)), squares
            except Exception as error:  # of any kind
                reason = reason or error
    why = (str(reason).strip().splitlines() or [type(reason).__name__])[0]
    raise ValueError(
        f"{type(runs.network).__name__} takes no image of {CHANNELS} channels ({why}); give it the argument that makes "
        f"it take {CHANNELS} (in_channels, num_in_ch or the like: {CHANNELS}), or another size_multiple"
    ) from reason


def _in_training(runs: DryRuns, shown: Pass) -> Pass:
    """The pass in training mode, in which a network may give more than an image; that in eval mode if it fails."""
    try:
        return runs.run(shown.size, training=True, graph=False)
    except Exception:  # of any kind: batch normalisation, for one, refuses a single value
        return shown


def needs_contiguous(network: nn.Module, multiple: int) -> bool:
    """Whether a network fails where channels lie last in memory (as `Tensor.view` does), and only there.

    A small image is computed: the meta device does not tell in which order the dimensions of a result lie.
    """
    side = multiple * -(-16 // multiple)
    plain = copy.deepcopy(network).cpu().eval()
    image = torch.zeros(1, CHANNELS, side, side)
    last = torch.channels_last
    return not _computes(plain.to(memory_format=last), image.contiguous(memory_format=last)) and _computes(
        copy.deepcopy(network).cpu().eval(), image
    )


def _computes(network: nn.Module, image: torch.Tensor) -> bool:
    try:
        with torch.random.fork_rng([]), torch.no_grad():
            network(image)
    except Exception:  # of any kind
        return False
    return True


def image_of(output: Any, item: int | str | None) -> Any:
    """The image in what a network gives.

    Raises:
        ValueError: If `item` is none of its items, or none is named and there are several; the message lists them.
    """
    if isinstance(output, torch.Tensor):
        if item is not None:
            raise ValueError(f"it gives one image and no items, and `output` names item {item!r}; leave `output` out")
        return output
    shown = describe(output)
    if item is None:
        raise ValueError(
            f"it gives {shown} in place of one image; say by `output` which item is the restored image, such as "
            f"output: {next(iter(output), 0) if isinstance(output, dict) else 0}"
        )
    try:
        return output[item]
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"it gives {shown}, which has no item {item!r}; name another by `output`") from error


def describe(output: Any) -> str:
    """What a network gives, in words: its type, and the shapes in it."""
    if isinstance(output, torch.Tensor):
        return " x ".join(map(str, output.shape))
    if isinstance(output, dict):
        return f"a dict ({', '.join(f'{key!r}: {describe(value)}' for key, value in output.items())})"
    if isinstance(output, (list, tuple)):
        return f"a {type(output).__name__} ({', '.join(f'{i}: {describe(each)}' for i, each in enumerate(output))})"
    return f"a {type(output).__name__}"


def check_image(image: Any, size: Size) -> None:
    """Raise a ValueError with the reason if something is no RGB image of this size."""
    if not isinstance(image, torch.Tensor) or image.dim() != 4:
        raise ValueError(f"it gives {describe(image)}, no image of 1 x {CHANNELS} x {size[0]} x {size[1]}")
    _, channels, height, width = image.shape
    if channels != CHANNELS:
        raise ValueError(
            f"it gives images of {channels} channels, and the target has {CHANNELS}; give it the argument that makes "
            f"it give {CHANNELS} (out_channels, num_out_ch or the like: {CHANNELS})"
        )
    if (height, width) != size:
        raise ValueError(
            f"it gives images of {width}x{height} pixels for {size[1]}x{size[0]}, {height / size[0]:g} times the side, "
            "and the target is as large as the input; give it the argument that leaves the size as it is (scale, "
            "upscale or the like: 1)"
        )


def fits(measured: Measured, levels: dict[str, Layout], size: Size) -> bool:
    """Whether an image of this size comes out whole, and the levels are as large as their strides say."""
    shown = measured.runs.fits(size)
    if shown is None:
        return False
    image = image_of(shown.output, measured.item)
    right = isinstance(image, torch.Tensor) and image.shape[-2:] == size
    return right and all(shown.calls[name][0].shape == layout.shape(size) for name, layout in levels.items())


def find_multiple(measured: Measured, levels: dict[str, Layout]) -> int:
    """The least number such that images whose sides are multiples of it are processed without padding.

    Found by trying: from the smallest such image on, and at sizes that are multiples of nothing more.

    Raises:
        ValueError: If there is none.
    """
    least = math.lcm(*(layout.stride for layout in levels.values()))
    for factor in FACTORS:
        multiple = least * factor
        if multiple > LARGEST_MULTIPLE:
            break
        if all(fits(measured, levels, size) for size in sizes_of(multiple, measured.square)):
            return multiple
    raise ValueError(
        f"no size multiple up to {LARGEST_MULTIPLE} was found at which {type(measured.network).__name__} gives images "
        "and features of the size that they should have; give `size_multiple`"
    )


def check_multiple(measured: Measured, levels: dict[str, Layout], multiple: int) -> None:
    """Raise a ValueError if a declared size multiple does not suffice; the message names a size that fails."""
    for size in sizes_of(multiple, measured.square):
        if not fits(measured, levels, size):
            raise ValueError(
                f"size_multiple: {multiple} is too small: an image of {size[1]}x{size[0]} pixels does not come out as "
                "large, or its features are not as large as their strides say; leave it out to have it found"
            )


def sizes_of(multiple: int, square: bool) -> list[Size]:
    """Sizes of images that tell whether a size multiple suffices."""
    large = max(-(-61 // multiple), 4)
    oblongs = [(1, 1), (1, 3), (large, large + 1)]
    counts = [(n, n) for n in (1, 2, 5)] if square else oblongs
    return [(a * multiple, b * multiple) for a, b in counts]
