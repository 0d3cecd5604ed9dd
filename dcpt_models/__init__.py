"""Models and losses. Importing this package registers all of them in basicsr's registries."""

import dcpt_compat  # noqa: F401 - fixes basicsr before anything of it is imported
from dcpt_models.errors import OptionError
from dcpt_models.losses import BinaryFocalLoss, FocalLoss, FrequencyL1Loss, PSNRLoss, dcpt_loss_steps
from dcpt_models.methods import (
    DCGuidedModel,
    DCPTModel,
    DCTrainModel,
    MaskedDCPTModel,
    MultiLabelDCPTModel,
    RestorationModel,
)

__all__ = [
    "BinaryFocalLoss",
    "DCGuidedModel",
    "DCPTModel",
    "DCTrainModel",
    "FocalLoss",
    "FrequencyL1Loss",
    "MaskedDCPTModel",
    "MultiLabelDCPTModel",
    "OptionError",
    "PSNRLoss",
    "RestorationModel",
    "dcpt_loss_steps",
]
