"""Option files: ours and tiny ones that train, changed in their values or in their text; and forced values.

What is read must be what PyYAML reads. What passes the check must build, and a tiny one must train.
"""

from __future__ import annotations

import copy
import datetime
import math
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from basicsr.models import build_model
from harness import ROOT, Family, Fault, refusal_is_clear
from hypothesis import strategies as st
from small_runs import dcpt_options, restoration_options

from dcpt_arch.checkpoints.loading import CheckpointError
from dcpt_data import DataError, build_train_loader, build_val_loaders, check_folders
from dcpt_data.images.pixels import write_image
from dcpt_models.errors import MetricError, OptionError, RunError
from dcpt_models.options.command_line import load_options
from dcpt_models.options.files import dump_options, read_options
from dcpt_models.training.loop import train
from dcpt_models.training.run import Run

WILD: list[Any] = [
    *(
        None,
        True,
        False,
        -1,
        0,
        1,
        2,
        7,
        10**20,
        2**63,
        -(2**31),
        1e-4,
        -0.5,
        0.0,
        1e300,
        math.inf,
        -math.inf,
        math.nan,
    ),
    *("", "x", "../../x", "/x/y", "none", "1e-3", "é", "a\u2028b", "a\nb", "\u0085", "a" * 300, "train", "NAFNet", "~"),
    *([], [1], [1, 2, 3], [[]], ["a"], [None], {}, {"type": "L1Loss"}, {"a": 1}, {"type": None}, {1: 2}, "2026-01-01"),
]
MARKS = [
    *":{}[]&*!|>%@`#'\",-?\t\n ~=<.",
    "\r",
    "\x00",
    "\x85",
    "é",
    "---\n",
    "!!python/name:os.system ",
    "<<: *a",
    "0x",
]
FILES = sorted(path for path in (ROOT / "options").rglob("*.yml") if not path.name.startswith("study"))


class PlainLoader(yaml.SafeLoader):
    """PyYAML's, which knows that `=` alone is a `!!value`, but not what that is; text, as for everybody else."""


PlainLoader.add_constructor("tag:yaml.org,2002:value", PlainLoader.construct_yaml_str)
FAILURES = (CheckpointError, FloatingPointError, MetricError, OSError, RunError, OptionError, DataError)
MOST_ITERATIONS = 3


@dataclass(frozen=True)
class OptionCase:
    """An option file.

    Attributes:
        text: Its bytes.
        how: How it was made.
        is_train: Whether it is to train.
        force: Forced values.
        trains: Whether it is a tiny one, to be built and trained.
        plain: Whether PyYAML alone says what is in it: it has no bases.
    """

    text: bytes
    how: str
    is_train: bool
    force: tuple[str, ...] = ()
    trains: bool = False
    plain: bool = field(default=True)


@cache
def ours(file: Path) -> dict[str, Any]:
    """The values of one of our option files, with all its bases."""
    return read_options(file).values


def tiny(name: str) -> dict[str, Any]:
    """An option file that trains in a second."""
    make = restoration_options if name == "RestorationModel" else dcpt_options
    options = copy.deepcopy(make(Path("photographs"), Path("run")))  # whose lists other tests have too
    options["model_type"] = name
    options["datasets"] = {key: options["datasets"][key] for key in ("train", "val_haze")}
    options["datasets"]["train"].update(gt_size=16, batch_size_per_gpu=2)
    options["train"].update(total_iter=2)
    options["val"]["val_freq"] = 2
    if name == "MaskedDCPTModel":
        options["train"]["mask_patch"] = 8
    return options


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all that is in a tree of mappings and lists."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [found for key, value in inner for found in [(*path, key), *places(value, (*path, key))]]


