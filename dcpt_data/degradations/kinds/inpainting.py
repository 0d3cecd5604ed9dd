import numpy as np

from dcpt_data.degradations.arrays import like
from dcpt_data.degradations.registry import Image, Range, Rng, choose, draw_whole, register_degradation


@register_degradation(stage="picture", tensors=True)
def inpainting(
    image: Image, rng: Rng, *, lines: Range = (5, 10), thickness: Range = (5, 10), colour: str = "any"
) -> Image:
    """Straight lines across the image, all white or all black, whose content is to be filled in.

    Both ends of a line are anywhere in the image, and each line has its own thickness.

    Source: the 10D setting of Kong et al., "Universal Image Restoration Pre-training via Degradation Classification",
    ICLR 2025, which draws the lines anew for every test; at evaluation here, an image always has the same ones.

    Args:
        image: As ``degrade`` takes it.
        rng: The source of randomness.
        lines: How many lines, a whole number, 0 to 1000.
        thickness: Thickness of a line in pixels, a whole number, 1 to 255.
        colour: ``white``, ``black``, or ``any`` for one of the two at random.
    """
    grey = {"white": 1, "black": 0}[choose(rng, colour, "colour", ("any", "white", "black"))]
    hidden = np.zeros(image.shape[:2], bool)
    for _ in range(draw_whole(rng, lines, "lines", 0, 1000)):
        ends = rng.uniform(0, image.shape[:2], (2, 2)).astype(np.float32)
        hidden |= _near(ends, 0.5 * draw_whole(rng, thickness, "thickness", 1, 255), image.shape[:2])
    mask = like(hidden.astype(np.float32), image)[:, :, None]
    return image * (1 - mask) + grey * mask


def _near(ends: np.ndarray, reach: float, shape: tuple[int, ...]) -> np.ndarray:
    """Returns the pixels near a line between two points (row, column): H x W, bool.

    The lines of ``cv2.line`` are up to two pixels thicker than asked for, by version and direction.
    """
    start, end = ends
    down = np.arange(shape[0], dtype=np.float32)[:, None] - start[0]
    right = np.arange(shape[1], dtype=np.float32) - start[1]
    along_y, along_x = end - start
    share = (down * along_y + right * along_x) / max(along_y**2 + along_x**2, 1e-6)
    share = share.clip(0, 1)  # of the way from start to end
    return (down - share * along_y) ** 2 + (right - share * along_x) ** 2 <= reach**2
