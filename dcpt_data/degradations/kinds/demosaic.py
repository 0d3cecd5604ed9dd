import cv2
import numpy as np

from dcpt_data.degradations.registry import Image, Rng, choose, register_degradation
from dcpt_data.images.pixels import to_float, to_uint8

_LEAST = 4  # pixels a side that OpenCV's interpolation needs


@register_degradation(stage="colour")
def demosaic(image: Image, rng: Rng, *, channel_order: str = "rgb") -> Image:
    """What a camera with an RGGB mosaic makes of the image, rounded to 8 bit, by OpenCV's edge-aware interpolation.

    Of each pixel one channel is kept: red in even rows and columns, blue in odd ones, green elsewhere. Images of odd or
    tiny sizes are extended by reflection before the mosaic is taken, and are cut back after it.

    The released DCPT code reads the colours in the wrong order, so that its inputs have red and blue exchanged (about
    16 dB where the right order has 28). ``channel_order: released`` gives that, for comparison with its figures.

    Source: the 10D setting of Kong et al., "Universal Image Restoration Pre-training via Degradation Classification",
    ICLR 2025.

    Args:
        image: As ``degrade`` takes it.
        rng: Not used: nothing is random.
        channel_order: ``rgb``, or ``released`` for red and blue exchanged.
    """
    order = choose(rng, channel_order, "channel_order", ("rgb", "released"))
    height, width = image.shape[:2]
    down, right = (max(side + side % 2, _LEAST) - side for side in (height, width))
    # Reflection keeps even rows even, so that what follows the border has the mosaic's own colours.
    pixels = cv2.copyMakeBorder(to_uint8(image), 0, down, 0, right, cv2.BORDER_REFLECT_101)
    mosaic = pixels[:, :, 1].copy()
    mosaic[::2, ::2] = pixels[::2, ::2, 0]
    mosaic[1::2, 1::2] = pixels[1::2, 1::2, 2]
    code = cv2.COLOR_BAYER_BG2RGB_EA if order == "rgb" else cv2.COLOR_BAYER_BG2BGR_EA
    return to_float(np.ascontiguousarray(cv2.cvtColor(mosaic, code)[:height, :width]))
