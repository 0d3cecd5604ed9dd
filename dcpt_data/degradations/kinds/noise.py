from dcpt_data.degradations.arrays import float32, normal
from dcpt_data.degradations.registry import Image, Range, Rng, draw, register_degradation


@register_degradation(stage="electronics", evaluation={"sigma": 25.0}, legacy_seed=0, tensors=True)
def noise(image: Image, rng: Rng, *, sigma: Range = (15.0, 25.0, 50.0), clip: bool = False) -> Image:
    """Additive white Gaussian noise: y = x + n, n ~ N(0, (sigma / 255)^2), independent for each pixel and channel.

    The result is not clipped, as in the field's test protocol: clipping would make the noise's mean depend on the
    image. Evaluation with one sigma is the released DCPT evaluation's to the bit, so that scores compare exactly:
    NumPy's legacy generator, seeded with 0 for every image, draws H x W x 3 values in float64, and what follows is
    float32.

    Source: Zhang et al., "Beyond a Gaussian Denoiser" (DnCNN), TIP 2017, section IV; the levels are those of the 5D
    setting of Kong et al., "Universal Image Restoration Pre-training via Degradation Classification", ICLR 2025, whose
    10D setting has [1, 50].

    Args:
        image: As ``degrade`` takes it.
        rng: The source of randomness.
        sigma: Standard deviation on the scale of 8 bit, 0 to 255; the protocol's levels are 15, 25 and 50.
        clip: Whether the result is clipped to [0, 1].
    """
    level = draw(rng, sigma, "sigma", 0, 255)
    noisy = float32(image + level / 255 * normal(rng, image))
    return noisy.clip(0, 1) if clip else noisy
