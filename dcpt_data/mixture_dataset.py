"""A training set made of several, each repeated so often that every degradation is seen enough."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import numpy as np
from basicsr.utils.registry import DATASET_REGISTRY
from torch.utils.data import Dataset

from dcpt_data.degradation_dataset import ImageSet, Sample
from dcpt_data.errors import DataError
from dcpt_data.options import LoaderOptions, ReadingOptions, SetOptions, pick
from dcpt_data.sampling import SampleKey


@dataclass(kw_only=True)
class PartOptions(SetOptions):
    """One part of a mixture: which images, and how often they come in one epoch of it."""

    repeat_ratio: int = 1


@DATASET_REGISTRY.register()
class DegradationMixtureDataset(Dataset):
    """The union of several sets of images (DCPT, Appendix B.1), with samples as `DegradationDataset` gives them.

    Two parts may have the same degradation; they are one class to the classifier. A repeated image is cropped, flipped
    and degraded anew each time.

    Args:
        opt: The data set's section of an option file; see `DegradationMixtureDataset.Options`.
    """

    @dataclass(kw_only=True)
    class Options(ReadingOptions, LoaderOptions):
        """Options of this data set: how all parts are read, and the parts by name."""

        datasets_root: str = "datasets"
        sets: dict[str, PartOptions] = field(default_factory=dict)

    def __init__(self, opt: dict[str, Any]) -> None:
        parts = self.image_sets(opt)
        if not parts:
            raise DataError(f"the mixture '{opt.get('name')}' has no `sets`")
        self.reading = ReadingOptions(**pick(ReadingOptions, opt))
        self.parts = [ImageSet(part, self.reading) for part in parts.values()]
        self.lengths = [
            len(images) * part.repeat_ratio for images, part in zip(self.parts, parts.values(), strict=True)
        ]
        self.ends = list(accumulate(self.lengths))

    @classmethod
    def image_sets(cls, opt: dict[str, Any]) -> dict[str, PartOptions]:
        """The sets of images that an option file's section asks for, by name, without opening them."""
        parts = {}
        for name, part in opt.get("sets", {}).items():
            part = {"datasets_root": opt.get("datasets_root", "datasets"), **part}
            if part.get("repeat_ratio", 1) < 1:
                raise DataError(f"repeat_ratio of '{name}' must be 1 or more, not {part['repeat_ratio']}")
            parts[name] = PartOptions(**part)
        return parts

    def counts(self) -> dict[str, int]:
        """Samples of one epoch, by degradation."""
        counts: Counter[str] = Counter()
        for images, length in zip(self.parts, self.lengths, strict=True):
            counts[images.degradation] += length
        return dict(counts)

    def __len__(self) -> int:
        return self.ends[-1]

    def __getitem__(self, key: int | SampleKey) -> Sample:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        part = bisect_right(self.ends, index)
        images = self.parts[part]
        within = (index - (self.ends[part] - self.lengths[part])) % len(images)
        return images.sample(within, np.random.default_rng([self.reading.seed, epoch, index]))
