"""Fixtures that several test files share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data

from dcpt_data.images import write_image
from dcpt_data.photographs import TEST, load


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
