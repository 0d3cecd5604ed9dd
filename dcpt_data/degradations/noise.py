import numpy as np

from dcpt_data.degradations.registry import Image, Range, Rng, degrade, draw, register_degradation


@register_degradation
def noise(image: Image, rng: Rng, *, sigma: Range = 25.0, clip: bool = False) -> Image:
    """Additive white Gaussian noise: y = x + n, n ~ N(0, (sigma / 255)^2), independent for each pixel and channel.

    The values are drawn in the order H, W, C in float64. The result is not clipped, as in the field's test protocol:
    clipping would make the noise's mean depend on the image.

    Source: Zhang et al., "Beyond a Gaussian Denoiser" (DnCNN), TIP 2017, section IV.

    Args:
        image: As ``degrade`` takes it.
        rng: The source of randomness.
        sigma: Standard deviation on the scale of 8 bit, 0 to 255; a number, a range or a list of choices.
        clip: Whether the result is clipped to [0, 1].
    """
    level = draw(rng, sigma, "sigma", 0, 255)
    noisy = (image + rng.normal(0, level / 255, image.shape)).astype(np.float32)
    return noisy.clip(0, 1) if clip else noisy


def evaluation_noise(image: Image, sigma: float) -> Image:
    """Adds the noise that the released DCPT evaluation adds, to the bit, so that scores compare exactly.

    It seeds NumPy's legacy generator with 0 for every image, draws H x W x 3 values in float64, adds them without
    clipping and goes on in float32. The generator here is one of its own; the global one is left alone.

    Args:
        image: As ``degrade`` takes it.
        sigma: Standard deviation on the scale of 8 bit; the protocol's levels are 15, 25 and 50.
    """
    return degrade("noise", image, np.random.RandomState(0), sigma=sigma)
