"""Testing: a model from an option file, its results, and how they were obtained."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from basicsr.models import build_model

from dcpt_models.base_model import DegradationModel
from dcpt_models.logs import start_logger
from dcpt_models.validation import Results


def start_test(opt: dict[str, Any]) -> Path:
    """Make the folder of results and start the log; returns the folder."""
    folder = Path(opt["path"]["results_root"])
    folder.mkdir(parents=True, exist_ok=True)
    start_logger(folder / f"test_{opt['name']}.log", opt["rank"])
    return folder


def evaluate(opt: dict[str, Any], loaders: list[Any]) -> Results:
    """Evaluate the model of a test option file.

    Args:
        opt: Completed options for testing.
        loaders: One for each test set.

    Returns:
        Set -> metric -> value, and the plain mean under "average".
    """
    model: DegradationModel = build_model(opt)
    return model.validate(loaders, "test", None, opt["val"]["save_img"])


def protocol(opt: dict[str, Any]) -> dict[str, str]:
    """How the results were obtained, in words a reader of a table needs."""
    val = opt["val"]
    luma = {metric: values.get("test_y_channel", False) for metric, values in val["metrics"].items()}
    borders = sorted({values.get("crop_border", 0) for values in val["metrics"].values()})
    path = Path(opt["path"]["pretrain_network_g"])
    return {
        "colour": ", ".join(f"{metric} on {'Y' if y else 'RGB'}" for metric, y in luma.items()) or "-",
        "range": "rounded to 8 bit" if val["rounded"] else "floats, not rounded",
        "border": f"{', '.join(map(str, borders)) or 0} pixels cropped",
        "padding": "reflected to the network's size multiple, cropped back",
        "noise": "of one sigma: NumPy's legacy generator, seed 0 for every image, not clipped unless asked for",
        "weights": f"{path.name}, sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}",
    }
