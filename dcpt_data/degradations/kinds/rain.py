import cv2
import numpy as np

from dcpt_data.degradations.arrays import like
from dcpt_data.degradations.registry import Image, Range, Rng, draw, register_degradation

_WIDTH = 3.0  # pixels: how wide a streak is, softened edges included
_SHIFT = 4  # cv2.line takes coordinates in sixteenths of a pixel


@register_degradation(stage="precipitation", tensors=True)
def rain(
    image: Image,
    rng: Rng,
    *,
    density: Range = (0.03, 0.12),
    angle: Range = (-30.0, 30.0),
    length: Range = (25.0, 70.0),
    strength: Range = (0.5, 0.9),
) -> Image:
    """Rain streaks: y = (1 - s) x + s, the streak map s in [0, 1].

    A drop that falls during the exposure covers a pixel for a share s of it; it gathers light from much of the sky, so
    that it is taken as white. Far drops leave shorter and fainter streaks, and all fall nearly the same way.
    As in Rain100L there are single streaks of one direction, without a veil of unresolved rain.

    Source: the model is the photometry of a moving drop in Garg and Nayar, "Vision and Rain", IJCV 2007; the look is
    that of Rain100L, Yang et al., "Deep Joint Rain Detection and Removal from a Single Image", CVPR 2017.

    Args:
        image: As ``degrade`` takes it.
        rng: The source of randomness.
        density: Summed area of the streaks, 3 pixels wide each, as a share of the image's area, 0 to 1.
        angle: Direction of fall in degrees from the vertical, -90 to 90; above 0 streaks lean like a slash.
        length: Length of the nearest, longest streaks in pixels, 1 to 500.
        strength: Greatest value of s, that of the nearest streaks, 0 to 1.
    """
    share = draw(rng, density, "density", 0, 1)
    direction = draw(rng, angle, "angle", -90, 90)
    longest = draw(rng, length, "length", 1, 500)
    opacity = draw(rng, strength, "strength", 0, 1)
    streaks = like(opacity * _streaks(rng, image.shape[:2], share, direction, longest), image)[:, :, None]
    return (image + streaks * (1 - image)).clip(0, 1)


def _streaks(rng: Rng, shape: tuple[int, ...], share: float, direction: float, longest: float) -> Image:
    """Draws streaks, H x W in [0, 1]; they also start outside it, so that borders get as many."""
    height, width = shape
    mean_nearness = 0.7
    area = (height + longest) * (width + longest)
    count = int(rng.poisson(share * area / (mean_nearness * longest * _WIDTH)))
    nearness = rng.uniform(2 * mean_nearness - 1, 1, count)
    centre = rng.uniform(-longest / 2, np.array([width, height]) + longest / 2, (count, 2))
    radians = np.deg2rad(direction + rng.normal(0, 1.5, count))
    half = 0.5 * (longest * nearness)[:, None] * np.stack([-np.sin(radians), np.cos(radians)], axis=1)

    # Three strokes within one another let a streak fade towards its ends. Fainter strokes are drawn first, so that each
    # pixel keeps the brightest.
    strokes = []
    for extent, brightness in ((1.0, 0.4), (0.8, 0.7), (0.5, 1.0)):
        ends = np.concatenate([centre - extent * half, centre + extent * half], axis=1)
        strokes.append(np.column_stack([255 * brightness * nearness, ends * 2**_SHIFT]))
    ordered = np.concatenate(strokes)
    ordered = ordered[np.argsort(ordered[:, 0], kind="stable")].round().astype(int)

    canvas = np.zeros((height, width), np.uint8)
    for grey, x0, y0, x1, y1 in ordered.tolist():
        cv2.line(canvas, (x0, y0), (x1, y1), grey, 1, cv2.LINE_AA, _SHIFT)
    return cv2.GaussianBlur(canvas.astype(np.float32) / 255, (3, 3), 0.6).astype(np.float32, copy=False)
