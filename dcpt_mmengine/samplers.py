"""Data sets and the order of samples, for the loops and loaders of mmengine itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from basicsr.utils.registry import DATASET_REGISTRY
from mmengine.dist import get_dist_info
from torch.utils.data import Sampler

from dcpt_data.datasets.loading import open_dataset
from dcpt_data.datasets.sampling import SampleKey, ShuffledBatches
from dcpt_mmengine.registries import DATA_SAMPLERS, DATASETS, of_engine


@DATA_SAMPLERS.register_module()
class ShuffledStream(Sampler[SampleKey]):
    """The endless stream of samples that this project trains on, one key (epoch, index) after the other.

    Processes take turns: of every `world_size` samples each reads one.

    Args:
        dataset: The data set.
        seed: Of the order.
        start: Samples that all processes together have read already.
    """

    def __init__(self, dataset: Any, seed: int | None = None, start: int = 0) -> None:
        self.rank, self.world_size = get_dist_info()
        self.dataset, self.seed, self.start = dataset, seed or 0, start

    def __iter__(self) -> Iterator[SampleKey]:
        first = self.start // self.world_size
        for (key,) in ShuffledBatches(len(self.dataset), 1, self.seed, self.rank, self.world_size, first):
            yield key

    def __len__(self) -> int:
        return len(self.dataset)


def _dataset(name: str, kind: Any) -> Any:
    """A data set by keyword arguments, which are those of its section in an option file."""

    def build(**section: Any) -> Any:
        return open_dataset({"phase": "train", "scale": 1, "name": name, **section, "type": name})

    build.__name__, build.__doc__ = name, kind.__doc__
    return build


DATASETS.sources.append(of_engine(DATASET_REGISTRY, _dataset))
