"""Image metrics of an option file's `val: metrics:` section.

`calculate_psnr` and `calculate_ssim` mean what they mean in BasicSR, and give its values, but are computed here: on the
device the images are on, several at a time, and a few times faster. Other names are looked up in its registry; `lpips`
and `pyiqa:NAME` are computed by pyiqa, an optional package.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from basicsr.utils.registry import METRIC_REGISTRY

from dcpt_common import Natural, nearest
from dcpt_models.errors import MetricError

# A perfect image has an infinite PSNR, with which no average can be formed; what is better than this counts as this.
PERFECT_PSNR = 100.0

# SSIM's window, and its constants for values on the scale of 8 bit (Wang et al.: K1 = 0.01, K2 = 0.03).
WINDOW, SIGMA = 11, 1.5
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
# Rows that a CPU works on at a time, so that all of a band's intermediate values stay in its cache.
BAND = 64

# Weights of R, G and B in Y of ITU-R BT.601, for values in [0, 1]; Y begins at 16 of 255.
LUMA, LUMA_OFFSET = (65.481, 128.553, 24.966), 16.0

PYIQA = "pyiqa:"

Metric = Callable[..., Any]
Section = Mapping[str, Any]


# --- the values that are compared -------------------------------------------------------------------------------------


def on_scale_of_8_bit(images: torch.Tensor, rounded: bool) -> torch.Tensor:
    """The values that metrics compare.

    Args:
        images: N x C x H x W; values outside of [0, 1] are clamped.
        rounded: Whether they are rounded to whole numbers, in float32, as when BasicSR makes a picture of them.

    Returns:
        N x C x H x W, [0, 255]: float32 if rounded, which holds whole numbers exactly, else float64.
    """
    if rounded:
        return images.float().clamp(0, 1).mul_(255).round_()
    return images.double().clamp(0, 1).mul_(255)


def to_pixels(image: torch.Tensor, rounded: bool) -> np.ndarray:
    """One image, 1 x C x H x W in [0, 1] -> H x W x C, BGR, [0, 255]: uint8 if `rounded`, else float64."""
    pixels = on_scale_of_8_bit(image, rounded)[0].permute(1, 2, 0).flip(-1).cpu().numpy()
    return pixels.astype(np.uint8) if rounded else pixels


def _prepare(images: torch.Tensor, target: torch.Tensor, crop_border: int, test_y_channel: bool) -> list[torch.Tensor]:
    if images.shape != target.shape:
        raise ValueError(f"images of {_size(images)} cannot be compared with a target of {_size(target)}")
    pair = [x if x.is_floating_point() else x.float() for x in (images, target)]
    if crop_border:
        pair = [x[..., crop_border:-crop_border, crop_border:-crop_border] for x in pair]
    if min(pair[0].shape[-2:]) < 1:
        raise ValueError(f"crop_border {crop_border} leaves nothing of {_size(images)}")
    return [luma(x) for x in pair] if test_y_channel and images.shape[1] == 3 else pair


def _size(images: torch.Tensor) -> str:
    return f"{images.shape[-1]}x{images.shape[-2]}"


def luma(images: torch.Tensor) -> torch.Tensor:
    """Y of ITU-R BT.601: N x 3 x H x W in [0, 255], RGB -> N x 1 x H x W in [16, 235], float64.

    The steps that BasicSR takes in float32 are taken in float32, since they show in the seventh digit.
    """
    images = (images.float() / 255).double()
    weights = torch.tensor(LUMA, dtype=torch.float64, device=images.device).view(1, 3, 1, 1)
    y = ((images * weights).sum(1, keepdim=True) + LUMA_OFFSET) / 255
    return (y.float() * 255).double()


# --- metrics ----------------------------------------------------------------------------------------------------------


def psnr(
    images: torch.Tensor, target: torch.Tensor, *, crop_border: Natural = 0, test_y_channel: bool = False
) -> torch.Tensor:
    """Peak signal-to-noise ratio in dB, 10 log10(255^2 / MSE), at most `PERFECT_PSNR`.

    Args:
        images: N x C x H x W in [0, 255], RGB.
        target: The ground truth, likewise.
        crop_border: Pixels at each edge that are left out.
        test_y_channel: Whether Y is compared instead of RGB.

    Returns:
        N values.

    Raises:
        ValueError: If the sizes differ, or nothing is left of them.
    """
    a, b = _prepare(images, target, crop_border, test_y_channel)
    difference = a - b  # exact for whole numbers, and so is its square
    mse = difference.square_().flatten(1).mean(1, dtype=torch.float64)
    return (10 * torch.log10(255**2 / mse)).clamp(max=PERFECT_PSNR)


def ssim(
    images: torch.Tensor, target: torch.Tensor, *, crop_border: Natural = 0, test_y_channel: bool = False
) -> torch.Tensor:
    """Structural similarity, the mean over pixels and channels.

    An 11 x 11 Gaussian window of sigma 1.5, applied where it lies within the image.

    Source: Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", TIP 2004.

    Args:
        images: N x C x H x W in [0, 255], RGB.
        target: The ground truth, likewise.
        crop_border: Pixels at each edge that are left out.
        test_y_channel: Whether Y is compared instead of RGB.

    Returns:
        N values, 1 for equal images.

    Raises:
        ValueError: If the sizes differ, or what is left of them is smaller than the window.
    """
    a, b = _prepare(images, target, crop_border, test_y_channel)
    if min(a.shape[-2:]) < WINDOW:
        raise ValueError(f"SSIM needs {WINDOW}x{WINDOW} pixels or more, not {_size(a)}")
    n, c = a.shape[:2]
    planes = _similarities_on_cpu if a.device.type == "cpu" else _similarities
    return planes(a.flatten(0, 1), b.flatten(0, 1)).view(n, c).mean(1)


def _similarity(a: Any, b: Any, blur: Callable[[Any], Any]) -> Any:
    """SSIM at every place of two planes, of arrays or of tensors.

    Written in their sum and difference, which takes four windowed means instead of five: with s = a + b and d = a - b,
    2 E[a] E[b] = (E[s]^2 - E[d]^2) / 2 and 2 cov(a, b) = (var(s) - var(d)) / 2; for the sums of squares and of
    variances in the denominator a plus takes the place of the minus.
    """
    s, d = a + b, a - b
    mean_s, mean_d = blur(s), blur(d)
    s *= s
    d *= d
    var_s, var_d = blur(s), blur(d)
    mean_s *= mean_s
    mean_d *= mean_d
    var_s -= mean_s
    var_d -= mean_d
    above = (mean_s - mean_d + 2 * C1) * (var_s - var_d + 2 * C2)
    return above / ((mean_s + mean_d + 2 * C1) * (var_s + var_d + 2 * C2))


def _window() -> np.ndarray:
    return cv2.getGaussianKernel(WINDOW, SIGMA)


def _similarities_on_cpu(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Mean SSIM of each pair of planes, P x H x W on the CPU, by OpenCV's separable filter."""
    window, edge = _window(), WINDOW // 2
    height, width = a.shape[-2:]

    def blur(plane: np.ndarray) -> np.ndarray:
        return cv2.sepFilter2D(plane, -1, window, window)[edge:-edge, edge:-edge]

    means = []
    for one, other in zip(a.numpy(), b.numpy(), strict=True):
        total = 0.0
        for top in range(0, height - WINDOW + 1, BAND):
            rows = slice(top, top + BAND + WINDOW - 1)
            first, second = (np.ascontiguousarray(plane[rows], np.float64) for plane in (one, other))
            total += float(_similarity(first, second, blur).sum())
        means.append(total / ((height - WINDOW + 1) * (width - WINDOW + 1)))
    return torch.tensor(means, dtype=torch.float64)


