"""Data sets of BasicSR's own in our loaders: samples that depend on (seed, epoch, index), with a name and a class."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from basicsr.data import build_dataset
from torch.utils.data import Dataset

from dcpt_data.datasets.sampling import PlainKeys, SampleKey
from dcpt_data.errors import DataError

Sample = dict[str, Any]


@contextmanager
def global_generators(*key: int) -> Iterator[None]:
    """Seed the global generators of Python and NumPy with whole numbers, and put back what they were.

    For code of others that draws from them: what it draws depends on the key alone.
    """
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    seed = np.random.SeedSequence(key).generate_state(2)
    random.seed(int(seed[0]))
    np.random.seed(int(seed[1]))  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002


class EngineDataset(Dataset):
    """A registered data set that knows nothing of this package, such as `PairedImageDataset`.

    Its crops and flips are drawn from the global generators of Python and NumPy, which are seeded here for each sample,
    so that a run can be resumed exactly and does not depend on the number of workers.

    Args:
        opt: The data set's section, as BasicSR's data sets take it; and `degradation`, the class of its images, for
            methods that classify, and `seed`.

    Raises:
        DataError: If the data set refuses its options.
    """

    def __init__(self, opt: dict[str, Any]) -> None:
        self.opt = opt
        self.keys = PlainKeys()
        try:
            self.inner: Any = build_dataset({"io_backend": {"type": "disk"}, **opt})
        except (KeyError, AssertionError, OSError, ZeroDivisionError) as error:
            missing = f"'{error.args[0]}' is missing" if isinstance(error, KeyError) else None
            what = missing or str(error) or type(error).__name__
            raise DataError(f"data set '{opt.get('name')}': {opt['type']} refuses its options: {what}") from error
        paths = getattr(self.inner, "paths", None)
        if isinstance(paths, list):  # in the order of the file system, which another machine has otherwise
            paths.sort(key=lambda place: str(place.get("lq_path", place) if isinstance(place, dict) else place))
        if not len(self.inner):
            raise DataError(f"data set '{opt.get('name')}': {opt['type']} finds no images")

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, key: int | SampleKey) -> Sample:
        epoch, index = self.keys(key)[:2]
        try:
            with global_generators(self.opt.get("seed", 0), epoch, index):
                sample: Sample = self.inner[index]
        except DataError:
            raise
        except Exception as error:  # an unreadable file is an AttributeError or TypeError there
            place = getattr(self.inner, "paths", [{}] * len(self))[index]
            named = place.get("lq_path", index) if isinstance(place, dict) else place
            raise DataError(f"data set '{self.opt.get('name')}': {named} cannot be read ({error})") from error
        if "lq" not in sample or "gt" not in sample:
            has = ", ".join(sample)
            raise DataError(f"data set '{self.opt.get('name')}': {self.opt['type']} gives {has}; lq and gt are needed")
        if sample["lq"].shape != sample["gt"].shape:
            sizes = " and ".join("x".join(map(str, sample[side].shape[:0:-1])) for side in ("lq", "gt"))
            raise DataError(f"{sample.get('lq_path')}: lq and gt are {sizes}; networks here keep the size (scale: 1)")
        return {
            **{side: torch.as_tensor(sample[side]) for side in ("lq", "gt")},
            "degradation": self.opt.get("degradation", self.opt.get("name", "?")),
            "name": Path(str(sample.get("lq_path", index))).stem,
            "lq_path": str(sample.get("lq_path", index)),
            "gt_path": str(sample.get("gt_path", index)),
        }
