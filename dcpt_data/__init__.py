"""Data sets. Importing this package registers all of them in basicsr's DATASET_REGISTRY."""

import dcpt_compat  # noqa: F401 - fixes basicsr before anything of it is imported
from dcpt_data.datasets import (
    DegradationDataset,
    DegradationMixtureDataset,
    build_train_loader,
    build_val_loaders,
    check_folders,
)
from dcpt_data.errors import DataError

__all__ = [
    "DataError",
    "DegradationDataset",
    "DegradationMixtureDataset",
    "build_train_loader",
    "build_val_loaders",
    "check_folders",
]
