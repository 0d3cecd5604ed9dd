"""Comparisons of ways of training: what is planned, in which order it runs, what is resumed, what comes out."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from commands import ROOT, Commands, Started
from small_models import make_model
from small_runs import NETWORK, dcpt_options, restoration_options, write

import dcpt_arch  # noqa: F401 - registers networks
import dcpt_data  # noqa: F401 - registers data sets
import dcpt_models  # noqa: F401 - registers models
from dcpt_data import DataError
from dcpt_models.analysis.study.arms import PhotographOptions, StudyOptions, plan_runs, read_study
from dcpt_models.analysis.study.jobs import Job, run_jobs, seconds_of, settle, starter
from dcpt_models.analysis.study.plan import study_jobs
from dcpt_models.analysis.study.results import read_images
from dcpt_models.errors import OptionError, RunError
from dcpt_models.options.files import read_options
from dcpt_models.options.schema import check_options
from dcpt_models.runtime.command import INTERRUPTED
from dcpt_tools.studying import study as command

MINI = ROOT / "options" / "mini"
SETS = ("rain", "noise")


# What a study file says


def study_file(folder: Path, **said: Any) -> Path:
    """A study of two arms and two seeds, whose runs have two iterations."""
    options = {"dcpt": dcpt_options, "restore": restoration_options}
    for name, make in options.items():
        values = make(Path("photographs/train"), folder)
        values["datasets"] = {key: values["datasets"][key] for key in ("train", *(f"val_{one}" for one in SETS))}
        for key in ("val_rain", "val_noise"):
            values["datasets"][key]["dataroot_gt"] = "photographs/val"
        values["train"]["total_iter"] = 2
        values["val"]["metrics"].pop("ssim")
        values["path"] = {"pretrain_scope_g": "encoder"}
        write(values, folder, f"{name}.yml")
    sets = {
        f"test_{one}": {
            "name": one,
            "type": "DegradationDataset",
            "degradation": one,
            "dataroot_gt": "photographs/test",
        }
        for one in SETS
    }
    test = {"name": "t", "model_type": "RestorationModel", "num_gpu": 0, "network_g": NETWORK, "datasets": sets}
    write({**test, "val": {"metrics": {"psnr": {"type": "calculate_psnr"}}}}, folder, "test.yml")
    pre, restore = ({"opt": str(folder / f"{name}.yml")} for name in options)
    study = {
        "name": "small",
        "seeds": [0, 1],
        "reference": "scratch",
        "test": str(folder / "test.yml"),
        "arms": {"scratch": {"runs": [restore]}, "dcpt": {"about": "both stages", "runs": [pre, restore]}},
        **said,
    }
    file = folder / "study.yml"
    file.write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
    return file


def planned(file: Path, *force: str) -> tuple[StudyOptions, dict[str, Job]]:
    study = read_study(file, list(force))
    return study, {job.name: job for job in study_jobs(study, plan_runs(study, ROOT), ROOT)}


def test_runs_that_arms_have_in_common_are_planned_once(tmp_path: Path) -> None:
    file = study_file(tmp_path)
    arms = yaml.safe_load(file.read_text())["arms"]
    pre, restore = arms["dcpt"]["runs"]
    longer = {**restore, "set": ["train:total_iter=3"]}
    arms |= {"dcpt_longer": {"runs": [pre, longer]}, "same": {"runs": [pre, restore]}}
    _, jobs = planned(study_file(tmp_path, arms=arms))
    trainings = [name for name in jobs if not name.endswith("test")]
    for seed in (0, 1):
        own = [name for name in trainings if f"seed_{seed}" in name]
        assert own == [
            f"scratch/seed_{seed}/1_restore",
            f"dcpt/seed_{seed}/1_dcpt",
            f"dcpt/seed_{seed}/2_restore",
            f"dcpt_longer/seed_{seed}/2_restore",
        ]
        # Fine-tuning starts from what was pre-trained, and nothing is tested before all of the seed are trained.
        tuned, scratch = jobs[f"dcpt_longer/seed_{seed}/2_restore"], jobs[f"scratch/seed_{seed}/1_restore"]
        assert tuned.after == (f"dcpt/seed_{seed}/1_dcpt",)
        path = tuned.record["options"]["path"]
        assert path["pretrain_network_g"] == f"dcpt/seed_{seed}/1_dcpt/models/net_g_latest.pth"
        assert path["pretrain_scope_g"] == "encoder"
        assert tuned.record["options"]["manual_seed"] == seed
        assert "pretrain_network_g" not in scratch.record["options"]["path"]
        ends = [own[0], own[2], own[3]]
        for arm in arms:
            assert set(jobs[f"{arm}/seed_{seed}/test"].after) == set(ends)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ({"reference": "scrach"}, "did you mean 'scratch'?"),
        ({"control": "scratch"}, "is the reference too"),
        ({"seeds": [0, 0]}, "different whole numbers"),
        ({"seed": [0]}, "did you mean 'seeds'?"),
        ({"set": ["manual_seed=3"]}, "leave it out"),
        ({"arms": {"scratch": {"runs": []}}}, "a run or more"),
        ({"arms": {"../scratch": {"runs": [{"opt": "x.yml"}]}}, "reference": "../scratch"}, "name of a folder"),
        ({"set": ["train:total_itr=3"]}, "did you mean 'total_iter'?"),
    ],
)
def test_a_mistake_in_a_study_file_is_told_before_anything_starts(
    tmp_path: Path, said: dict[str, Any], meant: str
) -> None:
    with pytest.raises(OptionError, match=meant.replace("?", r"\?")):
        planned(study_file(tmp_path, **said))


@pytest.mark.parametrize("file", sorted(MINI.glob("[!s]*.yml")), ids=lambda file: file.stem)
def test_every_option_file_of_the_mini_study_passes_its_check(file: Path) -> None:
    options = read_options(file)
    training = "train" in options.values["datasets"]
    force = [] if training else ["path:pretrain_network_g=x.pth"]
    check_options(read_options(file, force), is_train=training)
    assert options.values["name"] == f"mini_{file.stem}"


@pytest.mark.parametrize("size", ["cpu", "gpu"])
def test_the_mini_studies_compare_like_with_like(size: str) -> None:
    study = read_study(MINI / f"study_{size}.yml", [])
    last = plan_runs(study, ROOT)
    jobs = study_jobs(study, last, ROOT)
    assert len(study.arms) == 9
    assert all(arm.about for arm in study.arms.values())
    assert len([job for job in jobs if job.command == "train"]) == 15 * len(study.seeds)
    assert len(study.seeds) >= {"cpu": 2, "gpu": 3}[size]

    def recipe(arm: str) -> dict[str, Any]:
        options = last[arm, 0].resolved
        return {key: options[key] for key in ("model_type", "datasets", "network_g", "train", "val")}

    assert study.control is not None
    for arm in study.arms:
        if arm not in (study.control, "dc_train"):
            assert recipe(arm) == recipe(study.reference)
    # DC-Train and the control differ in what they are for, and in nothing else.
    own, usual = recipe("dc_train")["train"], recipe(study.reference)["train"]
    assert {key: value for key, value in own.items() if key not in ("optim_dc", "cls_opt")} == usual
    pre, tuned = last["dcpt", 0].chain()
    control = last[study.control, 0]
    assert control.iterations - tuned.iterations == 2.5 * pre.iterations
    assert control.resolved["train"]["scheduler"]["T_max"] == control.iterations
    for run in (pre, tuned):
        assert run.resolved["train"]["scheduler"]["T_max"] == run.iterations
    if size == "gpu":
        assert tuned.iterations >= 20_000
        assert tuned.resolved["network_g"]["width"] >= 32
    test = next(job for job in jobs if job.command == "test")
    assert test.record["options"]["network_g"] == tuned.resolved["network_g"]


def test_recipes_are_judged_by_photographs_that_are_held_out_for_it() -> None:
    study = read_study(MINI / "study_recipe.yml", [])
    last = plan_runs(study, ROOT)
    jobs = study_jobs(study, last, ROOT)
    for job in jobs:
        if job.command == "test":
            sets = job.record["options"]["datasets"].values()
            assert {options["dataroot_gt"] for options in sets} == {"photographs/val"}
    seed = study.seeds[0]
    for arm in study.arms:  # with fine-tuning that differs comes its own reference
        if arm.startswith("dcpt_"):
            own, reference = last[arm, seed].resolved, last[arm.replace("dcpt", "scratch"), seed].resolved
            for key in ("datasets", "network_g", "train"):
                assert own[key] == reference[key]


def test_the_study_of_the_documentation_is_one(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "REPRODUCTION.md").read_text(encoding="utf-8"), re.S)
    (tmp_path / "study.yml").write_text(text, encoding="utf-8")
    study, jobs = planned(tmp_path / "study.yml")
    assert len(jobs) == len(study.seeds) * (5 + 3) + 1


def test_without_the_global_residual_an_idle_head_reproduces_nothing(photographs: Path, tmp_path: Path) -> None:
    options = dcpt_options(photographs, tmp_path / "run")
    losses = {}
    for residual in (True, False):
        options["train"]["global_residual"] = residual
        model: Any = make_model(options, tmp_path)
        with torch.no_grad():
            for parameter in model.net_g.ending.parameters():
                parameter.zero_()
            losses[residual] = model.generation_losses()["l_pix"].item()
            assert torch.equal(model.predict(image=True)[0], model.gt if residual else torch.zeros_like(model.gt))
    assert losses[True] == 0
    assert losses[False] == pytest.approx(model.gt.mean().item())


# How commands are run


class Fake:
    """A process that ends with `code` after so many looks at it, having made what its job makes."""

    def __init__(self, job: Job, folder: Path, looks: int = 1, code: int = 0) -> None:
        self.job, self.folder, self.looks, self.code = job, folder, looks, code
        self.signals: list[int] = []

    def poll(self) -> int | None:
        self.looks -= 1
        if self.looks > 0:
            return None
        if not self.code:
            (self.folder / self.job.makes).write_text("made")
        return self.code

    def wait(self) -> int:
        return -signal.SIGTERM

    def send_signal(self, number: int, /) -> None:
        self.signals.append(number)


def job(name: str, *after: str, **record: Any) -> Job:
    return Job(name, "basicsr/train.py", (), Path(f"{name}.pth"), {"options": record}, after)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dcpt_models.analysis.study.jobs.PAUSE", 0)


@pytest.mark.usefixtures("impatient")
def test_jobs_wait_for_what_they_need_and_run_side_by_side(tmp_path: Path) -> None:
    jobs = [job("a"), job("b", "a"), job("c"), job("d"), job("e", "b", "d")]
    started: list[str] = []
    running: list[Fake] = []
    most = 0

    def start(one: Job, folder: Path) -> Fake:
        nonlocal most
        assert all((folder / f"{name}.pth").exists() for name in one.after)
        started.append(one.name)
        running.append(Fake(one, folder, looks=3))
        most = max(most, sum(fake.looks > 0 for fake in running))
        return running[-1]

    run_jobs(jobs, tmp_path, start, limit=2)
    assert started == ["a", "c", "b", "d", "e"]
    assert most == 2
    assert set(seconds_of(tmp_path)) == set("abcde")
    run_jobs(jobs, tmp_path, start, limit=2)  # all are done
    assert len(started) == 5


@pytest.mark.usefixtures("impatient")
def test_a_failing_job_stops_the_others_and_is_tried_again(tmp_path: Path) -> None:
    fakes: dict[str, Fake] = {}

    def start(one: Job, folder: Path, code: int = 1) -> Fake:
        fakes[one.name] = Fake(one, folder, *((2, code) if one.name == "b" else (99 if one.name == "a" else 1,)))
        (folder / f"{one.name}.log").write_text("error: no such folder")
        return fakes[one.name]

    with pytest.raises(RunError, match=r"b ended with exit code 1(.|\n)*no such folder"):
        run_jobs([job("a"), job("b"), job("c")], tmp_path, start, limit=2)
    assert fakes["a"].signals == [signal.SIGTERM]
    assert "c" not in fakes

    def better(one: Job, folder: Path) -> Fake:
        fakes.pop(one.name, None)
        return Fake(one, folder)

    run_jobs([job("a"), job("b"), job("c")], tmp_path, better, limit=2)
    assert not fakes


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("how", ["a signal to the study", "a signal to the run"])
def test_an_interruption_stops_what_runs_in_good_order(tmp_path: Path, how: str) -> None:
    fakes: list[Fake] = []

    def start(one: Job, folder: Path) -> Fake:
        fakes.append(Fake(one, folder, 99))
        if one.name == "b":
            if how == "a signal to the study":
                os.kill(os.getpid(), signal.SIGINT)
            else:
                fakes[-1].looks, fakes[-1].code = 1, INTERRUPTED
        return fakes[-1]

    with pytest.raises(KeyboardInterrupt):
        run_jobs([job("a"), job("b"), job("c")], tmp_path, start, limit=2)
    assert [fake.job.name for fake in fakes] == ["a", "b"]
    assert fakes[0].signals == [signal.SIGTERM]
    assert "a" in seconds_of(tmp_path)


@pytest.mark.usefixtures("impatient")
def test_what_was_begun_with_other_options_is_refused_with_what_changed(tmp_path: Path) -> None:
    run_jobs([job("a", lr=1e-3), job("b", lr=1e-3)], tmp_path, Fake)
    settle([job("a", lr=1e-3), job("c", lr=1e-3)], tmp_path)  # other arms may come and go
    with pytest.raises(OptionError, match=r"its \.yml: a\. What has changed:\n  options:lr: 0\.001 -> 0\.002$"):
        settle([job("a", lr=2e-3), job("b", lr=1e-3)], tmp_path)
    again = Job("b", "knn", (), Path("b.pth"), {"options": {"lr": 1}}, repeatable=True)
    settle([again], tmp_path, change=False)
    assert again.is_done(tmp_path)
    settle([again], tmp_path)
    assert not again.is_done(tmp_path)


def test_a_command_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "tell.py").write_text(
        "import json, os, sys\n"
        "print('told', file=sys.stderr)\n"
        "print(json.dumps([sys.argv[1:], os.getcwd(), os.environ['OMP_NUM_THREADS'], os.getsid(0) == os.getpid()]))\n"
    )
    folder = tmp_path / "study"
    folder.mkdir()
    one = Job("say", "tell", ("a b", "c"), Path("said.json"), {"options": {}}, prints=True)
    run_jobs([one], folder, starter([sys.executable, str(tmp_path / "tell.py")], threads=3))
    assert json.loads((folder / "said.json").read_text()) == [["tell", "a b", "c"], str(folder), "3", True]
    assert (folder / "say.log").read_text() == "told\n"


# The whole


class Forked:
    """A command in the fork server, as a process of a study."""

    def __init__(self, commands: Commands, job: Job, folder: Path) -> None:
        self.job, self.folder = job, folder
        self.started: Started = commands.start("dcpt_tools/__main__.py", job.command, *job.arguments, cwd=folder)
        self.commands = commands

    def poll(self) -> int | None:
        code: int | None = self.commands.ask({"wait": self.started.pid, "seconds": 0.02})
        if code is not None:
            (self.folder / f"{self.job.name}.log").write_text(self.started.read())
            made = self.folder / self.job.makes
            if self.job.prints:
                made.with_name(f".{made.name}.partial").write_text(self.started.output.with_suffix(".out").read_text())
        return code

    def wait(self) -> int:
        code: int = self.commands.ask({"wait": self.started.pid, "seconds": 60})
        return code

    def send_signal(self, number: int, /) -> None:
        self.started.send(number)


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModuleType]:
    """The command `dcpt study`, with another way of starting commands."""

    def load(start: Callable[[Job, Path], Any]) -> ModuleType:
        monkeypatch.setattr(command, "starter", lambda words, threads: start)
        return command

    return load


def test_a_small_study_is_interrupted_resumed_and_written_up(
    photographs: Path,
    crop_folder: Path,
    commands: Commands,
    tool: Callable[..., ModuleType],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = study_file(
        tmp_path,
        photographs={"folder": str(crop_folder), "validation_share": 0.34, "test": str(photographs)},
        features={"gt": "photographs/val", "images": 6, "crop": 32, "states": 2, "networks": 1, "grid": 4},
    )
    out = tmp_path / "out"
    started: list[str] = []
    interrupt_at = 3

    def start(one: Job, folder: Path) -> Forked:
        started.append(one.name)
        process = Forked(commands, one, folder)
        if len(started) == interrupt_at:
            os.kill(os.getpid(), signal.SIGTERM)
        return process

    asked = tool(start)

    def run(*words: str) -> None:
        monkeypatch.setattr(sys, "argv", ["study.py", str(file), "--out", str(out), *words])
        asked.work()

    with pytest.raises(KeyboardInterrupt):
        run()
    assert started == ["scratch/seed_0/1_restore", "dcpt/seed_0/1_dcpt", "dcpt/seed_0/2_restore"]
    assert not list(out.glob("*/*/test"))  # nothing has been looked at
    run("--json")
    assert started[3:] == [
        "dcpt/seed_0/2_restore",
        "scratch/seed_0/test",
        "dcpt/seed_0/test",
        "scratch/seed_1/1_restore",
        "dcpt/seed_1/1_dcpt",
        "dcpt/seed_1/2_restore",
        "scratch/seed_1/test",
        "dcpt/seed_1/test",
        "features",
    ]
    record = json.loads(capsys.readouterr().out)
    assert record == json.loads((out / "results.json").read_text())

    # Differences are those of the images' values, which stand in the files of `dcpt test`.
    values = {
        (arm, seed): {
            name: np.mean([one["psnr"] for one in images.values()])
            for name, images in read_images(out / arm / f"seed_{seed}" / "test").items()
        }
        for arm in ("scratch", "dcpt")
        for seed in (0, 1)
    }
    assert set(values["dcpt", 0]) == set(SETS)
    (compared,) = record["comparisons"]
    for name in SETS:
        by_seed = [values["dcpt", seed][name] - values["scratch", seed][name] for seed in (0, 1)]
        found = compared["difference"][name]
        assert found["mean"] == pytest.approx(np.mean(by_seed))
        assert found["low"] <= found["mean"] <= found["high"]
        assert record["scores"]["dcpt"]["psnr"][name] == pytest.approx([values["dcpt", s][name] for s in (0, 1)])
    assert np.mean(compared["by_seed"]) == pytest.approx(compared["difference"]["average"]["mean"])
    assert list(record["curves"]["dcpt"]) == ["2"]
    assert len(record["accuracy"]["dcpt"]) == 2
    assert "scratch" not in record["accuracy"]
    findings = record["features"]["findings"]
    assert findings[0]["label"] == "raw pixels"
    assert [one.get("arms") for one in findings[-4:]] == [["scratch"], ["dcpt"], ["scratch"], ["dcpt"]]
    assert [one.get("seed") for one in findings[-4:]] == [0, 0, 1, 1]
    assert record["costs"]["dcpt"]["iterations"] == [2, 2]
    page = (out / "page.md").read_text()
    for words in ("| raw pixels", "| dcpt", "both stages", "minus scratch", "NAFNet, 1 random network"):
        assert words in page
    for picture in ("differences.svg", "curves.svg", "features.svg"):
        assert f"({picture})" in page
        assert (out / picture).read_text().rstrip().endswith("</svg>")

    # Parts of the photographs have nothing in common, and a second call does nothing.
    parts = {part: {path.name for path in (out / "photographs" / part).iterdir()} for part in ("train", "val", "test")}
    assert {part: len(names) for part, names in parts.items()} == {"train": 4, "val": 2, "test": 2}
    assert len(set.union(*parts.values())) == 8
    before = len(started)
    run()
    assert len(started) == before
    with pytest.raises(OptionError, match=r"train:optim_g:lr: 0\.001 -> 0\.01"):
        run("--force_yml", "set=[train:optim_g:lr=0.01]")
    with pytest.raises(OptionError, match="of other photographs"):
        run("--force_yml", "photographs:seed=1")


def test_test_photographs_among_those_of_training_are_refused(
    crop_folder: Path, tool: Callable[..., ModuleType], tmp_path: Path
) -> None:
    given = PhotographOptions(folder=str(crop_folder), validation_share=0.5, test=str(crop_folder))
    with pytest.raises(DataError, match="keep the two apart"):
        tool(Fake).part(given, tmp_path)
    assert not any(tmp_path.iterdir())


def test_a_dry_run_prints_the_commands(commands: Commands, tmp_path: Path) -> None:
    done = commands.run("tools/study.py", study_file(tmp_path), "--out", "out", "--dry-run", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    jobs = json.loads(done.stdout)["jobs"]
    assert [one["command"] for one in jobs].count("train") == 6
    assert not any(one["done"] for one in jobs)
    assert not (tmp_path / "out").exists()
