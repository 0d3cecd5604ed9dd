"""What all tests of networks and their checkpoints share."""

import pytest
import torch


@pytest.fixture(autouse=True)
def nothing_allowed():
    """What dcpt_mmengine lets torch.load read, in this process, is not read here."""
    before = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    yield
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(before)
