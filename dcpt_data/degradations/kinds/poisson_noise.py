from dcpt_data.degradations.arrays import poisson
from dcpt_data.degradations.registry import Image, Range, Rng, draw, register_degradation


@register_degradation(stage="photons", evaluation={"peak": 30.0}, tensors=True)
def poisson_noise(image: Image, rng: Rng, *, peak: Range = (20.0, 100.0)) -> Image:
    """Photon noise: y = n / peak, n ~ Poisson(peak x), independent for each pixel and channel.

    The variance is x / peak: bright parts have more noise than dark ones. What exceeds 1 is clipped, as a sensor
    saturates, so that white becomes a little darker on average.

    Source: Makitalo and Foi, "Optimal Inversion of the Generalized Anscombe Transformation for Poisson-Gaussian Noise",
    TIP 2013, equation (1), without its Gaussian part; the range is our own, from sigma 50 to sigma 18 for white.

    Args:
        image: As ``degrade`` takes it; the model is of linear light, and applied to the values as they are.
        rng: The source of randomness.
        peak: Photons that make a value of 1, 1 to 100000.
    """
    photons = draw(rng, peak, "peak", 1, 100_000)
    return (poisson(rng, image.clip(0, 1) * photons) / photons).clip(0, 1)
