"""Where the adapter's networks come from: the engine's registry, spandrel, or any module that can be imported."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn

from dcpt_common import import_extension, nearest

SPANDREL = ("spandrel", "spandrel_extra_arches")
INSTALL = "pip install spandrel spandrel-extra-arches"
PLAIN = (bool, int, float, str, type(None))


def find_class(name: str, trusted: bool = True) -> type[nn.Module]:
    """The class of a network.

    Args:
        name: `EDSR` of the engine's registry (in which a user's file can register more), `spandrel:SCUNet` of
            spandrel or spandrel_extra_arches, `package.module:Class`, or `folder/file.py:Class`.
        trusted: Whether the user has written the name. A name in a checkpoint is not: it never has anything imported
            but spandrel; the module must have been imported already.

    Raises:
        ValueError: If there is no such class, or it is no network; the message has the nearest or what to install.
    """
    module, colon, attribute = name.rpartition(":")
    if not colon:
        found = next((ARCH_REGISTRY.get(key) for key in (name, f"{name}_basicsr") if key in ARCH_REGISTRY), None)
        if found is None:
            hint = nearest(name, ARCH_REGISTRY.keys())
            raise ValueError(f"no network '{name}'{hint} (others: spandrel:NAME, package.module:Class, file.py:Class)")
    elif module == "spandrel":
        found = _of_spandrel(attribute)
    else:
        found = _attribute(_module(module, trusted), attribute, name)
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise ValueError(f"'{name}' is no network: it must be a class derived from torch.nn.Module")
    return found


def name_of(name: str) -> str:
    """How a name is written into a checkpoint: a file of Python code by its module, without its folder."""
    module, _, attribute = name.rpartition(":")
    return f"{Path(module).stem}:{attribute}" if module.endswith(".py") else name


def build(section: Mapping[str, Any], trusted: bool = True) -> tuple[nn.Module, dict[str, Any]]:
    """Build a network.

    Args:
        section: `type`, as of `find_class`, and the arguments of its constructor; or `checkpoint: FILE`, which spandrel
            recognises.
        trusted: See `find_class`.

    Returns:
        The network, with the checkpoint's weights if it is from one, and the section with `type` and arguments that
        builds its like.

    Raises:
        ValueError: If there is none, or it refuses its arguments.
    """
    if "checkpoint" in section:
        if extra := sorted(set(section) - {"checkpoint"}):
            raise ValueError(f"a network from a checkpoint has no other arguments, and {', '.join(extra)} is given")
        if not trusted:
            raise ValueError("a checkpoint cannot name another checkpoint as its network")
        return _from_checkpoint(str(section["checkpoint"]))
    if "type" not in section:
        raise ValueError("the network has no `type`, and no `checkpoint` either")
    arguments = {key: value for key, value in section.items() if key != "type"}
    name = str(section["type"])
    kind = find_class(name, trusted)
    try:
        network = kind(**arguments)
    except Exception as error:  # a constructor may refuse its arguments with whatever it likes
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{name} cannot be built with the arguments {arguments} ({why})") from error
    return network, {"type": name, **arguments}


def _module(name: str, trusted: bool) -> ModuleType:
    if not trusted:
        if name in sys.modules:
            return sys.modules[name]
        raise ValueError(
            f"its network is of the module '{name}', and nothing is imported because a file names it; import it "
            f"yourself: --import {name}.py (or {name}, if it is installed)"
        )
    try:
        return import_extension(name)
    except ImportError as error:
        raise ValueError(f"no module '{name}' ({error}); name its file, folder/file.py:Class, or install it") from error


def _attribute(module: ModuleType, attribute: str, name: str) -> Any:
    if not hasattr(module, attribute):
        kinds = [key for key, value in vars(module).items() if isinstance(value, type) and issubclass(value, nn.Module)]
        raise ValueError(f"'{name}': no '{attribute}' there{nearest(attribute, kinds)}")
    return getattr(module, attribute)


# spandrel


def spandrel_loader() -> tuple[Any, type[Exception]]:
    """Spandrel's loader with all architectures that are installed, and the error by which it says that none fits.

    Raises:
        ImportError: If spandrel is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, at how their architectures are written
        spandrel = importlib.import_module("spandrel")
        registry = type(spandrel.MAIN_REGISTRY)()  # of its own: the global one stays as it is
        registry.add(*spandrel.MAIN_REGISTRY.architectures())
        if has_extra_arches():
            registry.add(*importlib.import_module(SPANDREL[1]).EXTRA_REGISTRY.architectures())
    return spandrel.ModelLoader(device="cpu", registry=registry), spandrel.UnsupportedModelError


def has_extra_arches() -> bool:
    """Whether spandrel-extra-arches is installed."""
    return importlib.util.find_spec(SPANDREL[1]) is not None


def _packages() -> list[ModuleType]:
    found = [name for name in SPANDREL if importlib.util.find_spec(name) is not None]
    if "spandrel" not in found:
        raise ValueError(f"spandrel is not installed: {INSTALL}")
    return [importlib.import_module(f"{name}.architectures") for name in found]


def _networks(module: ModuleType) -> dict[str, type[nn.Module]]:
    values = {name: getattr(module, name) for name in getattr(module, "__all__", ())}
    return {name: v for name, v in values.items() if isinstance(v, type) and issubclass(v, nn.Module)}


def _of_spandrel(name: str) -> type[nn.Module]:
    packages = _packages()
    known: dict[str, type[nn.Module]] = {}
    for package in packages:
        folders = {found.name for found in pkgutil.iter_modules(package.__path__) if not found.name.startswith("_")}
        if name in folders:
            networks = _networks(importlib.import_module(f"{package.__name__}.{name}"))
            if name in networks or len(networks) == 1:
                return networks.get(name) or next(iter(networks.values()))
            known.update(networks)
        else:
            for folder in sorted(folders):
                known.update(_networks(importlib.import_module(f"{package.__name__}.{folder}")))
    if name in known:
        return known[name]
    missing = "" if len(packages) == len(SPANDREL) else f" (spandrel_extra_arches is not installed: {INSTALL})"
    raise ValueError(f"spandrel has no network '{name}'{missing}{nearest(name, known)}")


def _from_checkpoint(file: str) -> tuple[nn.Module, dict[str, Any]]:
    _packages()  # refuses where spandrel is missing
    loader, _ = spandrel_loader()
    if not Path(file).expanduser().is_file():
        raise ValueError(f"{file}: no such checkpoint file")
    try:
        found = loader.load_from_file(Path(file).expanduser())
    except Exception as error:  # of spandrel's many kinds
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{file}: spandrel does not know its network; give `type` and arguments ({why})") from error
    network: nn.Module = found.model
    # Plain values alone: the others are classes and functions, which are defaults of the constructor.
    arguments = {key: value for key, value in getattr(network, "hyperparameters", {}).items() if _is_plain(value)}
    section = {"type": f"spandrel:{type(network).__name__}", **_lists(arguments)}
    like, _ = build(section)
    shapes, own = ({k: v.shape for k, v in each.state_dict().items()} for each in (like, network))
    if shapes != own:
        raise ValueError(f"{file}: spandrel does not tell all arguments of its {type(network).__name__}; give them")
    return network.train(), section


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_is_plain(each) for each in value)
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(each) for key, each in value.items())
    return isinstance(value, PLAIN)


def _lists(value: Any) -> Any:
    """The same with lists for tuples, as YAML has it."""
    if isinstance(value, dict):
        return {key: _lists(each) for key, each in value.items()}
    return [_lists(each) for each in value] if isinstance(value, (list, tuple)) else value
