"""A study in slices: whole arms that fit a window of minutes, of which small results alone are kept and added up."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

from dcpt_models.analysis.run_records import VALIDATIONS
from dcpt_models.analysis.study.arms import PlannedRun, StudyOptions, test_folder
from dcpt_models.analysis.study.jobs import TIMES, Job, Start, run_jobs, seconds_of
from dcpt_models.analysis.study.plan import RESULTS, Runs, test_job, training_job
from dcpt_models.evaluation.testing import PER_IMAGE

Unit = tuple[str, int]  # an arm, and a seed


def units_of(study: StudyOptions) -> list[Unit]:
    """All arms with all seeds, in the order in which they are trained: seed by seed, so that each is complete early."""
    return [(arm, seed) for seed in study.seeds for arm in study.arms]


def jobs_of(study: StudyOptions, unit: Unit, last: PlannedRun, root: Path) -> list[Job]:
    """The commands of an arm with a seed: its training runs, then its test.

    The test is not put off until all arms of the seed are trained, as in a study in one piece: no weights are kept.
    """
    own = tuple(str(run.folder) for run in last.chain())
    return [*(training_job(run) for run in last.chain()), test_job(study, unit[0], last, own, root)]


def is_kept(unit: Unit, folder: Path) -> bool:
    """Whether the results of an arm with a seed are there."""
    return (folder / test_folder(*unit) / RESULTS).exists()


def keep(jobs: list[Job], runs: list[PlannedRun], unit: Unit, work: Path, kept: Path, device: str) -> None:
    """Copy what is small of an arm with a seed: values of the test images, validations, times, and what it depends on.

    Args:
        jobs: Its commands, which are done.
        runs: Its training runs.
        unit: Which.
        work: Where it was trained.
        kept: Where to.
        device: What it was trained on, for the times.
    """
    seconds = seconds_of(work)
    files = [run.folder / VALIDATIONS for run in runs]
    files += [Path(f"{job.name}.yml") for job in jobs]
    for file in files:
        if (work / file).exists():
            (kept / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(work / file, kept / file)
    iterations = {str(run.folder): {"iterations": run.iterations} for run in runs}
    lines = [
        {
            "job": job.name,
            "seconds": round(seconds.get(job.name, 0.0), 2),
            "device": device,
            **iterations.get(job.name, {}),
        }
        for job in jobs
    ]
    with (kept / TIMES).open("a", encoding="utf-8") as times:
        times.writelines(json.dumps(line) + "\n" for line in lines)
    tested = test_folder(*unit)
    (kept / tested).mkdir(parents=True, exist_ok=True)
    for name in (PER_IMAGE, RESULTS):  # the last one says that all is there
        shutil.copyfile(work / tested / name, kept / tested / name)


def expected_seconds(runs: list[PlannedRun], kept: Path, device: str) -> float | None:
    """What training an arm may take here, by the runs of the same option files on the same device; None if unknown."""
    rates: dict[str, float] = {}
    file = kept / TIMES
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        entry = json.loads(line)
        iterations = entry.get("iterations")
        if entry["device"] == device and iterations:
            rates[_kind(entry["job"])] = entry["seconds"] / iterations
    known = [rates.get(_kind(str(run.folder))) for run in runs]
    if None in known:
        return None
    return sum(rate * run.iterations for rate, run in zip(known, runs, strict=True) if rate is not None)


def _kind(job: str) -> str:
    """The name of a run without its arm, seed and number: that of its option file."""
    return Path(job).name.partition("_")[2]


def work_through(
    study: StudyOptions,
    last: Runs,
    root: Path,
    work: Path,
    kept: Path,
    start: Start,
    minutes: float,
    device: str,
    report: Callable[[str], None] = lambda line: None,
) -> int:
    """Train and test arms one after the other until the window is over.

    An arm that would not fit, by what others took on this device, is left to a longer window. What the end of the
    window cuts off is stopped in good order; it goes on from there if `work` is still there the next time.

    Args:
        study: The study.
        last: What `plan_runs` found.
        root: The repository.
        work: Where runs lie, with their weights.
        kept: Where small results are added up.
        start: What starts commands.
        minutes: The window.
        device: What is trained on.
        report: Called with a line for each thing that happens.

    Returns:
        How many arms with a seed were finished.
    """
    end = time.monotonic() + 60 * minutes
    finished = 0
    for unit in units_of(study):
        if is_kept(unit, kept):
            continue
        runs = last[unit].chain()
        expected, remaining = expected_seconds(runs, kept, device), end - time.monotonic()
        name = f"{unit[0]}, seed {unit[1]}"
        if remaining <= 0:
            break
        if expected is not None and expected > remaining:
            report(f"{name} would take {expected / 60:.1f} minutes; {remaining / 60:.1f} are left")
            continue
        jobs = jobs_of(study, unit, last[unit], root)
        if not run_jobs(jobs, work, start, 1, report, end):
            report(f"{name} did not end within the window")
            break
        keep(jobs, runs, unit, work, kept, device)
        finished += 1
    return finished


def comparable(study: StudyOptions, folder: Path) -> StudyOptions | None:
    """The largest part of a study of which every arm is there with every seed; None if there is nothing to compare.

    Args:
        study: The whole study.
        folder: The results that were kept.
    """
    there = {unit for unit in units_of(study) if is_kept(unit, folder)}
    best: tuple[int, list[int], list[str]] = (0, [], [])
    for seeds in _subsets(study.seeds):
        arms = [arm for arm in study.arms if all((arm, seed) in there for seed in seeds)]
        if study.reference in arms and len(arms) > 1 and len(arms) * len(seeds) > best[0]:
            best = (len(arms) * len(seeds), seeds, arms)
    size, seeds, arms = best
    if not size:
        return None
    control = study.control if study.control in arms else None
    return replace(study, seeds=seeds, arms={arm: study.arms[arm] for arm in arms}, control=control, features=None)


def _subsets(seeds: list[int]) -> Iterator[list[int]]:
    for count in range(1, len(seeds) + 1):
        yield from map(list, combinations(seeds, count))


def what_is_there(study: StudyOptions, folder: Path) -> str:
    """A section of the page: which arms are there with which seeds, what they took and on what."""
    minutes: dict[str, tuple[float, str]] = {}
    file = folder / TIMES
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        entry = json.loads(line)
        unit = "/".join(Path(entry["job"]).parts[:2])
        minutes[unit] = (minutes.get(unit, (0.0, ""))[0] + entry["seconds"] / 60, entry["device"])
    rows: list[list[str]] = [["arm", *(f"seed {seed}" for seed in study.seeds)]]
    count = 0
    for arm in study.arms:
        cells = []
        for seed in study.seeds:
            there = is_kept((arm, seed), folder)
            count += there
            took = minutes.get(f"{arm}/seed_{seed}")
            cells.append(f"{took[0]:.1f} min, {took[1]}" if there and took else "yes" if there else "-")
        rows.append([arm, *cells])
    total = len(study.arms) * len(study.seeds)
    chosen = comparable(study, folder)
    used = (
        f"What follows compares {', '.join(chosen.arms)} with {_named(chosen.seeds)}, the largest complete part."
        if chosen
        else "Nothing can be compared yet: the reference and another arm are needed with one seed."
    )
    table = [f"| {' | '.join(row)} |" for row in rows]
    table.insert(1, "|" + "---|" * len(rows[0]))
    return f"## How much is there\n\n{count} of {total} trainings. {used}\n\n" + "\n".join(table)


def _named(seeds: list[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def partial_page(study: StudyOptions, folder: Path, written: str | None, command: str) -> str:
    """The page of what is there.

    Args:
        study: The whole study.
        folder: The results that were kept.
        written: The page of the part that can be compared; none without one.
        command: What made it.
    """
    section = what_is_there(study, folder)
    if written is None:
        return f"# {study.name}\n\n{study.about.strip()}\n\n{section}\n\n## How\n\n    {command}\n"
    begin, heading, rest = written.partition("\n## ")
    return f"{begin.rstrip()}\n\n{section}\n{heading}{rest}"


def record_of(study: StudyOptions, folder: Path) -> dict[str, Any]:
    """What is there, as plain values."""
    return {"there": [{"arm": arm, "seed": seed} for arm, seed in units_of(study) if is_kept((arm, seed), folder)]}
