"""The L1 loss of pixels and of their Fourier transforms."""

from __future__ import annotations

import torch
from basicsr.utils.registry import LOSS_REGISTRY
from torch import nn

from dcpt_common import NotNegative


@LOSS_REGISTRY.register()
class FrequencyL1Loss(nn.Module):
    """Mean absolute difference of the pixels, and of their two-dimensional Fourier transforms.

    What blur takes away is spread over all pixels and lies in few frequencies, where the second term sees it (Cho et
    al., "Rethinking Coarse-to-Fine Approach in Single Image Deblurring" (MIMO-UNet), ICCV 2021, Eq. 7 and 8). The
    transform is orthonormal, so that both terms have the same unit whatever the size of the image.

    Args:
        loss_weight: Factor of the result.
        frequency_weight: Share of the second term; MIMO-UNet has 0.1 of a transform that is not orthonormal.
    """

    def __init__(self, loss_weight: NotNegative = 1.0, frequency_weight: NotNegative = 0.5) -> None:
        super().__init__()
        self.loss_weight, self.frequency_weight = loss_weight, frequency_weight

    def forward(self, restored: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Compare images.

        Args:
            restored: N x C x H x W in [0, 1].
            target: Likewise.

        Returns:
            A scalar; 0 for perfect images.
        """
        difference = (restored - target).float()
        spectrum = torch.view_as_real(torch.fft.rfft2(difference.contiguous(), norm="ortho"))
        return self.loss_weight * (difference.abs().mean() + self.frequency_weight * spectrum.abs().mean())
