"""DCPT for composite degradations, whose label is the set of their parts (future work of the paper)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from basicsr.utils.registry import MODEL_REGISTRY

from dcpt_models.methods.dcpt_model import DCPTModel, DCPTTrainOptions


@dataclass(kw_only=True)
class MultiLabelDCPTTrainOptions(DCPTTrainOptions):
    """The `train` section of `MultiLabelDCPTModel`.

    Attributes:
        cls_opt: The classification loss, between logits and N x classes of 0 and 1; its `loss_weight` is lambda of
            Eq. 4. By default the binary focal loss with gamma 2 and lambda 1.
    """

    cls_opt: dict[str, Any] = field(default_factory=lambda: {"type": "BinaryFocalLoss"})


@MODEL_REGISTRY.register()
class MultiLabelDCPTModel(DCPTModel):
    """`DCPTModel` for images with several degradations: the classifier says yes or no to each class by itself.

    The option file's `degradations` are the parts; the data's are names such as `low_light+haze+rain`.

    The accuracy that is logged and validated counts an image as right if all of its classes are (exact match; yes where
    the logit is above 0). Validation also gives the average precision of each class and their mean, which need no
    threshold, over the images of all sets together.
    """

    TrainOptions: ClassVar[type] = MultiLabelDCPTTrainOptions
    multi_label: ClassVar[bool] = True

    def target(self) -> torch.Tensor:
        return self.multi_hot()

    def rightly_classified(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return ((logits > 0) == target.bool()).all(1)
