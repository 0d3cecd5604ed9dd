import cv2
import numpy as np

from dcpt_data.degradations.registry import Image, Range, Rng, draw_whole, register_degradation
from dcpt_data.images.pixels import to_float, to_uint8


@register_degradation(stage="file", evaluation={"quality": 20})
def jpeg(image: Image, rng: Rng, *, quality: Range = (10, 20, 30, 40, 50)) -> Image:
    """Compression by OpenCV's JPEG encoder, of the image rounded to 8 bit; colours have half the resolution.

    Source: the qualities are those of the 10D setting of Kong et al., "Universal Image Restoration Pre-training via
    Degradation Classification", ICLR 2025, and so is 20 at evaluation.

    Args:
        image: As ``degrade`` takes it.
        rng: The source of randomness.
        quality: Quality of the encoder, a whole number, 1 to 100.
    """
    level = draw_whole(rng, quality, "quality", 1, 100)
    pixels = cv2.cvtColor(to_uint8(image), cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, level])
    return to_float(cv2.cvtColor(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR)), cv2.COLOR_BGR2RGB))
