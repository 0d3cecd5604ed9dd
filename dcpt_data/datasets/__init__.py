"""Data sets and their loaders, from the `datasets` section of an option file. They import all but `preparation`."""

from dcpt_data.datasets.degradation_dataset import DegradationDataset
from dcpt_data.datasets.loading import build_train_loader, build_val_loaders, check_folders
from dcpt_data.datasets.mixture_dataset import DegradationMixtureDataset

__all__ = [
    "DegradationDataset",
    "DegradationMixtureDataset",
    "build_train_loader",
    "build_val_loaders",
    "check_folders",
]
