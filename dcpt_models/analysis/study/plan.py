"""The commands that a study consists of: training runs, tests, and the study of features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dcpt_models.analysis.study.arms import FeatureOptions, PlannedRun, StudyOptions, plan_test, test_folder
from dcpt_models.analysis.study.jobs import Job

Runs = dict[tuple[str, int], PlannedRun]
FEATURES = Path("features.json")
RESULTS = "results.json"  # what `dcpt test` writes last


def study_jobs(study: StudyOptions, last: Runs, root: Path) -> list[Job]:
    """All commands of a study, in the order in which they are best done.

    Args:
        study: The study.
        last: What `plan_runs` found.
        root: The repository.

    Raises:
        OptionError: If the options of a test are wrong.
    """
    jobs: dict[str, Job] = {}
    for seed in study.seeds:
        ends = {arm: last[arm, seed] for arm in study.arms}
        for end in ends.values():
            for run in end.chain():
                jobs.setdefault(str(run.folder), training_job(run))
        trained = tuple(dict.fromkeys(str(end.folder) for end in ends.values()))
        for arm, end in ends.items():
            job = test_job(study, arm, end, trained, root)
            jobs[job.name] = job
    if study.features:
        jobs[FEATURES.stem] = _feature_study(study.features, studied_runs(last))
    return list(jobs.values())


def studied_runs(last: Runs) -> list[PlannedRun]:
    """The runs whose features are studied, each once."""
    return list({run.folder: run for run in (end.studied() for end in last.values())}.values())


def _of_run(run: PlannedRun) -> dict[str, Any]:
    """All that the weights of a run depend on."""
    return {"options": run.resolved, **({"starts from": _of_run(run.before)} if run.before else {})}


def training_job(run: PlannedRun) -> Job:
    """The command of a training run."""
    return Job(
        name=str(run.folder),
        command="train",
        arguments=("-opt", str(run.file), "--auto_resume", "--force_yml", *run.force),
        makes=run.weights,
        record=_of_run(run),
        after=(str(run.before.folder),) if run.before else (),
    )


def test_job(study: StudyOptions, arm: str, end: PlannedRun, trained: tuple[str, ...], root: Path) -> Job:
    """The command of an arm's test.

    Args:
        study: The study.
        arm: The arm.
        end: Its last run.
        trained: Names of the training runs that must be done before.
        root: The repository.
    """
    file, force, options = plan_test(study, arm, end, root)
    folder = test_folder(arm, end.seed)
    return Job(
        name=str(folder),
        command="test",
        arguments=("-opt", str(file), "--force_yml", *force),
        makes=folder / RESULTS,
        record={"options": options, "tests": _of_run(end)},
        after=trained,
    )


def _feature_study(asked: FeatureOptions, runs: list[PlannedRun]) -> Job:
    switches = {"images": asked.images, "crop": asked.crop, "states": asked.states, "seeds": asked.networks}
    arguments = ["--gt", asked.gt, *(word for key, value in switches.items() for word in (f"--{key}", str(value)))]
    if asked.degradations:
        arguments += ["--degradations", *asked.degradations]
    arguments += ["--tiles"] if asked.tiles else []
    arguments += ["--grid", str(asked.grid)] if asked.grid else []
    code = sorted({file for run in runs for file in run.code})  # nothing is imported because a checkpoint names it
    imported = ["--import", *code] if code else []
    return Job(
        name=FEATURES.stem,
        command="knn",
        arguments=(
            *arguments,
            *imported,
            "--json",
            "--weights",
            *(str(run.weights) for run in runs),
        ),
        makes=FEATURES,
        record={"arguments": arguments, "studies": {str(run.folder): _of_run(run) for run in runs}},
        after=tuple(str(run.folder) for run in runs),
        prints=True,
        repeatable=True,
    )
