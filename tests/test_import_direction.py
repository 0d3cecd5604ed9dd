import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Arrows point one way: what is read and what is optimised know nothing of each other, and nobody knows the commands.
ALLOWED = {
    "dcpt_compat": set(),
    "dcpt_arch": {"dcpt_arch", "dcpt_compat"},
    "dcpt_data": {"dcpt_data", "dcpt_compat"},
    "dcpt_models": {"dcpt_models", "dcpt_arch", "dcpt_compat"},
}


def our_modules():
    """Top-level names that an import from the repository's root could mean; basicsr is the installed engine there."""
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    return (folders | {path.stem for path in ROOT.glob("*.py")}) - {"basicsr"}


def imported(source, package):
    """Top-level names that a module imports anywhere, also inside functions and by `import_module("...")`."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            # A relative import that climbs out of its package does not run, so it can only mean the package itself.
            names.add(package if node.level else node.module.split(".")[0])
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__"):
                names.add(str(node.args[0].value).split(".")[0])
    return names


def sources():
    for name in ALLOWED:
        module = ROOT / f"{name}.py"
        yield from [module] if module.exists() else sorted((ROOT / name).rglob("*.py"))


@pytest.mark.parametrize("path", list(sources()), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path):
    package = path.relative_to(ROOT).parts[0].removesuffix(".py")
    forbidden = imported(path.read_text(encoding="utf-8"), package) & our_modules() - ALLOWED[package]
    assert not forbidden, f"{path.relative_to(ROOT)} must not import {', '.join(sorted(forbidden))}"


def test_every_package_of_ours_is_covered():
    assert {name for name in our_modules() if name.startswith("dcpt")} == set(ALLOWED)
    assert {path.relative_to(ROOT).parts[0].removesuffix(".py") for path in sources()} == set(ALLOWED)
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
def test_every_way_of_importing_is_seen(line):
    assert "tools" in imported(line, "dcpt_arch")


def test_relative_imports_are_of_the_package():
    assert imported("from . import padding\nfrom .layers import LayerNorm2d", "dcpt_arch") == {"dcpt_arch"}
