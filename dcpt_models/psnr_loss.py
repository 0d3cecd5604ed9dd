"""The loss that NAFNet was published with."""

from __future__ import annotations

import torch
from basicsr.utils.registry import LOSS_REGISTRY
from torch import nn


@LOSS_REGISTRY.register()
class PSNRLoss(nn.Module):
    """The negative PSNR in dB, averaged over the images (Chen et al., "HINet", CVPRW 2021, Eq. 4; used by NAFNet).

    An image's gradient is divided by its own error, so degradations that change little weigh as much as those that
    change much.

    Args:
        loss_weight: Factor of the result.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, restored: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Compare images.

        Args:
            restored: N x C x H x W in [0, 1].
            target: Likewise.

        Returns:
            A scalar; -80 for perfect images.
        """
        error = (restored - target).float().square().mean((1, 2, 3))
        return self.loss_weight * 10 * torch.log10(error + 1e-8).mean()
