"""Restoration and classification learned together, without pre-training: "DC-Train" of the ablation (Section 4.6)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from basicsr.utils.registry import MODEL_REGISTRY

from dcpt_models.methods.base_model import Losses
from dcpt_models.methods.classifying_model import ClassifyingModel, ClassifyingTrainOptions


@dataclass(kw_only=True)
class DCTrainTrainOptions(ClassifyingTrainOptions):
    """The `train` section of `DCTrainModel`.

    Attributes:
        optim_dc: Optimiser of the classifier.
    """

    optim_dc: dict[str, Any]


@MODEL_REGISTRY.register()
class DCTrainModel(ClassifyingModel):
    """Trains `net_g` to restore, and with the classifier `net_dc` to tell the degradation of what it restores.

    One pass of the degraded image gives both the restored image (L_pix, against gt) and the features that are
    classified (L_cls). An iteration makes one update of the sum, in which every parameter of both networks has a part.
    """

    TrainOptions: ClassVar[type] = DCTrainTrainOptions

    def network_input(self) -> torch.Tensor:
        """What `net_g` is given while training, N x C x H x W."""
        return self.lq

    def loss_steps(self) -> Iterator[Losses]:
        restored, features = self.net_g(self.network_input(), features="also")
        yield {"l_pix": self.cri_pix(restored, self.gt), **self.cls_losses(self.net_dc(features))}
