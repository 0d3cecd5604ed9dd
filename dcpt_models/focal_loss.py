"""The focal loss of degradation classification."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from basicsr.utils.registry import LOSS_REGISTRY
from torch import nn


@LOSS_REGISTRY.register()
class FocalLoss(nn.Module):
    """Cross-entropy with well-classified samples weighed down by (1 - p)^gamma (Lin et al., ICCV 2017; DCPT, Eq. 3).

    Args:
        gamma: How strongly; 0 is plain cross-entropy.
        loss_weight: Factor of the result; lambda in DCPT's overall loss (Eq. 4).

    Raises:
        ValueError: If `gamma` is negative.
    """

    def __init__(self, gamma: float = 2.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        if gamma < 0:
            raise ValueError(f"gamma must be 0 or more, not {gamma}")
        self.gamma, self.loss_weight = gamma, loss_weight

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Mean loss of a batch.

        Args:
            logits: N x classes.
            target: Class indices, N.

        Returns:
            A scalar.
        """
        log_p = F.log_softmax(logits.float(), dim=1).gather(1, target[:, None])[:, 0]
        return self.loss_weight * ((1 - log_p.exp()) ** self.gamma * -log_p).mean()
