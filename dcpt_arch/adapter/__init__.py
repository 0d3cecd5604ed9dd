"""Networks that were not written for this package, as backbones of it. It imports `backbones` and `layers`."""

import dcpt_compat  # noqa: F401 - fixes basicsr before anything of it is imported
from dcpt_arch.adapter.any_backbone import AnyBackbone

__all__ = ["AnyBackbone"]
