"""Training data that come slowly until they are let go, so that tests have the time to disturb a run."""

from __future__ import annotations

from pathlib import Path

SLOW = """
import time
from pathlib import Path
from basicsr.utils.registry import DATASET_REGISTRY
from dcpt_data import DegradationMixtureDataset

GO = Path(__file__).with_name("go")

@DATASET_REGISTRY.register()
class SlowDataset(DegradationMixtureDataset):
    def __getitem__(self, key):
        for _ in range(5):
            if not GO.exists():
                time.sleep(0.05)
        return super().__getitem__(key)
"""


class SlowData:
    """A data set of its own, in a file to `--import`; it is a mixture of which each sample takes a quarter of a second.

    Attributes:
        file: What to import.
    """

    TYPE = "SlowDataset"

    def __init__(self, folder: Path) -> None:
        self.file = folder / "slow_set.py"
        self.file.write_text(SLOW)

    def go(self) -> None:
        """Let all samples come at once from now on."""
        self.file.with_name("go").touch()
