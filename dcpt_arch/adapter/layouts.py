"""How the output of a module lies in memory, told from its shapes for two sizes of image; and maps made of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch

from dcpt_arch.adapter.dry_runs import Shape, Size

Order = Literal["NCHW", "NHWC", "NLC", "NCL"]


@dataclass(frozen=True)
class Layout:
    """A map of features, or the tokens of one.

    Attributes:
        order: Of the dimensions: batch N, channels C, height H, width W, or L = H x W tokens, row by row.
        channels: Number of channels.
        stride: Image pixels per feature pixel, along each side.
    """

    order: Order
    channels: int
    stride: int

    def shape(self, size: Size) -> Shape:
        """Of the output for one image of this size, both sides multiples of the stride."""
        height, width = size[0] // self.stride, size[1] // self.stride
        return {
            "NCHW": (1, self.channels, height, width),
            "NHWC": (1, height, width, self.channels),
            "NLC": (1, height * width, self.channels),
            "NCL": (1, self.channels, height * width),
        }[self.order]

    def to_map(self, output: torch.Tensor, size: Size) -> torch.Tensor:
        """The output for images of this size as N x C x H x W."""
        height, width = size[0] // self.stride, size[1] // self.stride
        if self.order == "NHWC":
            return output.permute(0, 3, 1, 2)
        if self.order == "NLC":
            return output.transpose(1, 2).reshape(-1, self.channels, height, width)
        return output.reshape(-1, self.channels, height, width) if self.order == "NCL" else output


def layout_of(shapes: tuple[Shape, Shape], sizes: tuple[Size, Size]) -> Layout | None:
    """The layout that gives these shapes for single images of these sizes; None if there is none.

    Args:
        shapes: Of a module's output, for one size and for the other.
        sizes: Height and width of the images, neither of which is the same in both.
    """
    first, second = shapes
    if len(first) != len(second) or len(first) not in (3, 4) or first[0] != 1:
        return None
    stride = _stride(first, sizes[0])
    orders: tuple[Order, ...] = ("NCHW", "NHWC") if len(first) == 4 else ("NLC", "NCL")
    for order, each in zip(orders, stride, strict=True):
        if each:
            layout = Layout(order, first[order.index("C")], each)
            if layout.shape(sizes[0]) == first and layout.shape(sizes[1]) == second:
                return layout
    return None


def _stride(shape: Shape, size: Size) -> tuple[int, int]:
    """The stride if channels come first, or tokens do; and if channels come last; 0 for none."""
    if len(shape) == 4:
        return size[0] // shape[2] if shape[2] else 0, size[0] // shape[1] if shape[1] else 0
    area = size[0] * size[1]
    return tuple(math.isqrt(area // n) if n else 0 for n in shape[1:])  # type: ignore[return-value]
