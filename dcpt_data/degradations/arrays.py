"""Array operations for NumPy and PyTorch alike, so that a degradation's formula is written once.

An image is H x W x 3 here, whether it is an array or a tensor on some device. What is drawn for it (kernels, masks,
depth maps) is small or one channel, and is made by NumPy and OpenCV for both; what is done to every pixel and channel
is done where the image is.
"""

from typing import Any, cast

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from dcpt_data.degradations.registry import Image, Rng


class TensorRng(np.random.Generator):
    """Randomness of a degradation of tensors: numbers and maps from NumPy, what every pixel needs from PyTorch.

    Args:
        seed: Seed of the numbers and maps.
        pixels: The generator of the pixels' randomness, on the images' device.
    """

    def __init__(self, seed: int, pixels: torch.Generator) -> None:
        super().__init__(np.random.PCG64(seed))
        self.pixels = pixels


def like(drawn: np.ndarray, image: Image) -> Image:
    """Brings a drawn float32 array to where the image is."""
    return cast(Image, torch.from_numpy(drawn).to(image.device)) if isinstance(image, torch.Tensor) else drawn


def normal(rng: Rng, image: Image) -> Image:
    """Draws standard normal values of the image's shape, in the order H, W, C.

    The legacy generator draws float64, as the published protocols do, the newer one float32 in half of the time.
    """
    if isinstance(rng, TensorRng):
        return cast(Any, torch).randn(image.shape, generator=rng.pixels, device=image.device)
    if isinstance(rng, np.random.Generator):
        return rng.standard_normal(image.shape, np.float32)
    return cast(Image, rng.normal(0, 1, image.shape))


def poisson(rng: Rng, mean: np.ndarray) -> Image:
    """Draws a count for each value, which is its mean, as float32."""
    if isinstance(rng, TensorRng):
        return cast(Any, torch).poisson(mean, generator=rng.pixels)
    return rng.poisson(mean).astype(np.float32)


def float32(image: Image) -> Image:
    """Rounds float64 to float32; float32 stays as it is."""
    return cast(Any, image).float() if isinstance(image, torch.Tensor) else image.astype(np.float32, copy=False)


def power(image: Image, exponent: float) -> Image:
    """Raises values of 0 and more to a power; OpenCV does so several times faster than NumPy."""
    return image**exponent if isinstance(image, torch.Tensor) else cast(Image, cv2.pow(image, exponent))


def convolve(image: Image, kernel: Image) -> Image:
    """Weighs each pixel's neighbours with a kernel of odd sides; borders are reflected (without the edge)."""
    if not isinstance(image, torch.Tensor):
        return cast(Image, cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101))
    rows, columns = (
        torch.from_numpy(_reflected(size, side // 2)).to(image.device)
        for size, side in zip(image.shape[:2], kernel.shape, strict=True)
    )
    planes = image[rows][:, columns].permute(2, 0, 1)[:, None]
    return cast(Image, F.conv2d(planes, cast(Any, like(kernel, image))[None, None])[:, 0].permute(1, 2, 0))


def convolve_twice(image: Image, column: Image) -> Image:
    """Convolves with a kernel, k x 1, along columns and then along rows."""
    if not isinstance(image, torch.Tensor):
        return cast(Image, cv2.sepFilter2D(image, -1, column, column, borderType=cv2.BORDER_REFLECT_101))
    return convolve(convolve(image, column), column.T)


def _reflected(size: int, margin: int) -> np.ndarray:
    """Returns the indices of a side with a margin before and after it, reflected as often as the margin needs."""
    period = max(1, 2 * (size - 1))
    place = np.arange(-margin, size + margin) % period
    return np.minimum(place, period - place) if size > 1 else np.zeros_like(place)


def resize(image: Image, height: int, width: int) -> Image:
    """Resizes bicubically (a = -0.5); a smaller size averages over as many more pixels, so that nothing aliases."""
    # PyTorch warns of arrays that cannot be written to, though nothing is written here.
    tensor = image if isinstance(image, torch.Tensor) else torch.from_numpy(np.require(image, requirements=["C", "W"]))
    planes = tensor.permute(2, 0, 1)[None]
    resized = F.interpolate(planes, (height, width), mode="bicubic", antialias=True)[0].permute(1, 2, 0)
    return cast(Image, resized if isinstance(image, torch.Tensor) else np.ascontiguousarray(resized.numpy()))


def remap(image: Image, rows: Image, columns: Image) -> Image:
    """Reads an image at the given places, both H x W in pixels, bilinearly; it is extended by reflection.

    Args:
        image: H x W x 3.
        rows: Drawn on the CPU, also for a tensor.
        columns: Likewise.
    """
    if not isinstance(image, torch.Tensor):
        return cast(Image, cv2.remap(image, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101))
    height, width = image.shape[:2]
    # grid_sample wants -1 for the first pixel's centre and 1 for the last one's; a side of one pixel has 0 alone.
    grid = np.stack([2 * columns / max(1, width - 1) - 1, 2 * rows / max(1, height - 1) - 1], axis=-1)
    places = cast(Any, like(grid.astype(np.float32), image))[None]
    planes = image.permute(2, 0, 1)[None]
    read = F.grid_sample(planes, places, mode="bilinear", padding_mode="reflection", align_corners=True)
    return cast(Image, read[0].permute(1, 2, 0))
