"""Restoring photographs of any size with a trained network, within the memory that there is."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from dcpt_arch.backbones.guided_nafnet_arch import GuidedNAFNet
from dcpt_arch.layers.padding import pad_to_multiple
from dcpt_models.errors import OptionError
from dcpt_models.inference.tile_speed import SIDES, TileSpeeds
from dcpt_models.inference.tiling import Tiling, join, plan
from dcpt_models.runtime.devices import has_bfloat16
from dcpt_models.runtime.memory import bytes_per_pixel, free_memory, is_out_of_memory, used_memory

Precision = Literal["auto", "fp32", "bf16"]
Progress = Callable[[float], None]

OVERLAP = 64  # pixels
# Pixels that a network gets at once at most. Larger tiles are hardly faster, and the further the areas over which some
# networks average are from the size of the training patches, the worse they restore.
LARGEST = 3 * 2**19
# Of the memory that is free, the share that is planned with; the system and other programs are left the rest.
SHARES = {"cpu": 0.6, "cuda": 0.8}
# What is taken besides the tensors: convolutions were measured to need 1.12 times as much at most (Restormer, on a
# CPU); freed memory that a processor's heap keeps (heap.py) lies between the tensors: 2.0 times in all.
MARGINS = {"cpu": 2.2, "cuda": 1.25}
# Images in memory besides the one that is worked on: what is read and written meanwhile, each decoded and copied.
IMAGES = 8
# The greatest mean squared difference of bfloat16 that is taken: it costs an image of 35 dB no more than 0.02 dB.
LARGEST_ERROR = 10**-3.5 * (10 ** (0.02 / 10) - 1)
SAMPLE = 128  # side in pixels of what bfloat16 is tried on


class RestoreError(RuntimeError):
    """An image that cannot be restored; the message says why and what to do."""


class Restorer:
    """A network and how it is run.

    Args:
        network: A network for RGB images in [0, 1], N x 3 x H x W, with its `size_multiple`: a backbone, or what
            `open_network` opened, whose `scale` may make the result larger. One for gray images, N x 1 x H x W, runs
            on each channel.
        device: Where it runs; the network is moved there.
        precision: "bf16" computes convolutions and matrix products in bfloat16. "auto" does so where the device has
            instructions for it, and the first image differs by no more than `LARGEST_ERROR`.
        tta: Whether to average over the eight flips and rotations of an image.
        tile: Largest side of the tiles in pixels; 0 for whole images where memory allows. None for the fastest that
            memory allows, which on a processor is measured on the first images.
        overlap: Pixels that neighbouring tiles share.
        max_memory: Bytes that the process may take on the device; None for a share of what is free.
        told: What a `GuidedNAFNet` is to remove, 1 x classes in [0, 1]; None for what it sees itself.

    Attributes:
        dtype: What is computed with; None until the first image has decided.
        batched: Whether a network gets several tiles at once, which only makes a GPU faster.
        name: What the network is called in messages and records.
        scale: How many times as long the sides of a result are.
        multiple: The network's size multiple.
        channels: Of the images that the network takes, 1 or 3.

    Raises:
        RestoreError: If the network is for images of other channels.
        OptionError: If tiles are smaller than twice the overlap.
    """

    def __init__(
        self,
        network: nn.Module,
        device: torch.device,
        precision: Precision = "auto",
        tta: bool = False,
        tile: int | None = None,
        overlap: int = OVERLAP,
        max_memory: int | None = None,
        told: torch.Tensor | None = None,
    ) -> None:
        self.name = str(getattr(network, "architecture", type(network).__name__))
        self.scale, self.multiple = int(getattr(network, "scale", 1)), int(getattr(network, "size_multiple", 1))
        self.channels = _channels_in(network)
        if self.channels not in (1, 3):
            raise RestoreError(f"this {self.name} takes images of {self.channels} channels, not RGB or gray")
        if tile and tile < 2 * overlap:
            raise OptionError(
                f"tiles of {tile} pixels cannot share {overlap} with each of their neighbours; a tile must be at least "
                f"twice the overlap: --tile {2 * overlap}, or --overlap {tile // 2}"
            )
        if tile is None and not getattr(network, "tiles", True):
            tile = 0
        # Convolutions and the layer normalisation between them are fastest with the channels last in memory.
        self.network: Any = network.eval().to(device).to(memory_format=torch.channels_last)
        self.device, self.tta, self.tile, self.overlap, self.max_memory = device, tta, tile, overlap, max_memory
        self.dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}.get(precision)
        if self.dtype is None and not (has_bfloat16(device) and getattr(network, "allows_bfloat16", True)):
            self.dtype = torch.float32
        self.per_pixel = bytes_per_pixel(network, self.channels)
        self.batched = device.type == "cuda"
        self.told = None if told is None else told.to(device)
        self._told = self.told  # of the image that is restored, whoever told it
        self._speeds = TileSpeeds() if tile is None and not self.batched else None
        # Of pixels at once; halved when memory runs out.
        self._limit = {None: LARGEST, 0: 2**62}.get(tile) or max(LARGEST, (tile or 0) ** 2)

    def restore(self, pixels: np.ndarray, progress: Progress = lambda share: None) -> tuple[np.ndarray, Tiling]:
        """Restore an image.

        Args:
            pixels: H x W x 3, RGB, or H x W x 1, gray; uint8 or uint16. Gray is restored as RGB, and averaged.
            progress: Called with the share, 0 to 1, that is done; it falls back if memory runs out.

        Returns:
            The restored image, of the same type and channels, with `scale` times the height and width; and how the
            image was cut.

        Raises:
            RestoreError: If memory does not suffice for the smallest tiles, or the network gives no image of that size.
        """
        if self.dtype is None:
            self.dtype = self._near_enough(pixels)
        tiling = self._fastest(pixels, self._plan(pixels))
        while True:
            try:
                return self._restore(pixels, tiling, progress), tiling
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            tiling = self._smaller(pixels, tiling)

    def _fastest(self, pixels: np.ndarray, largest: Tiling) -> Tiling:
        """The largest tiles, or smaller ones that have turned out to be faster."""
        height, width, _ = pixels.shape
        speeds = self._speeds
        if speeds is None:
            return largest
        cut = (plan(height, width, side**2, side, self.overlap, self.multiple) for side in SIDES)
        smaller = [replace(tiling, batch=1) for tiling in cut if 2 * tiling.pixels <= largest.pixels]

        def attempt(tiling: Tiling) -> None:
            tile = pixels[: tiling.down.tile, : tiling.across.tile]
            with torch.inference_mode():
                self._timed(self._tile(tile)[None], tiling)

        return speeds.fastest(largest, smaller, attempt)

    def _tile(self, part: np.ndarray) -> torch.Tensor:
        """A part of an image as a network wants it."""
        image = torch.from_numpy(part.astype(np.float32).transpose(2, 0, 1) / np.iinfo(part.dtype).max)
        return pad_to_multiple(image[None], self.multiple)[0]

    def _seen(self, pixels: np.ndarray, tiling: Tiling) -> torch.Tensor | None:
        """What is to be removed from an image: as told, or what a guided network sees in an image that is cut.

        All tiles are to be restored alike. The guide's answer is made of means and deviations over the image, here over
        the features of all tiles.

        Returns:
            1 x classes, or None where each tile may be judged by itself: it is the whole image, or there is no guide.
        """
        network = self.network
        if self.told is not None:
            return self.told
        if tiling.count == 1 or self.channels == 1 or not isinstance(network, GuidedNAFNet):
            return None
        stride, features = network.feature_info[-1].stride, []
        with self._computing(self.dtype):
            for top, rows in zip(tiling.down.starts, tiling.down.own(stride), strict=True):
                for left, columns in zip(tiling.across.starts, tiling.across.own(stride), strict=True):
                    tile = self._tile(pixels[top : top + tiling.down.tile, left : left + tiling.across.tile])
                    seen = network.guide.features(tile.expand(3, -1, -1)[None].to(self.device))
                    features.append(seen[..., rows, columns].flatten(2))
            return network.guide.answer(torch.cat(features, 2)).sigmoid()

    def _computing(self, dtype: torch.dtype | None) -> AbstractContextManager[object]:
        """Within it, convolutions and matrix products are computed in bfloat16, if it is that."""
        return torch.autocast(self.device.type, dtype) if dtype == torch.bfloat16 else nullcontext()

    def _timed(self, tiles: torch.Tensor, tiling: Tiling) -> torch.Tensor:
        """Restore tiles; what they took is noted where tiles are chosen by it."""
        begin = time.perf_counter()
        image = self._run(tiles.to(self.device))
        if self._speeds is not None:
            self._speeds.note(tiling, len(tiles), time.perf_counter() - begin)
        return image

    def _plan(self, pixels: np.ndarray) -> Tiling:
        height, width, _ = pixels.shape
        area = self.scale**2
        others = IMAGES * pixels.nbytes * (1 + area) // 2 if self.device.type == "cpu" else 0
        if self.max_memory is None:
            available = int(SHARES[self.device.type] * free_memory(self.device)) - others
        else:
            available = self.max_memory - used_memory(self.device) - others
        # The tile, and its share in the row that is put together.
        each = MARGINS[self.device.type] * self.per_pixel + 32 * area
        allowed = min(self._limit, int(available / each))
        side = self.tile if self.tile and self.tile**2 <= allowed else None
        if getattr(self.network, "square", False):  # which a longer tile is padded to
            side = side or math.isqrt(max(0, allowed))
        tiling = plan(height, width, allowed, side, self.overlap, self.multiple)
        tiling = tiling if self.batched else replace(tiling, batch=1)
        if self.max_memory is not None and tiling.pixels * each > available:
            needed = (self.max_memory - available + tiling.pixels * each) / 1e9
            raise RestoreError(
                f"{width} x {height} pixels need {needed:.1f} GB, even in tiles of {tiling.across.tile} x "
                f"{tiling.down.tile}; give a greater --max-memory"
            )
        return tiling

    def _smaller(self, pixels: np.ndarray, tiling: Tiling) -> Tiling:
        """What to try when memory has run out: half as much at once, from now on.

        Raises:
            RestoreError: If it cannot be less.
        """
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self._limit = tiling.pixels // 2
        smaller = self._plan(pixels)
        if smaller.pixels >= tiling.pixels:
            raise RestoreError(
                f"out of memory on {self.device}, even with tiles of {tiling.across.tile} x {tiling.down.tile} pixels; "
                "end other programs, or give another --device"
            )
        logging.getLogger("basicsr").warning(
            f"Out of memory with {tiling.pixels:,} pixels at once; going on with {smaller.pixels:,}"
        )
        return smaller

    @torch.inference_mode()
    def _restore(self, pixels: np.ndarray, tiling: Tiling, progress: Progress) -> np.ndarray:
        height, width, channels = pixels.shape
        result = np.empty((self.scale * height, self.scale * width, channels), pixels.dtype)
        greatest = np.iinfo(pixels.dtype).max
        done = 0
        self._told = self._seen(pixels, tiling)

        def tile(top: int, left: int) -> torch.Tensor:
            top, left = top // self.scale, left // self.scale
            return self._tile(pixels[top : top + tiling.down.tile, left : left + tiling.across.tile])

        def restored(tiles: torch.Tensor) -> torch.Tensor:
            nonlocal done
            image = self._timed(tiles, tiling)
            done += len(tiles)
            progress(done / tiling.count)
            return image

        for begin, rows in join(tiling.enlarged(self.scale), tile, restored):
            rows = rows[:, : len(result) - begin, : result.shape[1]].clamp(0, 1).mul(greatest).round()
            kept = rows.to(torch.uint8 if greatest == 255 else torch.int32).permute(1, 2, 0).cpu().numpy()
            result[begin : begin + len(kept)] = kept
        return result

    def _run(self, tiles: torch.Tensor) -> torch.Tensor:
        """Restore N x 1 or 3 x H x W in [0, 1]."""
        dtype = self.dtype or torch.float32

        def run(x: torch.Tensor) -> torch.Tensor:
            return (
                average_over_symmetries(lambda y: self._forward(y, dtype), x) if self.tta else self._forward(x, dtype)
            )

        if self.channels == 1:
            return torch.cat([run(channel) for channel in tiles.split(1, 1)], 1)
        image = run(tiles.expand(-1, 3, -1, -1))
        return image if tiles.shape[1] == 3 else image.mean(1, keepdim=True)

    def _forward(self, x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        with self._computing(dtype):
            x = x.contiguous(memory_format=torch.channels_last)
            told = self._told
            image = (self.network(x) if told is None else self.network.steered(x, told.expand(len(x), -1))).float()
        expected = (*x.shape[:2], self.scale * x.shape[2], self.scale * x.shape[3])
        if image.shape != expected:
            raise RestoreError(
                f"{self.name} makes {tuple(image.shape)} of {tuple(x.shape)}; it is no restoration network"
            )
        if not image.isfinite().all():
            way_out = "try --precision fp32" if dtype == torch.bfloat16 else "these weights cannot restore this image"
            raise RestoreError(f"{self.name} gives NaN or infinite values; {way_out}")
        return image

    @torch.inference_mode()
    def _near_enough(self, pixels: np.ndarray) -> torch.dtype:
        """bfloat16 if it makes no more of a difference on the middle of an image than is allowed, else float32."""
        top, left = ((side - min(side, SAMPLE)) // 2 for side in pixels.shape[:2])
        part = pixels[top : top + SAMPLE, left : left + SAMPLE].astype(np.float32) / np.iinfo(pixels.dtype).max
        sample = torch.from_numpy(part.transpose(2, 0, 1))[None].to(self.device)
        sample = sample[:, :1] if self.channels == 1 else sample.expand(-1, 3, -1, -1)
        reduced, full = (self._forward(sample, dtype).clamp(0, 1) for dtype in (torch.bfloat16, torch.float32))
        error = (reduced - full).square().mean().item()
        return torch.bfloat16 if error <= LARGEST_ERROR else torch.float32


def average_over_symmetries(function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """The mean over the eight flips and rotations of N x C x H x W, each undone behind the function."""
    total: torch.Tensor | float = 0.0
    for quarter in range(4):
        for flipped in (False, True):
            turned = torch.rot90(x.flip(-1) if flipped else x, quarter, (-2, -1))
            back = torch.rot90(function(turned), -quarter, (-2, -1))
            total = total + (back.flip(-1) if flipped else back)
    assert isinstance(total, torch.Tensor)
    return total / 8


def _channels_in(network: nn.Module) -> int:
    """Of the images that a network takes: as it says, or those of its first convolution."""
    first = next((module for module in network.modules() if isinstance(module, nn.Conv2d)), None)
    folded = int(getattr(network, "fold", 1)) ** 2  # NAFNet's, of pixels into channels
    return int(getattr(network, "in_channels", 3 if first is None else first.in_channels // folded))
