"""The focal losses of degradation classification: for images with one degradation, and for those with several."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from basicsr.utils.registry import LOSS_REGISTRY
from torch import nn

from dcpt_common import NotNegative


class _Focal(nn.Module):
    """Cross-entropy -log p weighted by (1 - p)^gamma, of any kind of target (Lin et al., ICCV 2017, Eq. 4)."""

    def __init__(self, gamma: NotNegative = 2.0, loss_weight: NotNegative = 1.0) -> None:
        super().__init__()
        if gamma < 0:
            raise ValueError(f"gamma must be 0 or more, not {gamma}")
        self.gamma, self.loss_weight = gamma, loss_weight

    def focus(self, log_p: torch.Tensor) -> torch.Tensor:
        """The weighted mean over all entries of `log_p`, the logarithms of the probabilities of what is true."""
        # The slope of x^gamma is infinite at 0 for gamma below 1; what is certain has none.
        missing = (1 - log_p.exp()).clamp_min(1e-12)
        return self.loss_weight * (missing**self.gamma * -log_p).mean()


@LOSS_REGISTRY.register()
class FocalLoss(_Focal):
    """Cross-entropy with well-classified samples weighed down by (1 - p)^gamma (Lin et al., ICCV 2017; DCPT, Eq. 3).

    Args:
        gamma: How strongly; 0 is plain cross-entropy.
        loss_weight: Factor of the result; lambda in DCPT's overall losses (Eq. 4 and 5).

    Raises:
        ValueError: If `gamma` is negative.
    """

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Mean loss of a batch.

        Args:
            logits: N x classes.
            target: Class indices, N.

        Returns:
            A scalar.
        """
        return self.focus(F.log_softmax(logits.float(), dim=1).gather(1, target[:, None])[:, 0])


@LOSS_REGISTRY.register()
class BinaryFocalLoss(_Focal):
    """The focal loss of a yes or no for each class, for images that have several degradations at once.

    A class that is there counts with its probability sigmoid(logit), one that is not with 1 - sigmoid(logit); the mean
    is over classes and images (Lin et al., ICCV 2017, Eq. 4, without its alpha).

    Args:
        gamma: How strongly what is well classified is weighed down; 0 is plain binary cross-entropy.
        loss_weight: Factor of the result; lambda in DCPT's overall loss (Eq. 4).

    Raises:
        ValueError: If `gamma` is negative.
    """

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Mean loss of a batch.

        Args:
            logits: N x classes.
            target: 1 where an image has the degradation, 0 where not; N x classes.

        Returns:
            A scalar.
        """
        return self.focus(-F.binary_cross_entropy_with_logits(logits.float(), target, reduction="none"))
