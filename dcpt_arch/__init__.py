"""Networks. Importing this package registers all of them in basicsr's ARCH_REGISTRY."""

import dcpt_compat  # noqa: F401 - mends basicsr before anything of it is imported
from dcpt_arch.backbone import FeatureInfo, RestorationBackbone
from dcpt_arch.classifier_arch import DegradationClassifier
from dcpt_arch.mamba_classifier_arch import VimDegradationClassifier
from dcpt_arch.nafnet_arch import NAFNet
from dcpt_arch.promptir_arch import PromptIR
from dcpt_arch.restormer_arch import Restormer
from dcpt_arch.swinir_arch import DCPTSwinIR
from dcpt_arch.vit_classifier_arch import ViTDegradationClassifier

__all__ = [
    "DCPTSwinIR",
    "DegradationClassifier",
    "FeatureInfo",
    "NAFNet",
    "PromptIR",
    "RestorationBackbone",
    "Restormer",
    "ViTDegradationClassifier",
    "VimDegradationClassifier",
]
