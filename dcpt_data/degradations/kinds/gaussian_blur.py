from dcpt_data.degradations.arrays import convolve_twice
from dcpt_data.degradations.kernels import gaussian
from dcpt_data.degradations.registry import Image, Range, Rng, draw, register_degradation


@register_degradation(stage="focus", evaluation={"sigma": 2.0}, tensors=True)
def gaussian_blur(image: Image, rng: Rng, *, sigma: Range = (1.0, 4.0)) -> Image:
    """Isotropic Gaussian blur: y = k * x, k(d) ~ exp(-d^2 / (2 sigma^2)) up to four sigma.

    The image is extended beyond its borders by reflection.

    Source: the blur of Zhang et al., "Learning a Single Convolutional Super-Resolution Network for Multiple
    Degradations" (SRMD), CVPR 2018, section 3.1, whose widths for a factor of 4 reach to 4 pixels as well.

    Args:
        image: As ``degrade`` takes it.
        rng: The source of randomness.
        sigma: Standard deviation of the kernel in pixels, 0 to 50; 0 is no blur.
    """
    return convolve_twice(image, gaussian(draw(rng, sigma, "sigma", 0, 50))).clip(0, 1)
