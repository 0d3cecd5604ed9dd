"""Command lines: each command's own words and others, with files that are sound, damaged, missing, or no files.

A command ends with 0, or with one clear line on standard error; it writes nothing outside of the current folder.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
import yaml
from harness import Family, Fault, refusal_is_clear
from hypothesis import strategies as st
from small_networks import build
from small_runs import dcpt_options

from dcpt_data.images.pixels import write_image
from dcpt_tools.commands import COMMANDS
from dcpt_tools.commands import main as dcpt

FILES = [
    *("a.png", "in", "in/b.jpg", "in/*.png", "cut.png", "text.png", "none.png", "nowhere", ".", "", "-", "a.png/x"),
    *(
        "weights.pth",
        "cut.pth",
        "options.yml",
        "bad.yml",
        "empty",
        "/dev/null",
        "*",
        "[",
        "~nobody/x",
        "a\u0300.png",
    ),
]
NUMBERS = ["0", "1", "-1", "7", "64", "1e3", "nan", "inf", "x", "", "99999999999999999999", "0.5", "٣"]
NAMES = [
    *("noise", "rain", "haze", "clean", "nois", "noise+rain", "5d", "3d", "Rain100L", "BSD400", "GoPro-test", "NAFNet"),
    *("cpu", "cuda", "cuda:9", "meta", "xpu", "png", "jpg", "gif", "raw", "original", "same", "prefix", "fp32", "bf16"),
    *("train:total_iter=1", "name=../x", "a=b", "=", "sigma=3", "sigma=", "sigma=[1]", "512:256", "0:0", "hardlink"),
]
ANY = [*FILES, *NUMBERS, *NAMES, "--", "--help", "-x", "--no-such", "--json", "--overwrite"]
# The switches of each command, the last ones of which say nothing more; and what they take most of the time.
SWITCHES: dict[str, list[tuple[str, list[str]]]] = {
    "restore": [
        ("--weights", FILES),
        ("--out", ["out", *FILES]),
        ("--format", NAMES),
        ("--device", NAMES),
        ("--precision", NAMES),
        ("--tile", NUMBERS),
        ("--overlap", NUMBERS),
        ("--max-memory", NUMBERS),
        *((name, []) for name in ("--overwrite", "--tta", "--json")),
    ],
    "diagnose": [
        ("--classifier", FILES),
        ("--weights", FILES),
        ("-opt", FILES),
        ("--maps", ["maps", *FILES]),
        ("--false-alarms", NUMBERS),
        ("--device", NAMES),
        *((name, []) for name in ("--overwrite", "--calibrate", "--json")),
    ],
    "degrade": [
        ("--name", NAMES),
        ("--sheet", ["sheet.png", *FILES]),
        ("--out", ["out.png", *FILES]),
        ("--seed", NUMBERS),
        ("--parameters", NAMES),
        *((name, []) for name in ("--evaluation", "--overwrite", "--json")),
    ],
    "train": [("-opt", FILES), ("--force_yml", NAMES), ("--launcher", NAMES), ("--auto_resume", []), ("--debug", [])],
    "test": [
        ("-opt", FILES),
        ("--force_yml", NAMES),
        ("--weights", FILES),
        ("--out", ["out", *FILES]),
        ("--chart", ["chart.png", *FILES]),
        *((name, []) for name in ("--again", "--json")),
    ],
    "options": [("copy", ["5d", "mini", "mine", *FILES]), ("--json", [])],
    "prepare": [
        ("--from", FILES),
        ("--root", ["datasets", *FILES]),
        ("--mode", NAMES),
        ("--crops", NAMES),
        ("--accept", ["count", "unpaired", *NAMES]),
        ("-opt", FILES),
        *((name, []) for name in ("--json", "--quick", "--markdown", "list", "check")),
    ],
    "synthesize": [
        ("--gt", FILES),
        ("--setting", NAMES),
        ("--out", ["datasets", *FILES]),
        ("--seed", NUMBERS),
        ("--test-share", NUMBERS),
        ("--test-gt", FILES),
        ("--json", []),
    ],
    "lmdb": [
        ("--gt", FILES),
        ("--lq", FILES),
        ("--source", NAMES),
        ("--verify", FILES),
        ("--root", FILES),
        ("--pairing", NAMES),
        ("--degradation", NAMES),
        ("--out", ["out.lmdb", *FILES]),
        ("--form", NAMES),
        ("--workers", ["0", *NUMBERS[:3]]),
        *((name, []) for name in ("--for-basicsr", "--json")),
    ],
    "export": [("--out", ["out.onnx", "out.safetensors", *FILES]), ("--format", NAMES), ("--json", [])],
    "pack": [("--out", ["out", *FILES]), ("--json", [])],
    "report": [("--out", ["out.html", *FILES]), ("--json", [])],
    "study": [("--out", ["out", *FILES]), ("--dry-run", []), ("--json", [])],
    "knn": [("-opt", FILES), ("--weights", FILES), ("--json", [])],
    "tsne": [("-opt", FILES), ("--weights", FILES), ("--out", FILES), ("--json", [])],
    "env": [("--json", [])],
}
# What makes a call of a command complete.
FIRST: dict[str, list[str]] = {
    "restore": ["a.png"],
    "diagnose": ["a.png"],
    "degrade": ["a.png", "--name", "noise"],
    "train": ["options.yml"],
    "synthesize": ["--gt", "in"],
    "lmdb": ["--gt", "in", "--out", "out.lmdb"],
    "prepare": ["list"],
    "export": ["weights.pth"],
}
# What keeps a complete call short, which would compute for a minute with what it does by default.
SHORT = {name: ["--images", "3", "--crop", "8", "--seeds", "1"] for name in ("knn", "tsne")}
USUAL = ["restore", "diagnose", "degrade", "prepare", "synthesize", "lmdb", "options", "export"]


@dataclass(frozen=True)
class Line:
    """What is typed after `dcpt`."""

    words: tuple[str, ...]


@st.composite
def cases(draw: Any) -> Line:
    name = draw(st.sampled_from([*SWITCHES, *USUAL, *USUAL]))
    words: list[str] = list(FIRST.get(name, [])) if draw(st.integers(0, 3)) else []
    words += SHORT.get(name, [])
    for _ in range(draw(st.integers(0, 4))):
        switch, values = draw(st.sampled_from(SWITCHES[name]))
        if not values or draw(st.integers(0, 9)) == 0:
            words.append(switch)
        else:
            words += [switch, draw(st.sampled_from(values if draw(st.integers(0, 5)) else ANY))]
    if draw(st.integers(0, 2)) == 0:
        words.insert(draw(st.integers(0, len(words))), draw(st.sampled_from(ANY)))
    if draw(st.integers(0, 30)) == 0:
        name = draw(st.sampled_from(["", "restor", "-h", "--version", "x", "RESTORE", "--json"]))
    return Line((name, *words))


@cache
def stock() -> dict[str, bytes]:
    """The files that are in the folder."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for index, name in enumerate(("a.png", "b.jpg")):
            image = np.random.default_rng(index).integers(0, 256, (13, 17, 3), np.uint8)
            write_image(folder / name, image)
        torch.save({"params": build("NAFNet").state_dict()}, folder / "weights.pth")
        options = dcpt_options(Path("in"), Path("run"))
        options["train"]["total_iter"] = 1
        options["datasets"] = {key: options["datasets"][key] for key in ("train", "val_noise")}
        options["datasets"]["train"].update(gt_size=8, batch_size_per_gpu=2)
        (folder / "options.yml").write_text(yaml.safe_dump(options))
        found = {file.name: file.read_bytes() for file in folder.iterdir()}
    found["in/b.jpg"] = found.pop("b.jpg")
    found["in/c.png"] = found["a.png"]
    return {
        **found,
        "cut.png": found["a.png"][:200],
        "cut.pth": found["weights.pth"][:900],
        "text.png": b"no image",
        "bad.yml": b"name: [a, b\n: c",
    }


