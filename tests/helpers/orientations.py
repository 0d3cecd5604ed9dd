"""Images as cameras store them that were held upright or turned; tests of every reader of photographs use it."""

import numpy as np

# How an upright image is stored for a camera that was held in each of the eight ways (Exif 2.32, tag 274).
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}
