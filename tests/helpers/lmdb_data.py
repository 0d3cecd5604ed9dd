"""Small sets of images and LMDBs of them, for the tests of LMDBs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dcpt_data.datasets.locating import locate, open_images
from dcpt_data.datasets.options import SetOptions
from dcpt_data.images.pixels import write_image
from dcpt_data.preparation.lmdb_creation import create_lmdb
from dcpt_data.preparation.lmdb_plans import plan_for_basicsr, plan_lmdb

SIZE = 32


def write_pairs(folder: Path, images: dict[str, np.ndarray]) -> SetOptions:
    """Write `gt/NAME.png` and, darker, `lq/NAME.png`; returns the options of the set."""
    for name, image in images.items():
        for side, pixels in (("gt", image), ("lq", image // 2)):
            path = folder / side / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(path, pixels)
    return SetOptions(degradation="rain", dataroot_gt=str(folder / "gt"), dataroot_lq=str(folder / "lq"))


def plan(options: SetOptions, out: Path, form="raw"):
    """The plan of an LMDB."""
    images = locate(options)
    return plan_lmdb(images, open_images(images), form, out)


def make(options: SetOptions, out: Path, form="raw", **arguments) -> Path:
    """Make an LMDB of a set of images."""
    create_lmdb(plan(options, out, form), **arguments)
    return out


def make_for_basicsr(options: SetOptions, out: Path, form="original") -> list[Path]:
    """Make LMDBs that BasicSR reads, of ground truth and degraded images."""
    images = locate(options)
    plans = plan_for_basicsr(images, open_images(images), form, out)
    for one in plans:
        create_lmdb(one)
    return [one.out for one in plans]


def section(phase="train", **options):
    """A data set's section of an option file."""
    return {"name": "tiny", "type": "DegradationDataset", "phase": phase, "scale": 1, "gt_size": SIZE, **options}
