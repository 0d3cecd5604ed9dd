from dcpt_data.degradations.arrays import convolve
from dcpt_data.degradations.kernels import disk
from dcpt_data.degradations.registry import Image, Range, Rng, draw, register_degradation


@register_degradation(stage="focus", tensors=True)
def defocus_blur(image: Image, rng: Rng, *, radius: Range = (2.0, 8.0)) -> Image:
    """A flat scene out of focus: y = k * x, k a disk, the image of a point through a round aperture.

    Values are averaged as they are, without undoing the camera's gamma, and the blur is the same everywhere, while that
    of a photograph with depth (DPDD) is not. The image is extended beyond its borders by reflection.

    Source: the circle of confusion of Potmesil and Chakravarty, "A Lens and Aperture Camera Model for Synthetic Image
    Generation", SIGGRAPH 1981; the range is our own.

    Args:
        image: As ``degrade`` takes it.
        rng: The source of randomness.
        radius: Radius of the disk in pixels, 0 to 100; 0 is in focus.
    """
    return convolve(image, disk(draw(rng, radius, "radius", 0, 100))).clip(0, 1)
