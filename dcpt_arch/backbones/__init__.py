"""Restoration backbones: one file each, registered when this folder is scanned. They import `layers` alone."""

import sys

import dcpt_compat  # noqa: F401 - fixes basicsr before anything of it is imported
from dcpt_arch.backbones.adair_arch import AdaIR
from dcpt_arch.backbones.base import FeatureInfo, RestorationBackbone
from dcpt_arch.backbones.nafnet_arch import NAFNet
from dcpt_arch.backbones.promptir_arch import PromptIR
from dcpt_arch.backbones.restormer_arch import Restormer
from dcpt_arch.backbones.swinir_arch import DCPTSwinIR
from dcpt_arch.backbones.xrestormer_arch import XRestormer
from dcpt_common import import_modules

import_modules(sys.modules[__name__])

__all__ = [
    "AdaIR",
    "DCPTSwinIR",
    "FeatureInfo",
    "NAFNet",
    "PromptIR",
    "RestorationBackbone",
    "Restormer",
    "XRestormer",
]
