"""Degradation classifiers, which read a backbone's features. They import `layers` and the backbones' contract."""

import sys

import dcpt_compat  # noqa: F401 - fixes basicsr before anything of it is imported
from dcpt_arch.classifiers.classifier_arch import DegradationClassifier
from dcpt_arch.classifiers.mamba_classifier_arch import VimDegradationClassifier
from dcpt_arch.classifiers.vit_classifier_arch import ViTDegradationClassifier
from dcpt_common import import_modules

import_modules(sys.modules[__name__])

__all__ = ["DegradationClassifier", "ViTDegradationClassifier", "VimDegradationClassifier"]
