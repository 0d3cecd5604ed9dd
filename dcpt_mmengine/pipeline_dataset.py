"""Photographs of a folder through a pipeline of mmcv's transforms, as a data set of this project."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from basicsr.utils.registry import DATASET_REGISTRY
from mmcv.transforms import Compose
from torch.utils.data import Dataset

from dcpt_common import Seed
from dcpt_data.datasets.engine_dataset import global_generators
from dcpt_data.datasets.options import LoaderOptions
from dcpt_data.datasets.sampling import PlainKeys, SampleKey
from dcpt_data.errors import DataError
from dcpt_data.images.pixels import list_images

Sample = dict[str, Any]
NEEDED = ("lq", "gt", "degradation")


@DATASET_REGISTRY.register()
class PipelineDataset(Dataset):
    """Photographs of a folder, each through a pipeline that ends in `PackPair`.

    The pipeline begins with `img_path`, `sample_idx` and `epoch`. mmcv's own transforms draw from NumPy's global
    generator, which is seeded for each sample and put back: a sample depends on (seed, epoch, index) alone.

    Args:
        opt: The data set's section; see `PipelineDataset.Options`.

    Raises:
        DataError: If the folder has no images, or the pipeline cannot be built or gives no training sample.
    """

    @dataclass(kw_only=True)
    class Options(LoaderOptions):
        """Options of this data set.

        Attributes:
            dataroot_gt: Folder of clean photographs, searched through.
            pipeline: Transforms of mmcv or of one's own, in order.
            name: In logs.
            phase: As BasicSR has it.
            scale: Likewise; always 1.
            seed: Of all randomness; the option file's `manual_seed` by default.
        """

        dataroot_gt: str
        pipeline: list[dict[str, Any]] = field(default_factory=list)
        name: str = ""
        phase: Literal["train", "val", "test"] = "train"
        scale: Literal[1] = 1
        seed: Seed = 0

    def __init__(self, opt: dict[str, Any]) -> None:
        self.opt, self.keys = opt, PlainKeys()
        self.files = [str(file) for file in list_images(Path(opt["dataroot_gt"]))]
        try:
            self.pipeline = Compose([dict(transform) for transform in opt["pipeline"]])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"data set '{opt.get('name')}': its pipeline cannot be built: {error}") from error

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, key: int | SampleKey) -> Sample:
        epoch, index = self.keys(key)[:2]
        place = self.files[index]
        with global_generators(self.opt.get("seed", 0), epoch, index):
            sample: Sample | None = self.pipeline({"img_path": place, "sample_idx": index, "epoch": epoch})
        if sample is None or any(name not in sample for name in NEEDED):
            has = "nothing" if sample is None else ", ".join(sample)
            raise DataError(f"{place}: the pipeline gives {has}; {', '.join(NEEDED)} are needed: end it in PackPair")
        return sample
