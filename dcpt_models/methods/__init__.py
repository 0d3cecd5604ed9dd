"""Methods of training: one file each, registered when this folder is scanned."""

import sys

import dcpt_compat  # noqa: F401 - fixes basicsr before anything of it is imported
from dcpt_common import import_modules
from dcpt_models.methods.dc_guided_model import DCGuidedModel
from dcpt_models.methods.dc_train_model import DCTrainModel
from dcpt_models.methods.dcpt_model import DCPTModel
from dcpt_models.methods.masked_dcpt_model import MaskedDCPTModel
from dcpt_models.methods.multi_label_dcpt_model import MultiLabelDCPTModel
from dcpt_models.methods.restoration_model import RestorationModel

import_modules(sys.modules[__name__])

__all__ = [
    "DCGuidedModel",
    "DCPTModel",
    "DCTrainModel",
    "MaskedDCPTModel",
    "MultiLabelDCPTModel",
    "RestorationModel",
]
