import cv2
import numpy as np

from dcpt_data.degradations.arrays import like
from dcpt_data.degradations.kernels import along
from dcpt_data.degradations.registry import Image, Range, Rng, draw, register_degradation

_SHIFT = 4  # cv2.ellipse takes coordinates in sixteenths of a pixel
# Far, middle and near flakes: diameter relative to the nearest ones', share of the covered area, opacity, and width of
# the blur relative to the diameter. The camera is focused on the scene, so that the nearest flakes are out of focus.
_LAYERS = ((0.25, 0.35, 0.75, 0.12), (0.5, 0.35, 1.0, 0.12), (1.0, 0.3, 0.8, 0.25))


@register_degradation(stage="precipitation", tensors=True)
def snow(
    image: Image,
    rng: Rng,
    *,
    density: Range = (0.04, 0.16),
    size: Range = (6.0, 14.0),
    angle: Range = (-35.0, 35.0),
    speed: Range = (0.0, 1.0),
    opacity: Range = (0.6, 0.95),
) -> Image:
    """Falling snow: y = (1 - s) x + s, the map s in [0, 1] of flakes in three layers of distance.

    Far flakes are small, many and faint, near ones large, few and blurred; each is an ellipse of its own size, shape
    and opacity, smeared a little in the direction of the fall. A flake is taken as white.

    Source: flakes of three sizes with varied density, transparency and trajectory, as Snow100K has them, Liu et al.,
    "DesnowNet: Context-Aware Deep Network for Snow Removal", TIP 2018, section III; the numbers are our own.

    Args:
        image: As ``degrade`` takes it.
        rng: The source of randomness.
        density: Summed area of the flakes as a share of the image's area, 0 to 1.
        size: Diameter of the nearest flakes in pixels, 1 to 200; single ones differ by up to 40 %.
        angle: Direction of the fall in degrees from the vertical, -90 to 90; above 0 it goes down and to the left.
        speed: Way of a flake during the exposure, relative to its diameter, 0 to 10.
        opacity: Greatest value of s, 0 to 1.
    """
    share = draw(rng, density, "density", 0, 1)
    nearest = draw(rng, size, "size", 1, 200)
    direction = draw(rng, angle, "angle", -90, 90)
    smear = draw(rng, speed, "speed", 0, 10)
    strength = draw(rng, opacity, "opacity", 0, 1)
    clear = np.ones(image.shape[:2], np.float32)
    for scale, part, opaque, blur in _LAYERS:
        diameter = scale * nearest
        flakes = _flakes(rng, image.shape[:2], share * part, diameter)
        blurred = cv2.GaussianBlur(flakes, (0, 0), max(0.6, blur * diameter), borderType=cv2.BORDER_CONSTANT)
        way = along(smear * diameter * _line(direction))
        clear *= 1 - opaque * cv2.filter2D(blurred, -1, way, borderType=cv2.BORDER_REFLECT_101)
    cover = like(strength * (1 - clear), image)[:, :, None]
    return (image + cover * (1 - image)).clip(0, 1)


def _flakes(rng: Rng, shape: tuple[int, ...], share: float, diameter: float) -> Image:
    """Draws one layer's flakes, H x W in [0, 1]; they also lie across the borders, so that these get as many."""
    height, width = shape
    area = (height + diameter) * (width + diameter)
    # The mean area of ellipses whose diameters are drawn as below, relative to that of a circle of the diameter.
    count = int(rng.poisson(share * area / (0.84 * np.pi / 4 * diameter**2)))
    centre = rng.uniform(-diameter / 2, np.array([width, height]) + diameter / 2, (count, 2))
    axes = 0.5 * diameter * rng.uniform(0.6, 1.4, count)[:, None] * rng.uniform(0.65, 1.0, (count, 2))
    axes = np.maximum(axes - 0.5, 0)  # OpenCV's smoothed edge lies around the ellipse
    turn = rng.uniform(0, 180, count)
    grey = rng.uniform(128, 255, count)
    canvas = np.zeros((height, width), np.uint8)
    points = np.concatenate([centre * 2**_SHIFT, axes * 2**_SHIFT], axis=1).round().astype(int)
    order = np.argsort(grey)
    for (x, y, a, b), degrees, level in zip(
        points[order].tolist(), turn[order].tolist(), grey[order].tolist(), strict=True
    ):
        cv2.ellipse(canvas, (x, y), (a, b), degrees, 0, 360, level, -1, cv2.LINE_AA, _SHIFT)
    return canvas / np.float32(255)


def _line(direction: float) -> np.ndarray:
    """Returns points along a way of length 1 around 0, 33 x 2."""
    radians = np.deg2rad(direction)
    return np.linspace(-0.5, 0.5, 33)[:, None] * np.array([-np.sin(radians), np.cos(radians)])
