import json
import os
import subprocess
import sys
from pathlib import Path

import dcpt_compat

# isort: split
import basicsr
import pytest
from basicsr.data import degradations
from basicsr.utils.registry import Registry

ROOT = Path(__file__).resolve().parent.parent

# The removed module is given back the way others do it; dcpt_compat must leave it alone.
STAND_IN = """
import sys, types
from torchvision.transforms.functional import rgb_to_grayscale
stand_in = types.ModuleType("torchvision.transforms.functional_tensor")
stand_in.rgb_to_grayscale = rgb_to_grayscale
sys.modules[stand_in.__name__] = stand_in
"""
# Whether OpenCV takes a float as quality depends on its version; what reaches it does not.
OBSERVE = """
import contextlib, io, json
import basicsr, cv2, numpy
from basicsr.data import degradations
from basicsr.utils.registry import Registry

encode, seen = cv2.imencode, {"basicsr": basicsr.__file__}
def record(extension, image, parameters):
    seen["quality"] = parameters[1]
    return encode(extension, image, [parameters[0], int(parameters[1])])
cv2.imencode = record

def observe():
    degradations.random_add_jpg_compression(numpy.full((8, 8, 3), 0.5, "float32"), (30.2, 30.8))
    registry = Registry("arch")
    registry.register(type("Thing", (), {}), suffix="basicsr")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        seen["found"] = registry.get("Thing").__name__
    return {**seen, "printed": printed.getvalue()}
"""


def python(code, folder=ROOT):
    """Run code in a fresh interpreter, as from a shell in `folder`."""
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=120)


def observed(code):
    run = python(code)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.fixture(scope="module")
def fixed():
    return observed("import dcpt_compat" + OBSERVE + "print(json.dumps(observe()))")


@pytest.fixture(scope="module")
def late():
    """What is seen before and after dcpt_compat is imported into a process that uses basicsr already."""
    code = "before = observe()\nimport dcpt_compat\nkept = sys.modules[stand_in.__name__] is stand_in\n"
    return observed(STAND_IN + OBSERVE + code + "print(json.dumps([before, observe(), kept]))")


def test_basicsr_alone_lacks_a_module_that_torchvision_removed(fixed):
    run = python("import basicsr")
    assert run.returncode != 0 and "No module named 'torchvision.transforms.functional_tensor'" in run.stderr
    assert fixed["basicsr"]


def test_jpeg_quality_is_whole(fixed, late):
    assert not isinstance(late[0]["quality"], int)
    assert isinstance(fixed["quality"], int) and fixed["quality"] == 30


def test_registry_does_not_print(fixed, late):
    assert "Thing_basicsr" in late[0]["printed"]
    assert (fixed["found"], fixed["printed"]) == ("Thing", "")


def test_late_import_mends_too_and_keeps_a_stand_in_of_somebody_else(late):
    _, after, kept = late
    assert isinstance(after["quality"], int) and after["printed"] == ""
    assert kept


def test_registry_still_refuses_unknown_names():
    with pytest.raises(KeyError, match="No object named 'Thing' found in 'arch' registry"):
        Registry("arch").get("Thing")


def test_mending_twice_changes_nothing():
    before = degradations.add_jpg_compression
    assert before.mended_by_dcpt
    dcpt_compat._whole_jpeg_quality()
    assert degradations.add_jpg_compression is before


def is_engine(file):
    """Whether a module's file is the installed engine's, not one of the launchers in the folder of the same name."""
    return Path(file).name == "__init__.py" and ROOT / "basicsr" not in Path(file).resolve().parents


def test_basicsr_is_the_installed_engine(fixed):
    assert is_engine(basicsr.__file__)  # under pytest
    assert is_engine(fixed["basicsr"])  # from the repository's root


@pytest.mark.parametrize("folder", [ROOT, ROOT / "basicsr", ROOT / "tools"], ids=["root", "basicsr", "tools"])
def test_basicsr_is_found_installed_from(folder):
    run = python("import importlib.util\nprint(importlib.util.find_spec('basicsr').origin)", folder)
    assert is_engine(run.stdout.strip()), run.stderr


def test_launchers_are_not_taken_for_the_engine():
    assert not is_engine(ROOT / "basicsr" / "train.py")
    assert not is_engine(ROOT / "basicsr" / "__init__.py")


@pytest.mark.parametrize(
    ("given", "then"),
    [({}, ["10000", None]), ({"OMP_WAIT_POLICY": "active"}, [None, "active"]), ({"GOMP_SPINCOUNT": "7"}, ["7", None])],
    ids=["nothing", "policy", "count"],
)
def test_threads_wait_briefly_unless_the_user_says_how(given: dict[str, str], then: list[str | None]) -> None:
    names = "('GOMP_SPINCOUNT', 'OMP_WAIT_POLICY')"
    code = f"import dcpt_compat, json, os; print(json.dumps([os.environ.get(name) for name in {names}]))"
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("GOMP_", "OMP_WAIT"))}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**environment, **given}, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == then


def hidden(modules, version, code):
    """Run code at the repository's root where some modules are not installed and Python says another version."""
    hide = (
        "import sys, importlib.machinery as m\n"
        "find = m.PathFinder.find_spec\n"
        f"m.PathFinder.find_spec = lambda name, path=None, target=None: "
        f"find(name, ['{ROOT}'] if name in {modules!r} else path, target)\n"
        f"sys.version_info = {version!r}\n"
    )
    return python(hide + code)


@pytest.mark.parametrize(
    ("version", "said"),
    [((3, 12, 1), "python -m pip install basicsr==1.4.2"), ((3, 13, 0), "python3.12 -m pip wheel --no-deps basicsr")],
)
def test_a_missing_engine_is_told_by_the_line_that_installs_it(version, said):
    run = hidden({"basicsr"}, version, "import dcpt_arch")
    assert run.returncode == 1
    assert "MissingEngineError: basicsr==1.4.2 is not installed" in run.stderr and said in run.stderr


@pytest.mark.parametrize(
    "call",
    [
        "sys.argv = ['dcpt', 'restore', 'x.png']; from dcpt_tools.commands import main; sys.exit(main())",
        "from dcpt_tools.commands import launch; launch('photographs.restore', 'tools/restore.py')",
    ],
    ids=["command", "script"],
)
def test_a_command_without_the_engine_ends_in_that_line_alone(call):
    run = hidden({"basicsr"}, (3, 13, 0), call)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.startswith("error: basicsr==1.4.2 is not installed")
    assert "Traceback" not in run.stderr and len(run.stderr.splitlines()) == 3


def test_readme_has_the_line_that_installs_the_engine_on_a_new_python():
    assert f"    {dcpt_compat.INSTALL_ON_313}\n" in (ROOT / "README.md").read_text(encoding="utf-8")
