"""Makes basicsr 1.4.2 importable and correct on today's stack. Import this before basicsr.

Every entry point and every package of this project imports this module first. It changes nothing on disk, and
replaces nothing of what the installed basicsr or torchvision has already fixed. What basicsr does wrongly in its
training loop (epochs, resuming, saving, option files) is not patched here: `dcpt_models` has a loop of its own.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from pathlib import Path

from dcpt_common import MissingEngineError, wait_briefly

ENGINE = "basicsr==1.4.2"
INSTALL = f"python -m pip install {ENGINE}"
INSTALL_ON_313 = f"python3.12 -m pip wheel --no-deps {ENGINE} && python -m pip install basicsr-1.4.2-py3-none-any.whl"

wait_briefly()


def _require_engine() -> None:
    """Say how BasicSR is installed, where it is not.

    Raises:
        MissingEngineError: Saying so.
    """
    # From the repository's root, its folder of launchers has the same name; it is no module, and has no origin.
    found = sys.modules.get("basicsr") or importlib.util.find_spec("basicsr")
    if getattr(found, "origin", None) or getattr(found, "__file__", None):
        return
    if sys.version_info < (3, 13):
        raise MissingEngineError(f"{ENGINE} is not installed; install it by\n  {INSTALL}")
    raise MissingEngineError(
        f"{ENGINE} is not installed. It does not build on Python 3.13, where a wheel that an older Python has built is "
        f"as good; make and install it by\n  {INSTALL_ON_313}\n(without Python 3.12, `uvx --python 3.12 pip` does for "
        "`python3.12 -m pip`)"
    )


def _restore_functional_tensor() -> None:
    """Give back the module torchvision removed in 0.17, with the one name that basicsr.data.degradations imports."""
    name = "torchvision.transforms.functional_tensor"
    # A stand-in that another library put into sys.modules has no spec, for which find_spec raises.
    if name in sys.modules or importlib.util.find_spec(name) is not None:
        return
    from torchvision.transforms.functional import rgb_to_grayscale

    module = types.ModuleType(name, "Stand-in for a module that torchvision removed; made by dcpt_compat.")
    module.rgb_to_grayscale = rgb_to_grayscale  # type: ignore[attr-defined]
    sys.modules[name] = module


def _whole_jpeg_quality() -> None:
    """Hand OpenCV 5 a whole number as JPEG quality; basicsr.data.degradations draws a float, which it refuses."""
    from basicsr.data import degradations

    encode = degradations.add_jpg_compression
    if getattr(encode, "mended_by_dcpt", False):
        return

    def add_jpg_compression(img, quality=90):
        return encode(img, int(quality))

    add_jpg_compression.__doc__ = encode.__doc__
    add_jpg_compression.mended_by_dcpt = True  # type: ignore[attr-defined]
    degradations.add_jpg_compression = add_jpg_compression


def _silent_registry_lookup() -> None:
    """Stop Registry.get from printing to standard output, where `--json` promises one object and nothing else."""
    from basicsr.utils.registry import Registry

    def get(self, name, suffix="basicsr"):
        for key in (name, f"{name}_{suffix}"):
            if key in self._obj_map:
                return self._obj_map[key]
        raise KeyError(f"No object named '{name}' found in '{self._name}' registry!")

    Registry.get = get


def _resume_on_any_device() -> None:
    """Read a training state of `train_pipeline` without a GPU, by weights alone, and from the run's own folder.

    The engine asks the CUDA driver for a device, and looks below the current folder whatever folder it was given.
    """
    train = importlib.import_module("basicsr.train")

    if getattr(train.load_resume_state, "mended_by_dcpt", False):
        return

    def load_resume_state(opt):
        import torch

        if opt["auto_resume"]:
            states = Path(opt["path"]["training_states"]).glob("*.state")
            found = [int(state.stem) for state in states if state.stem.isdigit()]
            if found:
                opt["path"]["resume_state"] = str(Path(opt["path"]["training_states"], f"{max(found)}.state"))
        file = opt["path"].get("resume_state")
        if file is None:
            return None
        state = torch.load(file, map_location="cpu", weights_only=True)
        train.check_resume(opt, state["iter"])
        return state

    load_resume_state.mended_by_dcpt = True  # type: ignore[attr-defined]
    train.load_resume_state = load_resume_state  # type: ignore[attr-defined]


_require_engine()
_restore_functional_tensor()
_whole_jpeg_quality()
_resume_on_any_device()
_silent_registry_lookup()