def at(tree: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def _change(draw: Any, options: dict[str, Any]) -> str:
    """Change a value or a key somewhere; returns how."""
    found = places(options)
    if not found:
        return "nothing left"
    path = draw(st.sampled_from(found))
    section, key = at(options, path[:-1]), path[-1]
    how = draw(st.sampled_from(["replace", "replace", "replace", "delete", "rename", "add", "copy", "scale", "into"]))
    if how == "replace":
        section[key] = copy.deepcopy(draw(st.sampled_from(WILD)))
        return f"{path} = {section[key]!r}"
    if how == "delete":
        del section[key]
    elif how == "rename" and isinstance(section, dict):
        name = draw(st.sampled_from([f"{key}s", str(key)[:-1], str(key).upper(), f"_{key}", "type", "name"]))
        section[name] = section.pop(key)
        return f"{path} becomes {name!r}"
    elif how == "add" and isinstance(section, dict):
        name = draw(
            st.sampled_from(["type", "name", "lr", "weights", "gt_size", "x", "val_y", "better", "limit", "crops"])
        )
        section[name] = copy.deepcopy(draw(st.sampled_from(WILD)))
        return f"{(*path[:-1], name)} = {section[name]!r}"
    elif how == "copy":
        other = draw(st.sampled_from(found))
        section[key] = copy.deepcopy(at(options, other))
        return f"{path} = that of {other}"
    elif how == "scale" and isinstance(section[key], (int, float)) and not isinstance(section[key], bool):
        section[key] *= draw(st.sampled_from([-1, 0, 0.5, 2, 10]))
        return f"{path} = {section[key]!r}"
    elif how == "into":
        section[key] = draw(
            st.sampled_from([[section[key]], {"a": section[key]}, {key: section[key]}, str(section[key])])
        )
    return f"{how} {path}"


def _change_text(draw: Any, text: str) -> tuple[bytes, str]:
    lines = text.splitlines(keepends=True)
    how = draw(st.sampled_from(["mark", "mark", "line", "double", "swap", "indent", "cut", "encoding", "bytes"]))
    row = draw(st.integers(0, max(0, len(lines) - 1)))
    if how == "mark":
        place = draw(st.integers(0, len(text)))
        mark = draw(st.sampled_from(MARKS))
        return (text[:place] + mark + text[place:]).encode(), f"{mark!r} at {place}"
    if how == "line":
        del lines[row]
    elif how == "double":
        lines.insert(row, lines[row])
    elif how == "swap":
        other = draw(st.integers(0, len(lines) - 1))
        lines[row], lines[other] = lines[other], lines[row]
    elif how == "indent":
        lines[row] = draw(st.sampled_from(["  ", " ", "\t", "- "])) + lines[row]
    elif how == "cut":
        return text[: draw(st.integers(0, len(text)))].encode(), "cut"
    elif how == "encoding":
        encoding = draw(st.sampled_from(["utf-16", "utf-8-sig", "utf-32", "latin-1"]))
        return f"# é\n{text}".encode(encoding, "replace"), encoding
    else:
        data = bytearray(text.encode())
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
        return bytes(data), "a byte"
    return "".join(lines).encode(), f"{how} {row}"


@st.composite
def cases(draw: Any) -> OptionCase:
    trains = draw(st.booleans())
    if trains:
        name = draw(st.sampled_from(["DCPTModel", "RestorationModel", "MaskedDCPTModel", "DCTrainModel"]))
        options, what, is_train = tiny(name), name, True
    else:
        file = draw(st.sampled_from(FILES))
        options, what = copy.deepcopy(ours(file)), file.stem
        is_train = "train" in options.get("datasets", {})
    how = [what]
    count = draw(st.sampled_from([0, 1, 1, 1, 2, 3]))
    how += [_change(draw, options) for _ in range(count)]
    text = yaml.safe_dump(options, sort_keys=False, allow_unicode=draw(st.booleans()))
    data = text.encode()
    if text and draw(st.integers(0, 2)) == 0:
        data, changed = _change_text(draw, text)
        how.append(changed)
    force: list[str] = []
    if draw(st.integers(0, 3)) == 0:
        for path in draw(st.lists(st.sampled_from(places(options) or [("a",)]), min_size=1, max_size=2)):
            value = draw(
                st.sampled_from([*map(str, WILD), "{a: 1}", "[1, 2", "3e-4", "!!python/name:os.system", "&a [*a]"])
            )
            force.append(f"{':'.join(map(str, path))}={value}")
    return OptionCase(data, "; ".join(how), is_train, tuple(force), trains)


def check(case: OptionCase, folder: Path) -> str:
    file = folder / "options.yml"
    file.write_bytes(case.text)
    _reads_as_pyyaml(case, file)
    try:
        opt = load_options(file, folder, case.is_train, case.force)
    except OptionError as error:
        about = "--force_yml" if "--force_yml" in str(error) else str(file)
        alone = str(error).startswith("num_gpu") or "cannot be a path" in str(error)
        refusal_is_clear(str(error), None if alone else about)
        return "refused"
    written = folder / "written.yml"
    dump_options(opt["resolved"], written, "a header")
    if not alike(read_options(written).values, opt["resolved"]):
        raise Fault("written and read again the options are others")
    return _run(opt, folder) if case.trains else "right"


def _run(opt: dict[str, Any], folder: Path) -> str:
    """Build what the options say and, where it is over at once, train it."""
    if not Path(folder, opt["path"]["experiments_root"]).resolve().is_relative_to(folder.resolve()):
        return "elsewhere"  # where the file says that the run is to be
    (folder / "photographs").mkdir()
    for number in range(2):
        image = np.random.default_rng(number).integers(0, 256, (24, 28, 3), np.uint8)
        write_image(folder / "photographs" / f"{number}.png", image)
    torch.manual_seed(0)
    small = opt["train"]["total_iter"] <= MOST_ITERATIONS and opt["datasets"]["train"].get("num_worker_per_gpu", 0) == 0
    small = small and (opt["datasets"]["train"].get("batch_size_per_gpu") or 1) <= 8
    try:
        if not small:
            build_model(opt)
            return "built"
        check_folders(opt["datasets"], opt.get("degradations"))
        with Run(opt) as run:
            loader = build_train_loader(opt["datasets"]["train"], run.rank, run.world_size, run.start)
            results = train(run, loader, build_val_loaders(opt["datasets"]))
    except FAILURES as error:
        refusal_is_clear(str(error))
        return "failed"
    if not all(math.isfinite(value) for values in results.values() for value in values.values()):
        return "not finite"
    return "trained"


def _reads_as_pyyaml(case: OptionCase, file: Path) -> None:
    try:
        wanted: Any = yaml.load(case.text, PlainLoader)
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, AttributeError, OverflowError):
        wanted = OptionError
    try:
        found: Any = read_options(file).values
    except OptionError as error:
        refusal_is_clear(str(error), str(file))
        return
    if wanted is OptionError:
        raise Fault("reads what PyYAML refuses")
    if b"_base_" in case.text or b"_delete_" in case.text:
        return
    if not alike(found, as_ours(wanted)):
        raise Fault(f"reads other values than PyYAML: {_first_difference(found, as_ours(wanted))}")


