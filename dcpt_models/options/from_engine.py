"""Options that BasicSR's own programs have read, brought to the form that models are built from."""

from __future__ import annotations

import re
from copy import deepcopy
from pathlib import Path
from typing import Any

from dcpt_models.options.adapted import write_out
from dcpt_models.options.engine import take_out
from dcpt_models.options.files import Options
from dcpt_models.options.schema import check_options

# What BasicSR's `parse_options` and `train_pipeline` add to an option file.
_ADDED = ("auto_resume", "dist", "is_train", "rank", "root_path", "world_size")
_ADDED_PATHS = ("experiments_root", "log", "models", "results_root", "training_states", "visualization")
# Numbers that BasicSR's reader of YAML leaves as text.
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)")


def completed(opt: dict[str, Any]) -> dict[str, Any]:
    """Check options that BasicSR's `parse_options` has read, and add what this package's own reader adds.

    Args:
        opt: What a model is built from in `basicsr.train.train_pipeline` and `basicsr.test.test_pipeline`.

    Returns:
        The same with `resolved`, the options as the file says them, and with numbers such as `1e-4` as numbers.

    Raises:
        OptionError: If the check finds a problem.
    """
    resolved = resolved_of(opt)
    check_options(Options(resolved, {(): Path(opt["name"])}), opt["is_train"])
    write_out(resolved)
    val = {**(opt.get("val") or {}), **(resolved.get("val") or {})}
    return {
        **opt,
        **{key: value for key, value in resolved.items() if key != "path"},
        "resolved": resolved,
        "val": val,
    }


def resolved_of(opt: dict[str, Any]) -> dict[str, Any]:
    """The option file behind options that BasicSR's `parse_options` has read, as our own reader would give it.

    Args:
        opt: What a model is built from in `basicsr.train.train_pipeline` and `basicsr.test.test_pipeline`.

    Returns:
        Plain dicts, lists and values, without what BasicSR has added, and with `1e-4` as a number.
    """
    values = _plain({key: value for key, value in opt.items() if key not in _ADDED})
    values["path"] = {key: value for key, value in (values.get("path") or {}).items() if key not in _ADDED_PATHS}
    for section in values.get("datasets", {}).values():
        section.pop("phase", None)
        section.pop("scale", None)
    take_out(values)
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return float(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else deepcopy(value)
