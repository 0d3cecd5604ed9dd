"""Study files: the arms of a comparison, and the training runs that they need."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from dcpt_common import Count, Natural, Range, Seed, nearest
from dcpt_models.errors import OptionError
from dcpt_models.options.adapted import code_files, locate, put_back
from dcpt_models.options.check import Problem, check_mapping, declared_by, raise_problems
from dcpt_models.options.command_line import resolve, resolve_existing
from dcpt_models.options.files import read_options
from dcpt_models.options.schema import check_options

LATEST = Path("models", "net_g_latest.pth")  # of a run's folder; written when the run is finished
# What a study says of each run itself, after everything else.
OWN = ("manual_seed", "name", "path:experiments_root", "path:pretrain_network_g", "path:resume_state")
RESERVED = ("photographs",)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(kw_only=True)
class RunOptions:
    """A training run of an arm.

    Attributes:
        opt: Its option file.
        set: What replaces options of the file, as `--force_yml` does.
    """

    opt: str
    set: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class ArmOptions:
    """One of the ways that are compared.

    Attributes:
        runs: One after the other; each but the first starts from the network of the one before
            (`path:pretrain_network_g`), of which it takes what its option file's `path:pretrain_scope_g` says.
        about: What it is, in a sentence.
    """

    runs: list[RunOptions]
    about: str = ""


@dataclass(kw_only=True)
class PhotographOptions:
    """Clean photographs, split once; runs find them below `photographs/` in the study's folder.

    Attributes:
        folder: Those that are split into `photographs/train` and `photographs/val`.
        validation_share: Share that is held out for validation.
        seed: Of the choice.
        test: Those of `photographs/test`; by default the ones that scikit-image installs.
    """

    folder: str
    validation_share: Annotated[float, Range(above=0, below=1)] = 0.1
    seed: Seed = 0
    test: str | None = None


@dataclass(kw_only=True)
class FeatureOptions:
    """The study of features by `dcpt knn`: of what each arm's last run starts from, or of that run if it is the only.

    Attributes:
        gt: Clean photographs, which are degraded; never those of the test.
        degradations: Which; by default the five of 5D.
        images: Of each degradation.
        crop: Side of a crop in pixels.
        tiles: Whether every photograph is cut into crops, instead of giving one from its centre.
        states: Random splits.
        networks: Random networks that stand beside.
        grid: Side that feature maps are averaged down to; none for no averaging.
    """

    gt: str
    degradations: list[str] | None = None
    images: Count = 100
    crop: Count = 128
    tiles: bool = True
    states: Count = 100
    networks: Natural = 3
    grid: Count | None = None


@dataclass(kw_only=True)
class StudyOptions:
    """A study file.

    Attributes:
        name: Of the study's folder.
        arms: Name -> arm.
        reference: The arm that the others are compared with.
        test: Option file of the test sets. They are looked at once every arm of a seed is trained, and not before.
        control: A second arm that the others are compared with: the reference with the compute of pre-training.
        about: What the study asks, in a few sentences; the page begins with it.
        seeds: `manual_seed` of the runs; every arm is trained with each.
        set: What replaces options of all runs, before what a run itself says.
        photographs: Photographs that are split for the study; none if option files name folders that are there.
        features: How features are studied; none for not at all.
        threads: Of each command on the CPU, whatever runs beside it; none for PyTorch's own choice. On a CPU the last
            digits of results depend on it.
    """

    name: str
    arms: dict[str, ArmOptions]
    reference: str
    test: str
    control: str | None = None
    about: str = ""
    seeds: list[Seed] = field(default_factory=lambda: [0, 1, 2])
    set: list[str] = field(default_factory=list)
    photographs: PhotographOptions | None = None
    features: FeatureOptions | None = None
    threads: Count | None = None


@dataclass(frozen=True)
class PlannedRun:
    """A training run, which several arms may have in common.

    Attributes:
        folder: Relative to the study's folder.
        file: Its option file.
        force: What replaces its options.
        resolved: Its options with all that.
        seed: Its `manual_seed`.
        before: The run that it starts from.
        code: Files of the user's code that its networks are of.
    """

    folder: Path
    file: Path
    force: tuple[str, ...]
    resolved: dict[str, Any]
    seed: int
    before: PlannedRun | None
    code: tuple[str, ...] = ()

    @property
    def weights(self) -> Path:
        """Its network, once it is finished."""
        return self.folder / LATEST

    @property
    def iterations(self) -> int:
        """Training iterations, without those of the runs before."""
        count: int = self.resolved["train"]["total_iter"]
        return count

    def chain(self) -> list[PlannedRun]:
        """The runs that lead to it, and itself."""
        return [*(self.before.chain() if self.before else []), self]

    def studied(self) -> PlannedRun:
        """The run whose features are studied: the one it starts from, or itself if it starts from none."""
        return self.before or self


def read_study(file: Path, force: list[str]) -> StudyOptions:
    """Read and check a study file.

    Args:
        file: The file; `_base_` and all else is as in option files.
        force: What replaces its entries, as `--force_yml` does for option files.

    Raises:
        OptionError: Listing all that is wrong.
    """
    options = read_options(file, force)
    problems = check_mapping(options.values, declared_by(StudyOptions))
    raise_problems(problems or _contradictions(options.values), options)
    values = dict(options.values)
    for key, kind in (("photographs", PhotographOptions), ("features", FeatureOptions)):
        if values.get(key) is not None:
            values[key] = kind(**values[key])
    values["arms"] = {
        name: ArmOptions(**{**arm, "runs": [RunOptions(**run) for run in arm["runs"]]})
        for name, arm in values["arms"].items()
    }
    return StudyOptions(**values)


def _contradictions(values: dict[str, Any]) -> list[Problem]:
    problems = []
    arms, seeds = values["arms"], values.get("seeds", [0])
    for name, arm in arms.items():
        if not _NAME.fullmatch(name) or name in RESERVED:
            problems.append(Problem(("arms", name), "is the name of a folder: letters, digits, and _ . - within"))
        if not arm["runs"]:
            problems.append(Problem(("arms", name, "runs"), "is empty; an arm has a run or more"))
        for index, run in enumerate(arm["runs"]):
            problems += _not_ours(run.get("set", []), ("arms", name, "runs", str(index), "set"))
    problems += _not_ours(values.get("set", []), ("set",))
    for key in ("reference", "control"):
        name = values.get(key)
        if name is not None and name not in arms:
            problems.append(Problem((key,), f"no arm '{name}'{nearest(name, arms)}"))
    if values.get("control") == values["reference"]:
        problems.append(Problem(("control",), "is the reference too; name another arm, or none"))
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        problems.append(Problem(("seeds",), f"must be different whole numbers from 0, not {seeds}"))
    if (threads := values.get("threads")) is not None and threads < 1:
        problems.append(Problem(("threads",), f"must be 1 or more, not {threads}"))
    return problems


def _not_ours(entries: list[str], path: tuple[str, ...]) -> list[Problem]:
    taken = [entry for entry in entries if entry.partition("=")[0].replace(" ", "") in OWN]
    return [Problem(path, f"'{entry}' is what the study says of each run itself; leave it out") for entry in taken]


def plan_runs(study: StudyOptions, root: Path) -> dict[tuple[str, int], PlannedRun]:
    """Find out which runs there are; those that several arms have in common are planned once.

    Two runs are the same if option file, replaced options, seed and the run before are.

    Args:
        study: The study.
        root: The repository; see `resolve`.

    Returns:
        Arm and seed -> the arm's last run. Seeds come one after the other, so that each is complete early.

    Raises:
        OptionError: If the options of a run are wrong.
    """
    known: dict[Any, PlannedRun] = {}
    last = {}
    for seed in study.seeds:
        for name, arm in study.arms.items():
            before: PlannedRun | None = None
            for number, asked in enumerate(arm.runs, 1):
                file = Path(resolve(asked.opt, root))
                given = (*study.set, *asked.set)
                key = (seed, before and before.folder, file, given)
                if key not in known:
                    folder = Path(name, f"seed_{seed}", f"{number}_{file.stem}")
                    known[key] = _plan_run(folder, file, given, seed, before, root)
                before = known[key]
            assert before is not None
            last[name, seed] = before
    return last


def _read_run(file: Path, force: list[str], is_train: bool, root: Path) -> tuple[dict[str, Any], list[str]]:
    """Read and check the options of a command, which runs in the study's folder.

    What names code or checkpoints of networks from here is added to `force` with their places.

    Returns:
        The options as the files say them, and the files of code.
    """
    options = read_options(file, force)
    said = locate(options.values, partial(resolve_existing, root=root))
    check_options(options, is_train)
    force += [f"{key}:network={json.dumps(options.values[key]['network'])}" for key in said]
    return put_back(options.values, said), code_files(options.values)


def _plan_run(
    folder: Path, file: Path, given: tuple[str, ...], seed: int, before: PlannedRun | None, root: Path
) -> PlannedRun:
    force = [*given, f"manual_seed={seed}", f"name={_name(folder)}", f"path:experiments_root={json.dumps(str(folder))}"]
    if before:
        force.append(f"path:pretrain_network_g={json.dumps(str(before.weights))}")
    resolved, code = _read_run(file, force, True, root)
    if not before and (start := (resolved.get("path") or {}).get("pretrain_network_g")):
        raise OptionError(
            f"{file}: key 'path:pretrain_network_g': starts from {start}, which belongs to no run of the study; remove "
            "it, and name what trains that network as the run before"
        )
    return PlannedRun(folder, file, tuple(force), resolved, seed, before, tuple(code))


def _name(folder: Path) -> str:
    return "_".join(folder.parts)


def plan_test(
    study: StudyOptions, arm: str, last: PlannedRun, root: Path
) -> tuple[Path, tuple[str, ...], dict[str, Any]]:
    """The test of an arm's last run, whose `network_g` takes the place of the test's own.

    Returns:
        Option file, what replaces its options, and its options with that.

    Raises:
        OptionError: If they are wrong.
    """
    file = Path(resolve(study.test, root))
    folder = test_folder(arm, last.seed)
    force = [
        f"name={_name(folder)}",
        f"network_g={json.dumps(last.resolved['network_g'])}",
        f"path:pretrain_network_g={json.dumps(str(last.weights))}",
        f"path:results_root={json.dumps(str(folder))}",
    ]
    resolved, _ = _read_run(file, force, False, root)
    return file, tuple(force), resolved


def test_folder(arm: str, seed: int) -> Path:
    """Where the results of a test lie, relative to the study's folder."""
    return Path(arm, f"seed_{seed}", "test")
