"""Fixtures that several test files share."""

from __future__ import annotations

from pathlib import Path

import pytest

from dcpt_data.images import write_image
from dcpt_data.photographs import TEST, load


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two small photographs, to be read only."""
    folder = tmp_path_factory.mktemp("photographs")
    for name, photograph in TEST.items():
        write_image(folder / f"{name}.png", load(photograph)[100:196, 100:212])
    return folder
