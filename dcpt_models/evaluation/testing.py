"""Testing: a model from an option file, its results, and how they were obtained."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import torch
from basicsr.models import build_model

import dcpt_arch
import dcpt_common
import dcpt_compat
import dcpt_models
from dcpt_arch.checkpoints.loading import CheckpointError
from dcpt_common import sha256
from dcpt_models.evaluation.per_image import PerImage, write_csv
from dcpt_models.methods.base_model import DegradationModel
from dcpt_models.runtime.logs import start_logger
from dcpt_models.validation.validate import Results

PER_IMAGE = "per_image.csv"


def start_test(opt: dict[str, Any]) -> Path:
    """Make the folder of results and start the log; returns the folder."""
    folder = Path(opt["path"]["results_root"])
    folder.mkdir(parents=True, exist_ok=True)
    start_logger(folder / f"test_{opt['name']}.log", opt["rank"])
    return folder


def evaluate(opt: dict[str, Any], loaders: list[Any], again: bool = False) -> Results:
    """Evaluate the model of a test option file; the values of every image go to per_image.csv.

    What an interrupted call has measured is kept in `measured/`, and used again if nothing that it depends on has
    changed.

    Args:
        opt: Completed options for testing.
        loaders: One for each test set.
        again: Whether every image is measured, whatever is known of it.

    Returns:
        Set -> metric -> value, and the plain mean under "average".
    """
    model: DegradationModel = build_model(opt)
    folder, logger = Path(opt["path"]["results_root"]), logging.getLogger("basicsr")
    records = PerImage(folder, identity(opt), opt["rank"], again)
    if records.known:
        logger.info(f"{len(records.known)} images of this evaluation were measured before; --again measures them anew")
    try:
        results = model.validate(loaders, "test", None, opt["val"]["save_img"], records)
    except KeyboardInterrupt:
        logger.info("Interrupted. What was measured is kept; the same command resumes from there")
        raise
    finally:
        records.close()
    if opt["rank"] == 0:
        write_csv(folder / PER_IMAGE, records.observed)
    return results


def weight_files(opt: dict[str, Any]) -> dict[str, Path]:
    """The checkpoints that an option file tests: key of `path` -> file.

    Raises:
        CheckpointError: If one is missing.
    """
    files = {key: Path(value) for key, value in opt["path"].items() if key.startswith("pretrain_network") and value}
    for key, file in files.items():
        if not file.is_file():
            raise CheckpointError(f"{file}: no such checkpoint file (path:{key})")
    return files


def identity(opt: dict[str, Any]) -> str:
    """A digest of all that the values of an image depend on, apart from the image."""
    path = opt["path"]
    depends = {
        "weights": {key: sha256(file) for key, file in weight_files(opt).items()},
        "loading": {
            key: path[key] for key in sorted(path) if key.startswith(("param_key", "strict_load", "pretrain_"))
        },
        "model": opt["model_type"],
        "networks": {key: opt[key] for key in sorted(opt) if key.startswith("network_")},
        "degradations": opt.get("degradations"),
        "train": opt.get("train"),
        "val": {key: opt["val"][key] for key in ("rounded", "measure_input", "metrics")},
        "code": _code_digest(),
        "torch": torch.__version__,
        "gpu": opt["num_gpu"] > 0,
    }
    return hashlib.sha256(json.dumps(depends, sort_keys=True, default=str).encode()).hexdigest()


# Sub-packages of dcpt_models whose code decides what is restored and measured; of dcpt_arch, all do.
MEASURING = ("methods", "metrics", "validation", "optim", "runtime")


def measuring_code() -> list[Path]:
    """The files of code that the values of an image depend on."""
    common, arch, models = (Path(str(module.__file__)).parent for module in (dcpt_common, dcpt_arch, dcpt_models))
    folders = [common, arch, *(models / room for room in MEASURING)]
    return [Path(dcpt_compat.__file__), *(file for folder in folders for file in sorted(folder.rglob("*.py")))]


@cache
def _code_digest() -> str:
    """A digest of the code that restores and measures."""
    digest = hashlib.sha256()
    for file in measuring_code():
        digest.update(file.read_bytes())
    return digest.hexdigest()


@cache
def source_version() -> str:
    """The commit of this code, and whether it was changed since; the version where it is no checkout."""
    root = Path(dcpt_compat.__file__).parent
    version = f"dcpt {importlib.metadata.version('dcpt')}"
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top) != root.resolve():
        return version
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    return f"{version}, commit {_git(root, 'rev-parse', 'HEAD')}{', with changes' if changed else ''}"


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def protocol(opt: dict[str, Any]) -> dict[str, str]:
    """How the results were obtained, in words a reader of a table needs."""
    val, path = opt["val"], opt["path"]
    luma = {metric: values.get("test_y_channel", False) for metric, values in val["metrics"].items()}
    borders = sorted({values.get("crop_border", 0) for values in val["metrics"].values()})
    files = weight_files(opt)
    keys = {key: path.get(key.replace("pretrain_network", "param_key")) or "averaged, if it has any" for key in files}
    device = torch.cuda.get_device_name() if opt["num_gpu"] else "CPU"
    return {
        "colour": ", ".join(f"{metric} on {'Y' if y else 'RGB'}" for metric, y in luma.items()) or "-",
        "range": "rounded to 8 bit" if val["rounded"] else "floats, not rounded",
        "border": f"{', '.join(map(str, borders)) or 0} pixels cropped",
        "padding": "reflected to the network's size multiple, cropped back",
        "seeds": "noise of one sigma from NumPy's legacy generator, seed 0 for every image; other synthesised "
        "degradations from a generator seeded by the image's name",
        "weights": ", ".join(f"{file} ({keys[key]})" for key, file in files.items()),
        "sha256": ", ".join(sha256(file) for file in files.values()),
        "code": source_version(),
        "run on": f"{device}, torch {torch.__version__}",
    }
