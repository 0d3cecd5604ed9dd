"""The bridge: whatever is registered with BasicSR's registries is known in mmengine's, in the scope "dcpt"."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import mmengine.registry as theirs
from mmengine.registry import Registry

SCOPE = "dcpt"
SUFFIX = "_basicsr"  # which BasicSR appends to names that others have taken

Found = Iterator[tuple[str, Any]]


class Bridge(Registry):
    """A child of one of mmengine's registries that also finds what is registered elsewhere, now or later.

    Args:
        parent: The registry of mmengine.
    """

    def __init__(self, parent: Registry) -> None:
        super().__init__(parent.name, parent=parent, scope=SCOPE)
        self.sources: list[Callable[[], Found]] = []

    def import_from_location(self) -> None:
        """Take over what is new; mmengine calls this before each look-up."""
        for found in self.sources:
            for name, item in found():
                for known in (name, name.removesuffix(SUFFIX)):
                    self._module_dict.setdefault(known, item)


def of_engine(registry: Any, adapt: Callable[[str, Any], Any] = lambda name, item: item) -> Callable[[], Found]:
    """The entries of one of BasicSR's registries, each made once into what mmengine can build."""
    adapted: dict[str, Any] = {}

    def found() -> Found:
        for name, item in registry:
            if name not in adapted:
                adapted[name] = adapt(name, item)
        yield from adapted.items()

    return found


# One child for each, so that a config with `default_scope = "dcpt"` finds mmengine's own entries without a warning.
CHILDREN = {name: Bridge(registry) for name, registry in vars(theirs).items() if isinstance(registry, Registry)}
DATASETS, DATA_SAMPLERS, LOOPS, METRICS, MODELS, MODEL_WRAPPERS, OPTIM_WRAPPER_CONSTRUCTORS = (
    CHILDREN[name]
    for name in (
        "DATASETS",
        "DATA_SAMPLERS",
        "LOOPS",
        "METRICS",
        "MODELS",
        "MODEL_WRAPPERS",
        "OPTIM_WRAPPER_CONSTRUCTORS",
    )
)
# Transforms are registered with the root, where mmcv's `Compose` finds them whatever scope a config has.
TRANSFORMS = theirs.TRANSFORMS
