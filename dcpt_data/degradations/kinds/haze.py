import cv2
import numpy as np

from dcpt_data.degradations.arrays import like
from dcpt_data.degradations.registry import Image, Range, Rng, draw, register_degradation


@register_degradation(stage="air", tensors=True)
def haze(image: Image, rng: Rng, *, beta: Range = (0.6, 1.8), airlight: Range = (0.7, 1.0), view: Range = 1.0) -> Image:
    """Homogeneous haze, by atmospheric scattering: I = J t + A (1 - t), t = exp(-beta d).

    The depth d is made up, as a photograph has none: 0 is the camera and 1 the horizon, see ``_depth``.

    Source: the model is equations (1) and (2) of Li et al., "Benchmarking Single-Image Dehazing and Beyond" (RESIDE),
    TIP 2019; the ranges of A and beta are those of its indoor training set (ITS).

    Args:
        image: As ``degrade`` takes it; it is seen as a whole view, the horizon at its top, or as a part of one.
        rng: The source of randomness.
        beta: Scattering coefficient per unit of depth, 0 to 10.
        airlight: The colour A of the haze, a grey, 0 to 1.
        view: The share of the view's height and width that the image is, 0.1 to 1. Below 1 it is a window at a random
            place of it: a crop of a photograph has less depth in it than the photograph, and a network that is to
            restore whole photographs is trained on crops with such haze.
    """
    scattering = draw(rng, beta, "beta", 0, 10)
    grey = draw(rng, airlight, "airlight", 0, 1)
    share = draw(rng, view, "view", 0.1, 1)
    height, width = image.shape[:2]
    transmission = like(np.exp(-scattering * _window(rng, height, width, share)), image)[:, :, None]
    return (grey + (image - grey) * transmission).clip(0, 1)


def _window(rng: Rng, height: int, width: int, share: float) -> Image:
    """The depth map, H x W, of a window at a random place of a view that is 1 / share as high and wide."""
    if share == 1:
        return _depth(rng, height, width)
    depth = _depth(rng, round(height / share), round(width / share))
    whole = rng.integers if isinstance(rng, np.random.Generator) else rng.randint
    top, left = whole(0, depth.shape[0] - height + 1), whole(0, depth.shape[1] - width + 1)
    return depth[top : top + height, left : left + width]


def _depth(rng: Rng, height: int, width: int) -> Image:
    """Makes up a depth map, H x W: it grows towards the top, under a smooth relief of random hills.

    The relief is coarse noise of two octaves, enlarged to the image's size: its hills have a size relative to the view,
    not in pixels, as things in a photograph of higher resolution have more pixels too.
    """
    relief = np.zeros((height, width), np.float32)
    for cells, amplitude in ((3, 0.15), (6, 0.04)):
        grid = rng.uniform(-amplitude, amplitude, (cells, cells)).astype(np.float32)
        relief += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    # A ground plane's depth grows slowly near the camera and fast near the horizon; the power is a mild form of that.
    upwards = 1 - (np.arange(height, dtype=np.float32) + 0.5) / height
    return np.clip(0.1 + 0.9 * upwards[:, None] ** 2 + relief, 0, 1)
