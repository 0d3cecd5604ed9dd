"""A short run of DCPT through `dcpt train`: whole, and killed and gone on with."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml

from dcpt_data.images.sample_photographs import TRAIN, write_photographs
from dcpt_tools.measuring.made_models import CLASSIFIER, DEGRADATIONS, NETWORK, OPTIMIZER
from dcpt_tools.measuring.session import Row, Session

# Iterations of the run, and after how many it saves.
LONG, SHORT = (400, 50), (6, 2)
ALLOWED = 0.05  # share by which the weights may differ: GPUs add up gradients in no fixed order
LARGEST = 192  # side of the photographs in pixels


def killed_and_resumed(session: Session) -> Iterator[Row]:
    """The same run twice; one is killed after its first checkpoint and started again with --auto_resume."""
    total, every = SHORT if session.small else LONG
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        write_photographs(folder / "photographs", TRAIN, LARGEST)
        begun = time.monotonic()
        _start(session, folder, "whole", total, every).communicate()
        yield {
            "what": f"a run of {total} iterations",
            "s": time.monotonic() - begun,
            "ok": _weights(folder, "whole") != {},
        }
        process = _start(session, folder, "killed", total, every)
        first = folder / "killed" / "training_states" / f"{every}.state"
        while process.poll() is None and not first.exists():
            time.sleep(0.01)
        killed = process.poll() is None
        process.kill()
        process.communicate()
        resumed = _start(session, folder, "killed", total, every)
        _, said = resumed.communicate()
        found, whole = _weights(folder, "killed"), _weights(folder, "whole")
        same = bool(whole) and found.keys() == whole.keys()
        largest = (
            max(((found[key] - whole[key]).norm() / (whole[key].norm() + 1e-6)).item() for key in whole)
            if same
            else None
        )
        yield {
            "what": "killed and resumed" if killed else "ended before it could be killed, started again",
            "difference": largest if largest is not None else "no weights",
            "allowed": ALLOWED,
            "to the bit": same and all(torch.equal(found[key], whole[key]) for key in whole),
            "ok": largest is not None and largest <= ALLOWED,
            **({} if resumed.returncode == 0 else {"said": said[-300:]}),
        }


def _start(session: Session, folder: Path, name: str, total: int, every: int) -> subprocess.Popen[str]:
    sets = {one: {"degradation": one, "dataroot_gt": str(folder / "photographs")} for one in DEGRADATIONS}
    loaded: dict[str, Any] = {"name": "mix", "type": "DegradationMixtureDataset", "sets": sets}
    values = {
        "name": name,
        "model_type": "DCPTModel",
        "num_gpu": "auto" if session.on_gpu else 0,
        "manual_seed": 0,
        "degradations": DEGRADATIONS,
        "datasets": {"train": {**loaded, "gt_size": 64, "batch_size_per_gpu": 4, "num_worker_per_gpu": 0}},
        "network_g": NETWORK,
        "network_dc": {**CLASSIFIER, "width": 16},
        "train": {"total_iter": total, "optim_g": OPTIMIZER, "optim_dc": OPTIMIZER},
        "logger": {"print_freq": every, "save_checkpoint_freq": every},
        "path": {"experiments_root": str(folder / name)},
    }
    file = folder / f"{name}.yml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    return launch(["train", "-opt", str(file), "--auto_resume"])


def launch(words: list[str]) -> subprocess.Popen[str]:
    """Start a command of `dcpt`."""
    root, nothing = Path(__file__).resolve().parents[2], subprocess.DEVNULL
    command = [sys.executable, "-m", "dcpt_tools", *words]
    return subprocess.Popen(command, cwd=root, stdin=nothing, stdout=nothing, stderr=subprocess.PIPE, text=True)


def _weights(folder: Path, name: str) -> dict[str, torch.Tensor]:
    file = folder / name / "models" / "net_g_latest.pth"
    if not file.exists():
        return {}
    found: dict[str, torch.Tensor] = torch.load(file, weights_only=True, map_location="cpu")["params"]
    return found
