"""Networks that were not written for this package, in option files: what is found of them is written out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from basicsr.utils.registry import ARCH_REGISTRY

from dcpt_arch import AnyBackbone
from dcpt_models.errors import OptionError


def is_adapted(section: Any) -> bool:
    """Whether a `network_*` section asks for `AnyBackbone`."""
    name = section.get("type") if isinstance(section, dict) else None
    return isinstance(name, str) and name in ARCH_REGISTRY and ARCH_REGISTRY.get(name) is AnyBackbone


def locate(values: dict[str, Any], find: Callable[[str], str]) -> dict[str, Any]:
    """Replace the files that such sections name (`type: file.py:Class`, `checkpoint`) by where they lie.

    Args:
        values: Options; changed in place.
        find: A file as it is named -> where it is.

    Returns:
        Key of a section -> the inner section as it was, of those that are changed; see `put_back`.
    """
    said = {}
    for key in [key for key, section in values.items() if key.startswith("network_") and is_adapted(section)]:
        inner = values[key].get("network")
        found = _located(inner, find) if isinstance(inner, dict) else inner
        if found != inner:
            said[key] = inner
            values[key] = {**values[key], "network": found}
    return said


def code_files(values: Mapping[str, Any]) -> list[str]:
    """The files of Python code that such sections name."""
    inner = [values[key].get("network") for key in values if key.startswith("network_") and is_adapted(values[key])]
    files = [str(each.get("type", "")).rpartition(":")[0] for each in inner if isinstance(each, dict)]
    return [file for file in files if file.endswith(".py")]


def _located(inner: dict[str, Any], find: Callable[[str], str]) -> dict[str, Any]:
    found = dict(inner)
    if isinstance(inner.get("checkpoint"), str):
        found["checkpoint"] = find(inner["checkpoint"])
    file, colon, name = str(inner.get("type", "")).rpartition(":")
    if colon and file.endswith(".py"):
        found["type"] = f"{find(file)}:{name}"
    return found


def put_back(values: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """Options with the inner sections that `locate` has replaced: what is archived names no folder of the machine."""
    return {**values, **{key: {**values[key], "network": inner} for key, inner in said.items()}}


def write_out(values: dict[str, Any]) -> None:
    """Replace what such sections leave to be found by what is found, so that an archived file says all.

    Args:
        values: Options that were checked; changed in place.

    Raises:
        OptionError: If a network cannot be built, or has no such modules.
    """
    for key in [key for key, section in values.items() if key.startswith("network_") and is_adapted(section)]:
        try:
            values[key] = AnyBackbone.written_out(values[key])
        except ValueError as error:
            raise OptionError(f"key '{key}': {error}") from error
