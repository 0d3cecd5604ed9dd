"""The front-end for mmengine: methods, data and metrics of this project under its Runner. Importing it registers all.

In a config: `custom_imports = dict(imports=["dcpt_mmengine"], allow_failed_imports=False)`; see docs/MMENGINE.md. No
other package of this project imports mmengine or mmcv.
"""

import dcpt_arch  # noqa: F401 - registers networks
import dcpt_data  # noqa: F401 - registers data sets
import dcpt_mmengine.repairs  # noqa: F401 - before anything of mmengine is used
import dcpt_models  # noqa: F401 - registers methods and losses
from dcpt_mmengine.loop import MethodLoop
from dcpt_mmengine.metrics import ImageMetric
from dcpt_mmengine.model import MethodModel
from dcpt_mmengine.optimizers import MethodOptimizers
from dcpt_mmengine.pipeline_dataset import PipelineDataset
from dcpt_mmengine.samplers import ShuffledStream
from dcpt_mmengine.transforms import CropSquare, Degrade, PackPair

__all__ = [
    "CropSquare",
    "Degrade",
    "ImageMetric",
    "MethodLoop",
    "MethodModel",
    "MethodOptimizers",
    "PackPair",
    "PipelineDataset",
    "ShuffledStream",
]