FLOAT = re.compile(r"[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)([eE][-+]?\d+)?")
COUNT = re.compile(r"[0-9]+[eE]\+?[0-9]{1,2}")


class _Date(str):
    """A date as PyYAML has it, of which the text is lost."""

    __slots__ = ()


def as_ours(value: Any) -> Any:
    """What PyYAML read, by the two rules of ours: numbers with an exponent are numbers, dates are text."""
    if isinstance(value, dict):
        return {key: as_ours(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_ours(item) for item in value]
    if isinstance(value, (datetime.date, datetime.datetime)):
        return _Date()
    return value


def alike(ours: Any, other: Any) -> bool:
    """Whether two values are equal, where NaN is equal to itself."""
    if isinstance(other, _Date):
        return isinstance(ours, str)
    if isinstance(ours, (int, float)) and isinstance(other, str):  # 3e-4, or a quoted one, which is a fault
        return bool(FLOAT.fullmatch(other)) and float(other.replace("_", "")) == ours
    if type(ours) is not type(other):
        return isinstance(ours, int) and isinstance(other, float) and ours == other  # `5e3` is a count
    if isinstance(ours, dict):
        return list(ours) == list(other) and all(alike(ours[key], other[key]) for key in ours)
    if isinstance(ours, list):
        return len(ours) == len(other) and all(map(alike, ours, other))
    return bool(ours == other) or (isinstance(ours, float) and math.isnan(ours) and math.isnan(other))


def _first_difference(a: Any, b: Any, path: str = "") -> str:
    if isinstance(a, dict) and isinstance(b, dict) and list(a) == list(b):
        return next(_first_difference(a[k], b[k], f"{path}:{k}") for k in a if not alike(a[k], b[k]))
    return f"{path} {a!r:.80} and {b!r:.80}"


OPTIONS = Family("options", cases, check, lambda: [ours(file) for file in FILES])
