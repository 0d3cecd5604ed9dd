"""Losses: registered in the engine's LOSS_REGISTRY when this folder is scanned. They import nothing of ours."""

import sys

import dcpt_compat  # noqa: F401 - fixes basicsr before anything of it is imported
from dcpt_common import import_modules
from dcpt_models.losses.dcpt_steps import dcpt_loss_steps
from dcpt_models.losses.focal_loss import BinaryFocalLoss, FocalLoss
from dcpt_models.losses.frequency_loss import FrequencyL1Loss
from dcpt_models.losses.psnr_loss import PSNRLoss

import_modules(sys.modules[__name__])

__all__ = ["BinaryFocalLoss", "FocalLoss", "FrequencyL1Loss", "PSNRLoss", "dcpt_loss_steps"]
