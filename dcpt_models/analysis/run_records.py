"""Reads the records of a training run: options, curves, validations, checkpoints."""

from __future__ import annotations

import csv
import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from dcpt_common import with_nan
from dcpt_models.errors import OptionError
from dcpt_models.evaluation.table import Method
from dcpt_models.options.command_line import load_options
from dcpt_models.options.files import read_options
from dcpt_models.validation.validate import Results

VALIDATIONS = "validation.jsonl"  # of a run's folder
Curves = dict[str, list[tuple[int, float]]]  # name -> iteration and value, in order


def find_runs(folder: Path) -> list[Path]:
    """The run in a folder, or the runs in the folders below it (those of the demo, say), the oldest first.

    Raises:
        OptionError: If there is none.
    """
    if not folder.is_dir():
        raise OptionError(f"{folder}: no such folder; give that of a training run, such as experiments/NAME")
    runs = [folder] if _is_run(folder) else sorted(filter(_is_run, folder.iterdir()), key=_begun)
    if not runs:
        raise OptionError(f"{folder}: no training run; one has models/ and its option file in it")
    return runs


def _is_run(folder: Path) -> bool:
    return (folder / "models").is_dir() and any(folder.glob("*.yml"))


def _begun(run: Path) -> float:
    return min(file.stat().st_mtime for file in run.glob("*.yml"))


def archived_options(run: Path) -> Path:
    """The option file that was archived in a run, the newest where it was resumed with others."""
    return max(run.glob("*.yml"), key=lambda file: file.stat().st_mtime)


def started_in(run: Path, root: Path) -> Path:
    """The folder that a run was started in, which relative paths in its options are meant from.

    It is known if the options name the run's own folder by a relative path, such as `dcpt`; if not, it is taken for
    the repository.

    Args:
        run: The run.
        root: The repository.
    """
    values = read_options(archived_options(run)).values
    said = Path((values.get("path") or {}).get("experiments_root") or "")
    here, own = run.absolute().parts, len(said.parts)
    known = own and not said.is_absolute() and here[-own:] == said.parts
    return Path(*here[:-own]) if known else root


def options_to_test(run: Path, root: Path) -> dict[str, Any]:
    """The options of a run, completed for testing its newest checkpoint, on a GPU if there is one.

    Args:
        run: The run.
        root: Where relative paths that do not exist in the current folder are looked for.

    Raises:
        OptionError: If the options are wrong by now, or there is no checkpoint.
    """
    force = {"num_gpu": "auto", "path:pretrain_network_g": str(newest(run, "g")), "path:pretrain_scope_g": "all"}
    if any((run / "models").glob("net_dc_*.pth")):
        force["path:pretrain_network_dc"] = str(newest(run, "dc"))
    entries = [f"{key}={json.dumps(value)}" for key, value in force.items()]
    return load_options(archived_options(run), root, is_train=False, force=entries)


def run_checkpoints(run: Path, label: str = "g") -> dict[int, Path]:
    """Iteration -> file, for every checkpoint net_LABEL_N.pth of a run, in order.

    Raises:
        OptionError: If there are none.
    """
    files = (run / "models").glob(f"net_{label}_*.pth")
    named = ((re.fullmatch(rf"net_{label}_(\d+)\.pth", file.name), file) for file in files)
    found = {int(match.group(1)): file for match, file in named if match}
    if not found:
        raise OptionError(f"{run}: no checkpoints models/net_{label}_N.pth in it; give the folder of a training run")
    return dict(sorted(found.items()))


def newest(run: Path, label: str) -> Path:
    """The latest checkpoint of a network of a run.

    Raises:
        OptionError: If there is none.
    """
    latest = (run / "models" / f"net_{label}_latest.pth").absolute()
    return latest if latest.is_file() else list(run_checkpoints(run, label).values())[-1].absolute()


def validations(run: Path) -> dict[int, Results]:
    """Iteration -> results, of every validation of a run; nothing of a run without any."""
    file = run / VALIDATIONS
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    entries = [json.loads(line) for line in lines]
    return {entry["iteration"]: with_nan(entry["results"]) for entry in entries}


def validated(run: Path) -> dict[int, dict[str, float]]:
    """Iteration -> metric -> mean over the sets, of every validation of a run; of a single set its own values."""
    result = {}
    for iteration, results in validations(run).items():
        sets = Method("", results).sets()
        result[iteration] = results[sets[-1]] if sets else {}
    return result


def curves(run: Path) -> Curves:
    """Losses, rates and whatever else a run has logged; nothing of a run without metrics.csv."""
    file = run / "metrics.csv"
    found: Curves = defaultdict(list)
    if file.exists():
        with file.open(encoding="utf-8", newline="") as opened:
            for row in csv.DictReader(opened):
                found[row["name"]].append((int(row["iteration"]), float(row["value"])))
    return dict(found)
