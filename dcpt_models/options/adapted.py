"""Networks that were not written for this package, in option files: what is found of them is written out."""

from __future__ import annotations

from typing import Any

from basicsr.utils.registry import ARCH_REGISTRY

from dcpt_arch import AnyBackbone
from dcpt_models.errors import OptionError


def is_adapted(section: Any) -> bool:
    """Whether a `network_*` section asks for `AnyBackbone`."""
    name = section.get("type") if isinstance(section, dict) else None
    return isinstance(name, str) and name in ARCH_REGISTRY and ARCH_REGISTRY.get(name) is AnyBackbone


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
