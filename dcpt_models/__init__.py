"""Models and losses. Importing this package registers all of them in basicsr's registries."""

import dcpt_compat  # noqa: F401 - mends basicsr before anything of it is imported
from dcpt_models.dc_guided_model import DCGuidedModel
from dcpt_models.dc_train_model import DCTrainModel
from dcpt_models.dcpt_model import DCPTModel
from dcpt_models.focal_loss import BinaryFocalLoss, FocalLoss
from dcpt_models.frequency_loss import FrequencyL1Loss
from dcpt_models.masked_dcpt_model import MaskedDCPTModel
from dcpt_models.multi_label_dcpt_model import MultiLabelDCPTModel
from dcpt_models.option_files import OptionError
from dcpt_models.psnr_loss import PSNRLoss
from dcpt_models.restoration_model import RestorationModel

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
]
