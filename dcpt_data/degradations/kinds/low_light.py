from dcpt_data.degradations.arrays import normal, power
from dcpt_data.degradations.registry import Image, Range, Rng, draw, register_degradation

_DISPLAY_GAMMA = 2.2  # sRGB's curve, nearly


@register_degradation(stage="light", tensors=True)
def low_light(
    image: Image,
    rng: Rng,
    *,
    exposure: Range = (0.06, 0.25),
    gamma: Range = (1.0, 1.3),
    shot: Range = (1e-4, 5e-4),
    read: Range = (2e-4, 1e-3),
) -> Image:
    """A photograph taken with too little light: darkened in linear light, with the sensor's noise.

    With x the image in linear light (its power of 2.2): d = exposure * x^gamma, n ~ N(0, shot * d + read^2), and the
    result is clip(d + n)^(1 / 2.2). The noise is independent for each pixel and channel.

    Source: exposure and gamma as Lv et al. darken photographs in "Attention Guided Low-Light Image Enhancement with a
    Large Scale Low-Light Simulation Dataset", IJCV 2021, but in linear light; the noise is that of Foi et al.,
    "Practical Poissonian-Gaussian Noise Modeling and Fitting for Single-Image Raw-Data", TIP 2008. The look is that of
    LOL-v1, a little lighter: there are 8 to 12 dB between input and target here, and under 8 dB there.

    Args:
        image: As ``degrade`` takes it.
        rng: The source of randomness.
        exposure: The light that is left, 0 to 1.
        gamma: Power that darkens shadows more than lights, 0.2 to 5; 1 changes nothing.
        shot: Variance of the photons' noise per unit of light, 0 to 1.
        read: Standard deviation of the electronics' noise in units of light, 0 to 1.
    """
    light = draw(rng, exposure, "exposure", 0, 1)
    exponent = _DISPLAY_GAMMA * draw(rng, gamma, "gamma", 0.2, 5)
    shot_variance = draw(rng, shot, "shot", 0, 1)
    read_deviation = draw(rng, read, "read", 0, 1)
    dark = light * power(image.clip(0, 1), exponent)
    dark += (shot_variance * dark + read_deviation**2) ** 0.5 * normal(rng, image)
    return power(dark.clip(0, 1), 1 / _DISPLAY_GAMMA)