def _similarities(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Mean SSIM of each pair of planes, P x H x W on any device, by convolutions over all of them at once."""
    window = torch.from_numpy(_window()).to(a.device).view(1, 1, WINDOW, 1)

    def blur(planes: torch.Tensor) -> torch.Tensor:
        return F.conv2d(F.conv2d(planes, window), window.transpose(2, 3))

    return _similarity(a.double()[:, None], b.double()[:, None], blur).flatten(1).mean(1)


# --- metrics by name --------------------------------------------------------------------------------------------------

OURS: dict[str, Metric] = {"calculate_psnr": psnr, "calculate_ssim": ssim}


def find_metric(name: str) -> Metric:
    """What a `type` of `val: metrics:` stands for.

    Args:
        name: `calculate_psnr` or `calculate_ssim`; `lpips` or `pyiqa:NAME`; or a name in the engine's registry.

    Returns:
        A function of images and target, N x C x H x W in [0, 255], and the metric's arguments.

    Raises:
        ValueError: If there is none of this name, or pyiqa is needed and not installed.
    """
    if name in OURS:
        return OURS[name]
    if name == "lpips" or name.startswith(PYIQA):
        return _by_pyiqa(name.removeprefix(PYIQA))
    if name in METRIC_REGISTRY:
        return _by_engine(METRIC_REGISTRY.get(name))
    known = [*OURS, *(key for key, _ in METRIC_REGISTRY), "lpips", f"{PYIQA}NAME"]
    raise ValueError(f"no '{name}' among the registered{nearest(name, known)}")


def _by_engine(metric: Metric) -> Metric:
    """A metric of the engine's registry, which takes one image at a time, as an array."""

    @functools.wraps(metric)
    def compute(images: torch.Tensor, target: torch.Tensor, **arguments: Any) -> torch.Tensor:
        pairs = zip(images, target, strict=True)
        arrays = ([x.permute(1, 2, 0).flip(-1).cpu().numpy() for x in pair] for pair in pairs)
        return torch.tensor([float(metric(img=a, img2=b, **arguments)) for a, b in arrays])

    return compute


def _by_pyiqa(name: str) -> Metric:
    if importlib.util.find_spec("pyiqa") is None:
        raise ValueError(f"'{name}' is computed by pyiqa, which is not installed: pip install pyiqa")
    from pyiqa.default_model_configs import DEFAULT_CONFIGS

    if name not in DEFAULT_CONFIGS:
        raise ValueError(f"pyiqa has no metric '{name}'{nearest(name, DEFAULT_CONFIGS)}")

    def compute(images: torch.Tensor, target: torch.Tensor, *, crop_border: Natural = 0) -> torch.Tensor:
        metric = _pyiqa_metric(name, images.device)
        pair = [(x / 255).float() for x in _prepare(images, target, crop_border, test_y_channel=False)]
        return metric(*(pair if metric.metric_mode == "FR" else pair[:1])).flatten()

    return compute


@functools.cache
def _pyiqa_metric(name: str, device: torch.device) -> Any:
    """A metric of pyiqa, which downloads its weights when it is built for the first time."""
    import pyiqa

    try:
        return pyiqa.create_metric(name, device=device)
    except OSError as error:
        raise OSError(
            f"'{name}': pyiqa cannot get its weights ({error}); use the metric once where there is a network, which "
            "leaves them in torch's cache"
        ) from error


def lower_is_better(section: Section) -> bool:
    """Whether less of a metric is better: as its section of the option file says, or as pyiqa does."""
    name = str(section["type"])
    if "better" in section or not (name == "lpips" or name.startswith(PYIQA)):
        return section.get("better") == "lower"
    from pyiqa.default_model_configs import DEFAULT_CONFIGS

    return bool(DEFAULT_CONFIGS[name.removeprefix(PYIQA)].get("lower_better", False))


def measure(
    image: torch.Tensor, target: torch.Tensor, metrics: Mapping[str, Section], rounded: bool
) -> dict[str, float]:
    """All metrics of one pair of images.

    Args:
        image: 1 x C x H x W in [0, 1].
        target: The ground truth, likewise.
        metrics: Name -> {"type": see `find_metric`, its arguments..., "better": "higher" or "lower"}.
        rounded: Whether both are rounded to 8 bit first.

    Returns:
        Name -> value.

    Raises:
        MetricError: If a metric cannot be computed on these; the message names its key and their size.
        OSError: If what it needs cannot be read.
    """
    if not metrics:
        return {}
    a, b = on_scale_of_8_bit(image, rounded), on_scale_of_8_bit(target, rounded)
    values = {}
    for name, section in metrics.items():
        arguments = {key: value for key, value in section.items() if key not in ("type", "better")}
        try:
            value = find_metric(section["type"])(a, b, **arguments).item()
        except (OSError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # metrics of others fail in whatever way
            why = str(error).strip().splitlines()
            raise MetricError(
                f"key 'val:metrics:{name}': {section['type']} cannot be computed on {_size(image)} pixels "
                f"({why[0] if why else type(error).__name__}); leave such images out, or change or remove the metric"
            ) from error
        # A PSNR of the engine's registry is infinite for a perfect image.
        values[name] = PERFECT_PSNR if value == float("inf") else value
    return values
