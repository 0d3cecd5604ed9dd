"""What all tests of the front-end for mmengine share."""

import pytest


@pytest.fixture(autouse=True)
def _plain_configs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Configs are dumped as they are: to format one takes mmengine a second, and each Runner formats four."""
    monkeypatch.setattr("mmengine.config.config.FormatCode", lambda text, **style: (text, True))
