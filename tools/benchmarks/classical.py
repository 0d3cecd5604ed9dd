"""What restores photographs without training: one function a method, each with the values that may be tried.

Functions take an image H x W x 3 in [0, 1], float32, RGB, and the value that is tried, and return such an image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from skimage.restoration import wiener

Image = np.ndarray


@dataclass(frozen=True)
class Method:
    """A classical method for one degradation.

    Attributes:
        degradation: What it is for.
        name: Of the method, with its source.
        restore: (degraded image, value, clean image) -> restored image; the clean image is for what it may know.
        values: What may be tried for its parameter; the best on other photographs is taken.
        knows: What it is told and a blind network is not; "" if nothing.
        needs: A package beyond this project's own.
    """

    degradation: str
    name: str
    restore: Callable[[Image, Any, Image], Image]
    values: Sequence[Any] = (None,)
    knows: str = ""
    needs: str = ""


def _bytes(image: Image) -> Image:
    return np.ascontiguousarray((image.clip(0, 1) * 255).round().astype(np.uint8))


def _floats(image: Image) -> Image:
    return image.astype(np.float32) / 255


def non_local_means(image: Image, strength: float, _: Image) -> Image:
    return _floats(cv2.fastNlMeansDenoisingColored(_bytes(image), None, strength, strength, 7, 21))


def bm3d(image: Image, sigma: float, _: Image) -> Image:
    from bm3d import bm3d_rgb  # an extra

    return np.asarray(bm3d_rgb(image, sigma / 255), np.float32)


def bilateral(image: Image, strength: float, _: Image) -> Image:
    return cv2.bilateralFilter(image.clip(0, 1), 7, strength, 2.0)


def median(image: Image, side: int, _: Image) -> Image:
    return _floats(cv2.medianBlur(_bytes(image), side)) if side > 1 else image


def unsharp_mask(image: Image, setting: tuple[float, float], _: Image) -> Image:
    sigma, amount = setting
    return image + amount * (image - cv2.GaussianBlur(image, (0, 0), sigma))


def wiener_disk(image: Image, setting: tuple[float, float], _: Image) -> Image:
    radius, balance = setting
    reach = int(np.ceil(radius))
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    kernel = (rows**2 + columns**2 <= radius**2).astype(np.float32)
    border = 4 * reach
    padded = cv2.copyMakeBorder(image, border, border, border, border, cv2.BORDER_REFLECT_101)
    channels = [wiener(padded[:, :, c], kernel / kernel.sum(), balance, clip=False) for c in range(3)]
    return np.stack(channels, 2)[border:-border, border:-border].astype(np.float32)


def dark_channel(image: Image, share: float, _: Image) -> Image:
    """He et al., "Single Image Haze Removal Using Dark Channel Prior", TPAMI 2011; refined by a guided filter."""
    window = np.ones((15, 15), np.uint8)
    dark = cv2.erode(image.min(2), window)
    brightest = np.argsort(dark.ravel())[-max(1, dark.size // 1000) :]
    airlight = image.reshape(-1, 3)[brightest].max(0)
    transmission = 1 - share * cv2.erode((image / airlight).min(2), window)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    transmission = _guided_filter(grey, transmission, 40, 1e-3).clip(0.1, 1)[:, :, None]
    return (image - airlight) / transmission + airlight


def _guided_filter(guide: Image, image: Image, radius: int, epsilon: float) -> Image:
    """He et al., "Guided Image Filtering", TPAMI 2013."""

    def mean(x: Image) -> Image:
        return cv2.blur(x, (2 * radius + 1, 2 * radius + 1))

    slope = (mean(guide * image) - mean(guide) * mean(image)) / (mean(guide**2) - mean(guide) ** 2 + epsilon)
    return mean(slope) * guide + mean(mean(image) - slope * mean(guide))


def gamma(image: Image, power: float, _: Image) -> Image:
    return image.clip(0, 1) ** power


def equalisation(image: Image, limit: float, _: Image) -> Image:
    """CLAHE (Zuiderveld, Graphics Gems IV, 1994) of the lightness."""
    lab = cv2.cvtColor(_bytes(image), cv2.COLOR_RGB2LAB)
    lab[:, :, 0] = cv2.createCLAHE(limit, (8, 8)).apply(lab[:, :, 0])
    return _floats(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB))


def inpainting(image: Image, radius: float, clean: Image) -> Image:
    """Telea, "An Image Inpainting Technique Based on the Fast Marching Method", JGT 2004."""
    hidden = (np.abs(image - clean).max(2) > 1e-6).astype(np.uint8)
    return _floats(cv2.inpaint(_bytes(image), hidden, radius, cv2.INPAINT_TELEA))


def _mosaic(clean: Image) -> Image:
    pixels = _floats(_bytes(clean))
    mosaic = pixels[:, :, 1].copy()
    mosaic[::2, ::2] = pixels[::2, ::2, 0]
    mosaic[1::2, 1::2] = pixels[1::2, 1::2, 2]
    return mosaic


def malvar(_: Image, __: Any, clean: Image) -> Image:
    from colour_demosaicing import demosaicing_CFA_Bayer_Malvar2004  # an extra

    return np.asarray(demosaicing_CFA_Bayer_Malvar2004(_mosaic(clean), "RGGB"), np.float32)


def menon(_: Image, __: Any, clean: Image) -> Image:
    from colour_demosaicing import demosaicing_CFA_Bayer_Menon2007  # an extra

    return np.asarray(demosaicing_CFA_Bayer_Menon2007(_mosaic(clean), "RGGB"), np.float32)


MASK, MOSAIC = "where the lines are", "the mosaic itself"
SHARPENING = [(sigma, amount) for sigma in (1.0, 2.0, 4.0) for amount in (0.3, 0.7, 1.2)]
METHODS = (
    Method("noise", "non-local means (OpenCV)", non_local_means, (5, 8, 10, 14, 20, 28)),
    Method("noise", "BM3D", bm3d, (15, 25, 35), needs="bm3d"),
    Method("motion_blur", "unsharp mask", unsharp_mask, SHARPENING),
    Method("motion_blur", "Wiener filter, a disk", wiener_disk, [(r, b) for r in (2, 4) for b in (0.03, 0.3)]),
    Method("defocus_blur", "unsharp mask", unsharp_mask, SHARPENING),
    Method("defocus_blur", "Wiener filter, a disk", wiener_disk, [(r, b) for r in (3, 5) for b in (0.03, 0.3)]),
    Method("jpeg", "bilateral filter", bilateral, (0.03, 0.06, 0.1)),
    Method("haze", "dark channel prior", dark_channel, (0.5, 0.7, 0.85, 0.95)),
    Method("snow", "median filter", median, (3, 5)),
    Method("rain", "median filter", median, (3, 5)),
    Method("demosaic", "Malvar et al. 2004", malvar, knows=MOSAIC, needs="colour-demosaicing"),
    Method("demosaic", "Menon et al. 2007", menon, knows=MOSAIC, needs="colour-demosaicing"),
    Method("low_light", "gamma", gamma, (0.3, 0.4, 0.5, 0.6)),
    Method("low_light", "CLAHE", equalisation, (2.0, 8.0, 32.0)),
    Method("inpainting", "Telea (OpenCV)", inpainting, (3, 8), knows=MASK),
)
