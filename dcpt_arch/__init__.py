"""Networks. Importing this package registers all of them in basicsr's ARCH_REGISTRY."""

import dcpt_compat  # noqa: F401 - fixes basicsr before anything of it is imported
from dcpt_arch.adapter import AnyBackbone
from dcpt_arch.backbones import (
    AdaIR,
    DCPTSwinIR,
    FeatureInfo,
    NAFNet,
    PromptIR,
    RestorationBackbone,
    Restormer,
    XRestormer,
)
from dcpt_arch.checkpoints.others import SpandrelNetwork
from dcpt_arch.classifiers import DegradationClassifier, VimDegradationClassifier, ViTDegradationClassifier

__all__ = [
    "AdaIR",
    "AnyBackbone",
    "DCPTSwinIR",
    "DegradationClassifier",
    "FeatureInfo",
    "NAFNet",
    "PromptIR",
    "RestorationBackbone",
    "Restormer",
    "SpandrelNetwork",
    "ViTDegradationClassifier",
    "VimDegradationClassifier",
    "XRestormer",
]
