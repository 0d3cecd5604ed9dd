"""Import the modules of a folder, and a user's own file: what they register is then known."""

from __future__ import annotations

import importlib.util
import pkgutil
import sys
from pathlib import Path
from types import ModuleType


def import_extension(name: str) -> ModuleType:
    """Import a file `*.py` or an installed module, so that what it registers is known.

    Raises:
        ImportError: If there is no such file or module; what its code raises is passed on.
    """
    if not name.endswith(".py"):
        return importlib.import_module(name)
    file = Path(name).expanduser().absolute()
    known = sys.modules.get(file.stem)
    if known is not None and getattr(known, "__file__", None) == str(file):
        return known
    if not file.is_file():
        raise ImportError(f"{file}: no such file")
    if known is not None or importlib.util.find_spec(file.stem) is not None:
        raise ImportError(f"{file}: there is a module {file.stem} already; give the file another name")
    specification = importlib.util.spec_from_file_location(file.stem, file)
    assert specification is not None and specification.loader is not None  # it is a Python file
    module = importlib.util.module_from_spec(specification)
    sys.modules[file.stem] = module
    try:
        specification.loader.exec_module(module)
    except BaseException:
        del sys.modules[file.stem]
        raise
    return module


def import_modules(package: ModuleType) -> list[ModuleType]:
    """Import every module of a package's folder, so that what they register is known."""
    names = sorted(found.name for found in pkgutil.iter_modules(package.__path__))
    return [importlib.import_module(f"{package.__name__}.{name}") for name in names]
