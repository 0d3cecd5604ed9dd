"""Who may import whom: between packages, and between their sub-packages. docs/README.md shows the same as a map."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {
    "dcpt_common": set(),
    "dcpt_compat": {"dcpt_common"},
    "dcpt_arch": {"dcpt_common", "dcpt_compat"},
    "dcpt_data": {"dcpt_common", "dcpt_compat"},
    "dcpt_models": {"dcpt_common", "dcpt_compat", "dcpt_arch"},
    "dcpt_mmengine": {"dcpt_common", "dcpt_compat", "dcpt_arch", "dcpt_data", "dcpt_models"},
    "dcpt_tools": {"dcpt_common", "dcpt_compat", "dcpt_arch", "dcpt_data", "dcpt_models", "dcpt_mmengine"},
}
# From the lowest level to the highest; a sub-package imports lower levels only, never its neighbours.
FLOORS = {
    "dcpt_common": ["arguments errors extensions files json_text labels markdown names progress ranges threads"],
    "dcpt_arch": ["layers", "backbones", "adapter", "classifiers checkpoints"],
    "dcpt_data": ["errors", "workers images", "degradations sources", "stores", "datasets", "preparation"],
    "dcpt_models": [
        "errors",
        "losses metrics runtime",
        "optim validation",
        "options",
        "methods inference",
        "evaluation",
        "training analysis",
    ],
    "dcpt_mmengine": [
        "repairs registries",
        "metrics model optimizers pipeline_dataset samplers transforms",
        "loop",
    ],
    "dcpt_tools": [
        "option_folder",
        "places",
        "data measuring networks photographs planning studying training env",
        "commands",
        "completion __main__",
    ],
}
SOURCES = [
    path
    for name in PACKAGES
    for path in ([ROOT / f"{name}.py"] if (ROOT / f"{name}.py").exists() else sorted((ROOT / name).rglob("*.py")))
]
MOST = 14  # entries of a folder, apart from the kinds of degradations


def our_modules() -> set[str]:
    """Top-level names that an import from the repository's root could mean; basicsr is the installed engine there."""
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    return (folders | {path.stem for path in ROOT.glob("*.py")}) - {"basicsr"}


def imported(source: str, package: str) -> Iterator[str]:
    """Dotted names that a module imports anywhere, also inside functions and by `import_module("...")`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # A relative import that climbs out of its package does not run, so it can only mean the package itself.
            base = package if node.level else str(node.module)
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__"):
                yield str(node.args[0].value)


def floor_of(package: str, room: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS[package]) if room in rooms.split())


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path: Path) -> None:
    package, *rest = path.relative_to(ROOT).with_suffix("").parts
    for name in imported(path.read_text(encoding="utf-8"), package):
        top, *inner = name.split(".")
        if top not in our_modules():
            continue
        assert top == package or top in PACKAGES[package], f"{package} must not import {name}"
        if top != package or not inner or not rest or rest[0] == "__init__":
            continue
        room, other = rest[0], inner[0]
        lower = floor_of(package, other) < floor_of(package, room)
        assert room == other or lower, f"{package}.{room} must not import {name}: it is on no lower level"


@pytest.mark.parametrize("package", FLOORS)
def test_every_sub_package_has_its_level(package: str) -> None:
    rooms = {path.stem for path in (ROOT / package).iterdir() if path.suffix == ".py" or any(path.glob("*.py"))}
    assert rooms - {"__init__"} == {room for floor in FLOORS[package] for room in floor.split()}


def test_no_folder_is_crowded() -> None:
    for folder in {path.parent for path in SOURCES} - {ROOT, ROOT / "dcpt_data" / "degradations" / "kinds"}:
        entries = [entry.name for entry in folder.iterdir() if entry.name not in ("__pycache__", "py.typed")]
        assert len(entries) <= MOST, f"{folder.relative_to(ROOT)} has {len(entries)} entries"


def test_every_package_of_ours_is_covered() -> None:
    assert {name for name in our_modules() if name.startswith("dcpt")} == set(PACKAGES)
    assert {"tools", "tests"} <= our_modules()


@pytest.mark.parametrize(
    "line",
    [
        "import tools",
        "import os, tools.train as t",
        "from tools.train import main",
        "def f():\n    from tools import train",
        "if True:\n    import tools.train",
        "importlib.import_module('tools.train')",
        "import_module('tools')",
        "__import__('tools')",
    ],
)
def test_every_way_of_importing_is_seen(line: str) -> None:
    assert "tools" in {name.split(".")[0] for name in imported(line, "dcpt_arch")}


def test_relative_imports_are_of_the_package() -> None:
    found = imported("from . import padding\nfrom .layers import LayerNorm2d", "dcpt_arch")
    assert {name.split(".")[0] for name in found} == {"dcpt_arch"}


def test_mmengine_is_imported_by_its_front_end_alone() -> None:
    # All else starts without it, which takes seconds. The command imports it when it runs.
    theirs = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        if {"mmengine", "mmcv"} & {name.split(".")[0] for name in imported(path.read_text(encoding="utf-8"), "")}
    }
    assert {path.split("/")[0] for path in theirs - {"dcpt_tools/training/mm_train.py"}} == {"dcpt_mmengine"}
