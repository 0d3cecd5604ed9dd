from dcpt_data.degradations.arrays import resize
from dcpt_data.degradations.registry import Image, Range, Rng, draw, register_degradation


@register_degradation(stage="resolution", evaluation={"factor": 4.0}, tensors=True)
def downsampling(image: Image, rng: Rng, *, factor: Range = (2.0, 4.0)) -> Image:
    """Loss of resolution: made smaller by bicubic resampling and enlarged to its size again in the same way.

    While made smaller it is averaged over as many more pixels, as by MATLAB's ``imresize`` and Pillow.

    Source: the bicubic kernel (a = -0.5) is that of Keys, "Cubic Convolution Interpolation for Digital Image
    Processing", TASSP 1981; an input of the size of its ground truth is that of Dong et al., "Image Super-Resolution
    Using Deep Convolutional Networks" (SRCNN), TPAMI 2016, whose factors are 2, 3 and 4.

    Args:
        image: As ``degrade`` takes it.
        rng: The source of randomness.
        factor: How many times smaller both sides become, 1 to 64; no side becomes less than a pixel.
    """
    times = draw(rng, factor, "factor", 1, 64)
    height, width = image.shape[:2]
    small = resize(image, max(1, round(height / times)), max(1, round(width / times)))
    return resize(small, height, width).clip(0, 1)
