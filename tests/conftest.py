"""Fixtures that several test files share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from commands import Commands

from dcpt_data.images.pixels import write_image
from dcpt_data.images.sample_photographs import TEST, load

# Tests run in several processes, each of which starts others; all of them computing on all cores would make every one
# wait for the others most of the time.
os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two small photographs, to be read only."""
    folder = tmp_path_factory.mktemp("photographs")
    for name, photograph in TEST.items():
        write_image(folder / f"{name}.png", load(photograph)[100:196, 100:212])
    return folder


@pytest.fixture(scope="session")
def crops() -> dict[str, np.ndarray]:
    """Six small crops of photographs (H x W x 3, RGB, uint8) that differ in content; do not write into them."""
    astronaut, chelsea, coffee, rocket = (
        getattr(skimage.data, name)() for name in ("astronaut", "chelsea", "coffee", "rocket")
    )
    return {
        "cat": chelsea[80:152, 150:246],
        "cup": coffee[100:172, 200:296],
        "face": astronaut[60:132, 180:276],
        "spoon": coffee[250:322, 380:476],
        "suit": astronaut[300:372, 100:196],
        "tower": rocket[200:272, 280:376],
    }


@pytest.fixture(scope="session")
def crop_folder(crops: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The crops as PNG files, to be read only."""
    folder = tmp_path_factory.mktemp("crops")
    for name, image in crops.items():
        write_image(folder / f"{name}.png", image)
    return folder


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    """Starts commands as a user would, in processes of their own."""
    started = Commands(tmp_path_factory.mktemp("commands"))
    yield started
    started.close()
