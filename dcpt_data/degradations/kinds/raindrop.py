import cv2
import numpy as np

from dcpt_data.degradations.arrays import convolve_twice, like, remap
from dcpt_data.degradations.kernels import gaussian
from dcpt_data.degradations.registry import Image, Range, Rng, draw, register_degradation

_MEAN_AREA = 0.48  # of a drop, relative to a circle of the greatest diameter
_EDGE = 0.3  # width of the soft edge, relative to the radius
_RIM_LOSS = 0.5  # share of the light that is lost on the rim


@register_degradation(stage="glass", tensors=True)
def raindrop(
    image: Image,
    rng: Rng,
    *,
    density: Range = (0.05, 0.25),
    size: Range = (14.0, 40.0),
    refraction: Range = (2.0, 4.0),
    blur: Range = (2.0, 5.0),
) -> Image:
    """Drops of water on the glass before the lens: y = (1 - a) x + a r, a the drops' mask and r what is seen in them.

    A drop is a small lens of a very short focal length. It shows a wide view of the scene, turned upside down and
    compressed the more the nearer to its rim, where less light passes. The camera is focused on the scene, so that
    drops have soft edges and what is in them is blurred.

    Source: the model is equation (1) of Qian et al., "Attentive Generative Adversarial Network for Raindrop Removal
    from a Single Image", CVPR 2018; the optics follow You et al., "Adherent Raindrop Modeling, Detection and Removal in
    Video", TPAMI 2016, roughly, as the image is all that there is to refract.

    Args:
        image: As ``degrade`` takes it; drops see beyond its borders by reflection.
        rng: The source of randomness.
        density: Summed area of the drops as a share of the image's area, 0 to 1.
        size: Diameter of the largest drops in pixels, 2 to 500; single ones have from a third of it to all.
        refraction: How many times smaller the scene appears in the middle of a drop, 0.5 to 20.
        blur: Standard deviation of the blur in a drop in pixels, before it is made smaller, 0 to 50.
    """
    share = draw(rng, density, "density", 0, 1)
    largest = draw(rng, size, "size", 2, 500)
    reduction = draw(rng, refraction, "refraction", 0.5, 20)
    width = draw(rng, blur, "blur", 0, 50)
    mask, light, rows, columns = _drops(rng, image.shape[:2], share, largest, reduction)
    seen = remap(convolve_twice(image, gaussian(width)), rows, columns)
    return (image + like(mask, image)[:, :, None] * (like(light, image)[:, :, None] * seen - image)).clip(0, 1)


def _drops(
    rng: Rng, shape: tuple[int, ...], share: float, largest: float, reduction: float
) -> tuple[Image, Image, Image, Image]:
    """Makes up drops: their mask, the light that they pass, and the row and column seen in them; each H x W."""
    height, width = shape
    mask, light = np.zeros((height, width), np.float32), np.ones((height, width), np.float32)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    radius = largest / 2
    area = (height + largest) * (width + largest)
    for _ in range(int(rng.poisson(share * area / (_MEAN_AREA * np.pi * radius**2)))):
        x, y = rng.uniform(-radius, np.array([width, height]) + radius)
        own = radius * rng.uniform(1 / 3, 1)
        bumps, phases = rng.uniform(0, [0.12, 0.08, 0.05]), rng.uniform(0, 2 * np.pi, 3)
        reach = 1.25 * own  # no bump reaches farther
        top, bottom = _clipped(y - reach, y + reach, height)
        left, right = _clipped(x - reach, x + reach, width)
        if top >= bottom or left >= right:
            continue
        window = np.s_[top:bottom, left:right]
        down, across = np.mgrid[window].astype(np.float32) - np.array([y, x], np.float32)[:, None, None]
        around = cv2.phase(across, down)
        rim = own * (1 + sum(bumps[k] * np.cos((k + 2) * around + phases[k]) for k in range(3)))
        place = np.minimum(np.hypot(down, across) / rim, 1)  # 0 in the middle, 1 on the rim and beyond
        edge = np.clip((1 - place) / _EDGE, 0, 1)
        cover = edge * edge * (3 - 2 * edge)
        # A ray is bent the more the steeper the drop's surface is: towards the rim the view grows beyond all bounds.
        view = -reduction / np.sqrt(1 - 0.9 * place**2)
        front = cover > mask[window]
        for old, new in (
            (mask, cover),
            (light, 1 - _RIM_LOSS * place**4),
            (rows, y + view * down),
            (columns, x + view * across),
        ):
            old[window][front] = new[front]
    return mask, light, rows, columns


def _clipped(first: float, last: float, side: int) -> tuple[int, int]:
    """Returns the slice of the whole numbers from `first` to `last` that lie within an image's side."""
    return max(0, int(np.ceil(first))), min(side, int(np.floor(last)) + 1)
