import numpy as np
import numpy.typing as npt

from dcpt_data.degradations.arrays import convolve
from dcpt_data.degradations.kernels import along
from dcpt_data.degradations.registry import Image, Range, Rng, draw, register_degradation


@register_degradation(stage="movement", tensors=True)
def motion_blur(image: Image, rng: Rng, *, size: Range = (7.0, 31.0), angle: Range | None = None) -> Image:
    """Camera shake: y = k * x, k the path of the camera during the exposure, the same for the whole image.

    Values are averaged as they are, without undoing the camera's gamma, as in the ``blur`` folder of GoPro (Nah et al.,
    "Deep Multi-scale Convolutional Neural Network for Dynamic Scene Deblurring", CVPR 2017, equation (1)). The image
    is extended beyond its borders by reflection.

    Source: blur by random smooth trajectories is that of Boracchi and Foi, "Modeling the Performance of Image
    Restoration from Motion Blur", TIP 2012; the random curve is our own, see ``_curve``.

    Args:
        image: As ``degrade`` takes it.
        rng: The source of randomness.
        size: Diameter in pixels of the circle around the path's centroid that holds the path, 0 to 201; 0 is no blur.
        angle: Degrees by which a straight path that is passed at a steady speed, as by a camera that pans, goes down to
            the right, -360 to 360. Without it the path is a curve.
    """
    diameter = draw(rng, size, "size", 0, 201)
    steps = 8 * int(np.ceil(diameter)) + 1
    path = _curve(rng, steps) if angle is None else _line(draw(rng, angle, "angle", -360, 360), steps)
    kernel = along(diameter / 2 * path)
    return convolve(image, kernel).clip(0, 1)


def _curve(rng: Rng, steps: int) -> npt.NDArray[np.float64]:
    """Returns a smooth random curve, steps x 2, with its centroid at 0 and its farthest point at distance 1.

    The camera's velocity is a steady drift and the hand's trembling, a short Fourier series with random coefficients
    that fall with the frequency; the path is its integral. Where it is slow, the kernel has the bright spots that those
    of true camera shake have.
    """
    time = np.linspace(0, 1, steps)[:, None]
    frequencies = 2 * np.pi * np.arange(1, 5)
    drift = rng.normal(0, 1, (1, 2))
    cosines, sines = rng.normal(0, 1, (2, 4, 2)) * (frequencies[0] / frequencies[:, None] ** 2)
    path = time @ drift + np.sin(time * frequencies) @ cosines - np.cos(time * frequencies) @ sines
    path -= path.mean(axis=0)
    return path / max(np.linalg.norm(path, axis=1).max(), 1e-6)


def _line(angle: float, steps: int) -> npt.NDArray[np.float64]:
    """Returns a straight path of the same length, steps x 2, at an angle in degrees."""
    direction = np.deg2rad(angle)
    return np.linspace(-1, 1, steps)[:, None] * [np.cos(direction), np.sin(direction)]
