"""A study in slices: whole arms that fit, small results that are kept, added up on other machines, and written up."""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from commands import ROOT, Commands
from test_study import Forked, study_file

from dcpt_models.analysis.study import jobs as jobs_module
from dcpt_models.analysis.study import window
from dcpt_models.analysis.study.arms import plan_runs, read_study
from dcpt_models.analysis.study.arms import test_folder as folder_of_test
from dcpt_models.analysis.study.jobs import Job
from dcpt_models.analysis.study.plan import RESULTS
from dcpt_models.errors import OptionError
from dcpt_tools.studying import study as command

STUDY = ROOT / "options" / "mini" / "study_window.yml"


def test_a_study_in_slices(
    photographs: Path,
    crop_folder: Path,
    commands: Commands,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = {"folder": str(crop_folder), "validation_share": 0.34, "test": str(photographs)}
    file = study_file(tmp_path, photographs=given)
    kept, work = tmp_path / "kept", tmp_path / "work"
    started: list[str] = []
    passed = [0.0]  # seconds by which the clock is put forward
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + passed[0], sleep=time.sleep)
    monkeypatch.setattr(jobs_module, "time", clock)
    monkeypatch.setattr(window, "time", clock)

    def start(one: Job, folder: Path) -> Forked:
        started.append(one.name)
        process = Forked(commands, one, folder)
        passed[0] += 3600 if len(started) == 3 else 0
        return process

    monkeypatch.setattr(command, "starter", lambda words, threads: start)

    def run(*words: str) -> str:
        switches = ["--out", str(kept), "--work", str(work), *words]
        monkeypatch.setattr(sys, "argv", ["study.py", str(file), *switches])
        command.work()
        return capsys.readouterr().out

    page = run("--minutes", "30")
    assert started == ["scratch/seed_0/1_restore", "scratch/seed_0/test", "dcpt/seed_0/1_dcpt"]
    assert "1 of 4 trainings. Nothing can be compared yet" in page
    assert (kept / "scratch/seed_0/test/per_image.csv").exists() and not (kept / "dcpt").exists()
    assert (work / "scratch/seed_0/1_restore/models/net_g_latest.pth").exists()

    shutil.rmtree(work)  # as on another machine, which has what was committed
    record = json.loads(run("--minutes", "30", "--json"))
    assert started[3:] == [
        *("dcpt/seed_0/1_dcpt", "dcpt/seed_0/2_restore", "dcpt/seed_0/test"),
        *("scratch/seed_1/1_restore", "scratch/seed_1/test"),
        *("dcpt/seed_1/1_dcpt", "dcpt/seed_1/2_restore", "dcpt/seed_1/test"),
    ]
    assert record["seeds"] == [0, 1] and len(record["there"]) == 4
    assert list(record["curves"]["dcpt"]) == ["2"] and len(record["accuracy"]["dcpt"]) == 2
    page = (kept / "page.md").read_text()
    assert "4 of 4 trainings. What follows compares scratch, dcpt with seeds 0, 1" in page
    assert page.index("# small") < page.index("## How much is there") < page.index("## Arms")
    assert not [path for path in kept.rglob("*") if path.suffix in (".pth", ".state", ".log")]
    assert sum(path.stat().st_size for path in kept.rglob("*") if path.is_file()) < 300_000

    before = len(started)
    run("--minutes", "30")
    assert len(started) == before
    with pytest.raises(OptionError, match="begun with other options"):
        run("--minutes", "30", "--force_yml", "set=[train:optim_g:lr=0.01]")
    shutil.rmtree(work)
    with pytest.raises(OptionError, match="of other photographs"):
        run("--minutes", "30", "--force_yml", "photographs:seed=1")
    with pytest.raises(OptionError, match="above 0"):
        run("--minutes", "0")


def test_what_does_not_fit_is_left_to_a_longer_window(tmp_path: Path) -> None:
    study = read_study(STUDY, [])
    last = plan_runs(study, ROOT)
    kept = tmp_path / "kept"
    kept.mkdir()
    measured = {"job": "scratch/seed_0/1_restore", "seconds": 60.0, "device": "GPU", "iterations": 3000}
    (kept / "times.jsonl").write_text(json.dumps(measured) + "\n", encoding="utf-8")
    assert window.expected_seconds(last["scratch_longer", 0].chain(), kept, "GPU") == pytest.approx(120)
    assert window.expected_seconds(last["scratch_longer", 0].chain(), kept, "another GPU") is None
    assert window.expected_seconds(last["dcpt", 0].chain(), kept, "GPU") is None  # nothing is known of pre-training

    said: list[str] = []
    started: list[str] = []

    def start(one: Job, folder: Path) -> Any:
        started.append(one.name)
        raise KeyboardInterrupt

    longer = {unit: last["scratch_longer", unit[1]] for unit in last}
    with pytest.raises(KeyboardInterrupt):
        window.work_through(study, longer, ROOT, tmp_path / "work", kept, start, 2.5, "GPU", said.append)
    assert len(started) == 1
    started.clear()
    assert not window.work_through(study, longer, ROOT, tmp_path / "work", kept, start, 1.5, "GPU", said.append)
    assert not started
    assert "scratch, seed 0 would take 2.0 minutes; 1.5 are left" in said


@pytest.mark.parametrize(
    ("there", "arms", "seeds"),
    [
        ([("scratch", 0)], None, None),
        ([("dcpt", 0), ("joint", 0)], None, None),  # without the reference
        ([("scratch", 0), ("dcpt", 0), ("scratch", 1)], ["scratch", "dcpt"], [0]),
        ([("scratch", 0), ("dcpt", 0), ("scratch", 2), ("dcpt", 2), ("joint", 2)], ["scratch", "dcpt"], [0, 2]),
    ],
)
def test_the_largest_complete_part_is_compared(
    tmp_path: Path, there: list[tuple[str, int]], arms: list[str] | None, seeds: list[int] | None
) -> None:
    for unit in there:
        folder = tmp_path / folder_of_test(*unit)
        folder.mkdir(parents=True)
        (folder / RESULTS).touch()
    study = read_study(STUDY, [])
    chosen = window.comparable(study, tmp_path)
    assert (chosen and list(chosen.arms), chosen and chosen.seeds) == (arms, seeds)
    page = window.partial_page(study, tmp_path, None, "dcpt study")
    assert f"{len(there)} of {len(study.arms) * len(study.seeds)} trainings" in page


def test_the_arms_of_the_window_are_trained_alike() -> None:
    study = read_study(STUDY, [])
    last = plan_runs(study, ROOT)
    recipe = last["scratch", 0].resolved["train"]
    for arm in study.arms:
        if arm != study.control:
            assert last[arm, 0].resolved["train"] == recipe
    pre, tuned = last["dcpt", 0].chain()
    assert study.control and last[study.control, 0].iterations - tuned.iterations == 2.5 * pre.iterations
    for run in {end.studied().folder: end.studied() for end in last.values()}.values():
        assert run.resolved["train"]["scheduler"]["T_max"] == run.iterations
        assert run.resolved["train"]["precision"] == "bf16"
