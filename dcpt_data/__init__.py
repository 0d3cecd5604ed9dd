"""Data sets. Importing this package registers all of them in basicsr's DATASET_REGISTRY."""

import dcpt_compat  # noqa: F401 - mends basicsr before anything of it is imported
from dcpt_data.degradation_dataset import DegradationDataset
from dcpt_data.errors import DataError
from dcpt_data.loading import build_train_loader, build_val_loaders, check_folders
from dcpt_data.mixture_dataset import DegradationMixtureDataset

__all__ = [
    "DataError",
    "DegradationDataset",
    "DegradationMixtureDataset",
    "build_train_loader",
    "build_val_loaders",
    "check_folders",
]
