"""Checks the names of runs, data sets and metrics, which become names of files; used by the check of option files."""

from __future__ import annotations

from typing import Any

from dcpt_models.options.check import Problem

# Bytes of a name, so that `train_NAME_TIME.log` is no longer than a file system allows.
LONGEST = 200


def check_names(values: dict[str, Any]) -> list[Problem]:
    """Find the names in an option file that are none: of the run, of each data set, of each metric."""
    datasets, val = values.get("datasets"), values.get("val")
    metrics = val.get("metrics") if isinstance(val, dict) else None
    named: list[tuple[tuple[str, ...], Any]] = [(("name",), values["name"])] if "name" in values else []
    for key, section in datasets.items() if isinstance(datasets, dict) else ():
        named.append((("datasets", str(key)), key))
        if isinstance(section, dict) and "name" in section:
            named.append((("datasets", str(key), "name"), section["name"]))
    named += [(("val", "metrics", str(key)), key) for key in (metrics if isinstance(metrics, dict) else ())]
    return [Problem(path, why) for path, name in named if isinstance(name, str) and (why := refusal(name))]


def refusal(name: str) -> str | None:
    """Why something is no name, and what would be right; None if it is one."""
    if not name.strip():
        return "must be a name, not empty"
    if name in (".", "..") or "/" in name or "\\" in name:
        return f"{name!r} is a path, and must be a name without '/', '\\' and '..'; folders are chosen under `path`"
    if not name.isprintable():
        return f"{name!r} has control characters; write a name that can be printed"
    if len(name.encode()) > LONGEST:
        return f"has {len(name.encode())} bytes, and file systems do not allow that; write a name of {LONGEST} or less"
    return None
