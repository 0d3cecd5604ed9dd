"""Masked degradation classification pre-training (MaskDCPT, Hu et al., arXiv 2510.13282, 2025)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from basicsr.utils.registry import MODEL_REGISTRY

from dcpt_common import Count, Range
from dcpt_models.methods.dc_train_model import DCTrainModel, DCTrainTrainOptions


@dataclass(kw_only=True)
class MaskedDCPTTrainOptions(DCTrainTrainOptions):
    """The `train` section of `MaskedDCPTModel`.

    Attributes:
        mask_ratio: Share of the patches of each image that is hidden, in (0, 1).
        mask_patch: Side of a patch in pixels.
    """

    mask_ratio: Annotated[float, Range(above=0, below=1)] = 0.5
    mask_patch: Count = 16


@MODEL_REGISTRY.register()
class MaskedDCPTModel(DCTrainModel):
    """`DCTrainModel` with random patches of the degraded image hidden while training.

    The whole clean image is to be reconstructed (L_pix on all pixels), and the degradation to be told from what is
    left to see (L_cls). Hidden pixels are 0. Which patches are hidden is drawn on the device, for the samples of all
    processes from one seed of the iteration, so that it does not depend on their number. Validation hides nothing.
    """

    TrainOptions: ClassVar[type] = MaskedDCPTTrainOptions
    train: MaskedDCPTTrainOptions

    def network_input(self) -> torch.Tensor:
        count, _, height, width = self.lq.shape
        first, total = self.place
        generator = torch.Generator(self.lq.device).manual_seed(self.drawing_seed)
        hidden = random_patches(
            max(total, count), height, width, self.train.mask_patch, self.train.mask_ratio, self.lq.device, generator
        )
        return torch.where(hidden[first : first + count], 0, self.lq)


def random_patches(
    count: int,
    height: int,
    width: int,
    patch: int,
    ratio: float,
    device: torch.device,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Choose the same number of patches in each of several images, every choice being equally likely.

    Args:
        count: Number of images.
        height: Of each, in pixels.
        width: Likewise.
        patch: Side of a patch in pixels; patches at the right and lower border may be cut off.
        ratio: Share of an image's patches to choose; their number is rounded.
        device: Where the choice is drawn.
        generator: On that device; by default the device's own, which `torch.manual_seed` seeds.

    Returns:
        True in the patches chosen; count x 1 x height x width.

    Raises:
        ValueError: If the images have so few patches that none, or all, would be chosen.
    """
    rows, columns = -(-height // patch), -(-width // patch)
    chosen = round(ratio * rows * columns)
    if not 0 < chosen < rows * columns:
        raise ValueError(
            f"of the {rows * columns} patches of {patch} pixels in a crop of {width}x{height}, a share of {ratio:g} is "
            f"{chosen}; choose a smaller train:mask_patch or a larger gt_size"
        )
    order = torch.rand(count, rows * columns, device=device, generator=generator).argsort(1)
    grid = torch.zeros(count, rows * columns, dtype=torch.bool, device=device).scatter_(1, order[:, :chosen], True)
    grid = grid.view(count, 1, rows, columns).repeat_interleave(patch, 2).repeat_interleave(patch, 3)
    return grid[..., :height, :width]
