"""A training set made of several, each repeated to balance the degradations."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Literal

import numpy as np
from basicsr.utils.registry import DATASET_REGISTRY
from torch.utils.data import Dataset

from dcpt_common import Count
from dcpt_data.datasets.degradation_dataset import ImageSet, Sample
from dcpt_data.datasets.options import LoaderOptions, ReadingOptions, SetOptions, pick
from dcpt_data.datasets.sampling import PlainKeys, SampleKey
from dcpt_data.errors import DataError


@dataclass(kw_only=True)
class PartOptions(SetOptions):
    """One part of a mixture: which images, and how often they come in one epoch of it."""

    repeat_ratio: Count = 1


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
        """Options of this data set: how all parts are read, and the parts by name.

        Attributes:
            datasets_root: Folder that sources lie in.
            sets: The parts.
            sampling: "natural" visits every part `repeat_ratio` times an epoch; "balanced" repeats the degradations
                further, until each has as many samples as the most frequent one.
        """

        datasets_root: str = "datasets"
        sampling: Literal["natural", "balanced"] = "natural"
        sets: dict[str, PartOptions] = field(default_factory=dict)

    def __init__(self, opt: dict[str, Any]) -> None:
        parts = self.image_sets(opt)
        if not parts:
            raise DataError(f"the mixture '{opt.get('name')}' has no `sets`")
        self.opt = opt
        self.keys = PlainKeys()
        self.reading = ReadingOptions(**pick(ReadingOptions, opt))
        self.parts = [ImageSet(part, self.reading) for part in parts.values()]
        self.lengths = [
            len(images) * part.repeat_ratio for images, part in zip(self.parts, parts.values(), strict=True)
        ]
        self.classes = _by_degradation(self.parts)
        self.balanced = opt.get("sampling", "natural") == "balanced"

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
        counts = {name: sum(self.lengths[part] for part in parts) for name, parts in self.classes.items()}
        return dict.fromkeys(counts, max(counts.values())) if self.balanced else counts

    def __len__(self) -> int:
        return sum(self.counts().values())

    def __getitem__(self, key: int | SampleKey) -> Sample:
        epoch, index, *crop = self.keys(key)
        part, within = self._locate(index)
        return self.parts[part].sample(within, np.random.default_rng([self.reading.seed, epoch, index]), *crop)

    def _locate(self, index: int) -> tuple[int, int]:
        """Which part a sample is of, and which image of it."""
        parts: Sequence[int] = range(len(self.parts))
        if self.balanced:
            turn, which = divmod(index, len(self.classes))
            parts = list(self.classes.values())[which]
            index = turn % sum(self.lengths[part] for part in parts)
        ends = list(accumulate(self.lengths[part] for part in parts))
        found = bisect_right(ends, index)
        part = parts[found]
        return part, (index - (ends[found] - self.lengths[part])) % len(self.parts[part])


def _by_degradation(parts: list[ImageSet]) -> dict[str, list[int]]:
    """Degradation -> the parts that have it."""
    classes: dict[str, list[int]] = {}
    for index, images in enumerate(parts):
        classes.setdefault(images.degradation, []).append(index)
    return classes
