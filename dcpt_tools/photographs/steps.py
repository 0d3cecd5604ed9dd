"""What is done to one photograph, from the decoded file to the one that is written; three commands use it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from dcpt_data.images.photograph_files import ImageFile
from dcpt_data.images.pixels import to_float, to_uint8
from dcpt_models.inference.blending import blend, enlarge
from dcpt_models.inference.diagnoser import Diagnosis
from dcpt_models.inference.restored_sheet import draw_pair
from dcpt_models.inference.restorer import Restorer
from dcpt_models.inference.tiling import Tiling


@dataclass(frozen=True)
class Restoration:
    """What a network made of a photograph.

    Attributes:
        original: The photograph.
        result: Its restoration at full strength, with all that the photograph carries.
        tiling: How it was cut, if that is known.
        seconds: What that took, reading and writing aside.
    """

    original: ImageFile
    result: ImageFile
    tiling: Tiling | None = None
    seconds: float = 0.0

    @classmethod
    def of(
        cls, original: ImageFile, pixels: np.ndarray, tiling: Tiling | None = None, seconds: float = 0.0
    ) -> Restoration:
        """What the pixels that a network gave make of a photograph; transparency grows with them."""
        alpha = None if original.alpha is None else enlarge(original.alpha, *pixels.shape[:2])
        return cls(original, replace(original, pixels=pixels, alpha=alpha), tiling, seconds)

    def at(self, strength: float) -> ImageFile:
        """The file to write: the photograph with `strength`, 0 to 1, of what was changed."""
        return replace(self.result, pixels=blend(self.original.pixels, self.result.pixels, strength))

    def facts(self) -> dict[str, Any]:
        """What a record says of it."""
        height, width, _ = self.result.pixels.shape
        assert self.tiling is not None
        return {
            "width": width,
            "height": height,
            "bits": 8 * self.result.pixels.itemsize,
            "tiles": self.tiling.count,
            "tile": [self.tiling.across.tile, self.tiling.down.tile],
            "seconds": round(self.seconds, 3),
        }


def restore_image(
    original: ImageFile, restorer: Restorer, progress: Callable[[float], None] = lambda share: None
) -> Restoration:
    """Restore a decoded file; its transparency grows with it where the network enlarges.

    Raises:
        RestoreError: As `Restorer.restore`.
    """
    begun = time.perf_counter()
    pixels, tiling = restorer.restore(original.pixels, progress)
    return Restoration.of(original, pixels, tiling, time.perf_counter() - begun)


def as_tensor(pixels: np.ndarray) -> torch.Tensor:
    """What a diagnoser looks at: H x W x 1 or 3 of 8 or 16 bits -> 3 x H x W in [0, 1]."""
    values = np.broadcast_to(to_float(pixels), (*pixels.shape[:2], 3))
    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))


def as_shown(pixels: np.ndarray) -> np.ndarray:
    """What a picture on a screen holds: H x W x 1 or 3 of 8 or 16 bits -> H x W x 3, RGB, uint8."""
    return np.ascontiguousarray(np.broadcast_to(to_uint8(to_float(pixels)), (*pixels.shape[:2], 3)))


def compare(original: ImageFile, result: ImageFile, caption: str) -> ImageFile:
    """A sheet of a photograph beside its restoration, in the colours of its profile."""
    sheet = draw_pair(as_shown(original.pixels), as_shown(result.pixels), caption)
    return ImageFile(sheet, profile=original.profile if original.pixels.shape[2] == 3 else None)


def in_words(diagnosis: Diagnosis) -> str:
    """The answer and the three most probable degradations."""
    ordered = sorted(diagnosis.probabilities.items(), key=lambda item: -item[1])
    return f"{diagnosis.answer} ({', '.join(f'{name} {chance:.0%}' for name, chance in ordered[:3])})"
