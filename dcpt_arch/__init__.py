"""Networks. Importing this package registers all of them in basicsr's ARCH_REGISTRY."""

import dcpt_compat  # noqa: F401 - mends basicsr before anything of it is imported
from dcpt_arch.backbone import FeatureInfo, RestorationBackbone
from dcpt_arch.classifier_arch import DegradationClassifier
from dcpt_arch.nafnet_arch import NAFNet
from dcpt_arch.promptir_arch import PromptIR

__all__ = ["DegradationClassifier", "FeatureInfo", "NAFNet", "PromptIR", "RestorationBackbone"]
