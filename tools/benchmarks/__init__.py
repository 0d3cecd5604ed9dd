"""What `tools/benchmark.py` measures: each module here is one of its sub-commands.

A sub-command's module has:

* `HELP`: one line for `--help`.
* `add_arguments(parser)`: its own switches; `--full`, `--threads`, `--device`, `--repeats`, `--seed` and `--json` are
  everyone's.
* `run(arguments)`: measures, and returns `{"tables": [...], ...}` of plain values. A table is
  `{"title": str, "rows": [{column: value, ...}, ...], "notes": [str, ...]}`; `notes` may be left out.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

SHARED = ("classical",)  # no sub-commands


def commands() -> dict[str, ModuleType]:
    """The sub-commands that there are, by name."""
    names = sorted(found.name for found in pkgutil.iter_modules(__path__) if found.name not in SHARED)
    return {name: importlib.import_module(f"{__name__}.{name}") for name in names}