@contextlib.contextmanager
def called(words: list[str], folder: Path) -> Iterator[tuple[io.StringIO, io.StringIO]]:
    """The state of a process in which a command was typed in a folder."""
    out, err = io.StringIO(), io.StringIO()
    roots = [
        mock.patch.object(module, name, folder)
        for path, module in list(sys.modules.items())
        if path.startswith("dcpt_tools.")
        for name in ("ROOT", "HOME")
        if isinstance(getattr(module, name, None), Path) and path != "dcpt_tools.option_folder"
    ]
    log = logging.getLogger("basicsr")
    handlers = list(log.handlers)
    with contextlib.ExitStack() as stack:
        for each in roots:
            stack.enter_context(each)
        stack.enter_context(mock.patch.object(sys, "argv", ["dcpt", *words]))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        stack.enter_context(mock.patch.dict(os.environ))
        try:
            yield out, err
        finally:
            for handler in [each for each in log.handlers if each not in handlers]:
                log.removeHandler(handler)
                handler.close()


def check(case: Line, folder: Path) -> str:
    for name, data in stock().items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    (folder / "empty").mkdir()
    with called(list(case.words), folder) as (out, err):
        try:
            code = dcpt()
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else 1 if leaving.code else 0
    said = err.getvalue()
    if "Traceback (most recent" in said:
        raise Fault(f"a traceback: {said[-300:]}")
    if code == 0:
        if (
            "--json" in case.words
            and case.words[0] in COMMANDS
            and "--help" not in case.words
            and "-h" not in case.words
            and out.getvalue().strip()
        ):
            _one_object(out.getvalue())
        return "done"
    errors = [line for line in said.splitlines() if "error: " in line]
    if not errors and case.words[0]:
        raise Fault(f"exit code {code} without an error: {said[-200:]!r}")
    if code not in (1, 2):
        raise Fault(f"exit code {code}")
    if errors:
        refusal_is_clear(errors[-1].partition("error: ")[2] or "nothing")
    return f"refused ({code})"


def _one_object(text: str) -> None:
    def refuse(name: str) -> None:
        raise Fault(f"no JSON: {name}")

    try:
        json.loads(text, parse_constant=refuse)
    except ValueError as error:
        raise Fault(f"no JSON: {text[:100]!r}") from error


def _prepare() -> None:
    stock()
    for module, _ in COMMANDS.values():
        importlib.import_module(f"dcpt_tools.{module}")
    from dcpt_models.inference.packaged import default_package

    default_package()


LINES = Family("lines", cases, check, _prepare)
