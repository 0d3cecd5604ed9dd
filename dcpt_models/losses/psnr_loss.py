"""The negative PSNR, with which NAFNet was published."""

from __future__ import annotations

from typing import Literal

import torch
from basicsr.utils.registry import LOSS_REGISTRY
from torch import nn

from dcpt_common import NotNegative, Positive


@LOSS_REGISTRY.register()
class PSNRLoss(nn.Module):
    """The negative PSNR in dB, averaged over the images (Chen et al., "HINet", CVPRW 2021, Eq. 4; used by NAFNet).

    An image's gradient is divided by its own error, so degradations that change little weigh as much as those that
    change much.

    Args:
        loss_weight: Factor of the result.
        limit: What the PSNR of a perfect image counts as, in dB; 80 as published. Where some images are to come back as
            they are, a network that does nothing is as good as can be for them, and it is this limit that says how
            much; at 45, others still make it learn.
        error: What stands for an image's error: "l2", as published, the root of the mean square; "l1" the mean
            absolute difference, to which small errors, as those in flat areas, mean more.

    Raises:
        ValueError: If `error` is neither.
    """

    def __init__(
        self, loss_weight: NotNegative = 1.0, limit: Positive = 80.0, error: Literal["l1", "l2"] = "l2"
    ) -> None:
        super().__init__()
        if error not in ("l1", "l2"):
            raise ValueError(f"error must be 'l1' or 'l2', not {error!r}")
        self.loss_weight, self.limit, self.error = loss_weight, limit, error

    def forward(self, restored: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Compare images.

        Args:
            restored: N x C x H x W in [0, 1].
            target: Likewise.

        Returns:
            A scalar; -limit for perfect images.
        """
        difference = (restored - target).float()
        if self.error == "l1":
            square = difference.abs().mean((1, 2, 3)).square()
        else:
            square = difference.square().mean((1, 2, 3))
        return self.loss_weight * 10 * torch.log10(square + 10 ** (-self.limit / 10)).mean()
