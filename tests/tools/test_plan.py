"""`dcpt plan`: what a training will cost, tried in a folder that is thrown away."""

from __future__ import annotations

import argparse
import json
import re
import signal
from pathlib import Path

import pytest
from commands import Commands
from small_runs import dcpt_options, restoration_options, write

from dcpt_models.errors import RunError
from dcpt_models.options.command_line import load_options
from dcpt_models.runtime.apart import ApartError
from dcpt_tools.planning import planner
from dcpt_tools.planning.plan import options_to_plan, scratch, starting_from
from dcpt_tools.planning.planner import Planned
from dcpt_tools.planning.text import gib, spoken, text_of

DCPT = "dcpt_tools/__main__.py"


@pytest.fixture
def files(photographs: Path, tmp_path: Path) -> list[Path]:
    """A pre-training whose data are partly not there, and a fine-tuning that starts from it."""
    first = dcpt_options(photographs, tmp_path / "runs" / "pre")
    first["datasets"]["train"]["sets"]["rain"] = {"source": "Rain100L-train"}
    first["path"]["datasets_root"] = str(tmp_path / "none")
    first["train"]["total_iter"] = 1000
    for key in [key for key in first["datasets"] if key not in ("train", "val_haze")]:
        del first["datasets"][key]
    second = restoration_options(photographs, tmp_path / "runs" / "fine")
    second.update(name="fine", datasets={"train": second["datasets"]["train"]})
    second["path"]["pretrain_network_g"] = str(tmp_path / "runs" / "pre" / "models" / "net_g_latest.pth")
    return [write(first, tmp_path, "pre.yml"), write(second, tmp_path, "fine.yml")]


def test_a_plan_is_made_of_trials_and_leaves_nothing(files: list[Path], commands: Commands, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    words = ("plan", "pre.yml", "--seconds", 0, "--switches", "accumulate", "--json")
    done = commands.run(DCPT, *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    first, second = found["runs"]
    assert [first["name"], second["name"]] == ["tiny", "fine"]  # which starts from it
    assert first["seconds"] == pytest.approx(sum(first["parts"].values()))
    assert first["parts"]["iterations"] == pytest.approx(1000 * first["seconds_per_iteration"])
    assert first["parts"]["validation"] > 0 == second["parts"]["validation"]
    assert found["seconds"] == pytest.approx(first["seconds"] + second["seconds"])
    (switch,) = first["switches"]
    assert switch["switch"] == "train:accumulate=2"
    assert switch["speed"] > 0
    assert first["memory_bytes"] > 1e8
    assert {one["name"] for one in first["sets"] if not one["there"]} == {"datasets:train:rain"}
    assert found["lmdb_bytes"]["Rain100L-train"] == 3 * 481 * 321 * 400
    assert sorted(tmp_path.rglob("*")) == before
    assert "trying train:accumulate=2" in done.stderr


@pytest.mark.parametrize(
    ("memory", "advice"), [(True, " Try a smaller datasets:train:batch_size_per_gpu"), (False, "")]
)
def test_what_cannot_be_trained_is_said(
    memory: bool, advice: str, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ApartError("it went wrong", memory)

    monkeypatch.setattr(planner, "run_apart", fail)
    arguments = argparse.Namespace(seconds=0, size=(64, 64), count=2, switches=[], extensions=None)
    opt = load_options(files[1], tmp_path, is_train=True)
    with pytest.raises(RunError) as caught:
        planner.Planner(opt, tmp_path / "trials", arguments, 0).plan()
    assert (
        str(caught.value) == f"fine cannot be trained here with a batch of 4 crops of 32 pixels: it went wrong.{advice}"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--size", "big"], "WIDTHxHEIGHT"),
        (["--switches", "bf61"], "invalid choice: 'bf61'"),
        (["--auto_resume"], "a single new process"),
        (["--seconds", "-1"], "--seconds must be 0 or more"),
    ],
)
def test_wrong_usage(words: list[str], said: str, files: list[Path], commands: Commands, tmp_path: Path) -> None:
    done = commands.run(DCPT, "plan", "pre.yml", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr


def test_an_interrupted_plan_leaves_nothing(files: list[Path], commands: Commands, tmp_path: Path) -> None:
    started = commands.start(DCPT, "plan", "pre.yml", "--seconds", 600, cwd=tmp_path)
    started.wait_for("trying")
    started.send(signal.SIGTERM)
    done = started.wait()
    assert done.returncode == 130
    assert done.stderr.rstrip().endswith("Interrupted")
    assert not list(tmp_path.rglob(".dcpt_plan*"))


def test_the_fine_tuning_is_found_by_where_it_starts(files: list[Path], tmp_path: Path) -> None:
    opt = load_options(files[0], tmp_path, is_train=True)
    assert starting_from(opt, files[0]) == [files[1]]
    opt["path"]["experiments_root"] = str(tmp_path / "runs" / "other")
    assert starting_from(opt, files[0]) == []


def test_what_is_forced_may_be_of_the_pre_training_alone(files: list[Path]) -> None:
    given = argparse.Namespace(opt=[str(files[0])], force_yml=["network_dc:width=4"], debug=False, alone=False)
    runs, notes = options_to_plan(given)
    assert [run["network_dc"]["width"] for run in runs] == [4]
    assert [note for note in notes if note.startswith(f"{files[1].stem}, which starts from it, is not planned: ")]


def test_trials_lie_on_the_disk_of_the_run(tmp_path: Path) -> None:
    opt = {"path": {"experiments_root": str(tmp_path / "there" / "not" / "yet")}}
    with scratch(opt) as folder:
        assert folder.parent == tmp_path
    assert not folder.exists()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.012, "12 ms"), (3.21, "3.2 s"), (89, "89.0 s"), (180, "3.0 min"), (7200, "2.0 h"), (864000, "10.0 days")],
)
def test_times_are_said_as_people_do(seconds: float, text: str) -> None:
    assert spoken(seconds) == text
    assert gib(3 * 2**29) == "1.5 GiB"
    assert gib(3 * 2**20) == "3 MiB"


def test_a_switch_is_told_by_the_whole_run() -> None:
    from dcpt_models.training.estimate import Estimate

    found = Estimate({"start": 100.0, "iterations": 7200.0}, 7.2, 0.25, 2**30, 2**32, 2**20)
    opt = {
        "name": "x",
        "model_type": "DCPTModel",
        "train": {"total_iter": 1000},
        "datasets": {"train": {"gt_size": 64, "batch_size_per_gpu": 8}},
    }
    faster = {"switch": "train:precision=bf16", "speed": 2.0, "memory": 0.5}
    failed = {"switch": "train:compile=true", "failed": "no compiler"}
    text = text_of(Planned(opt, found, [], 24, [faster, failed]))
    assert "1,000 iterations of 8 crops of 64 pixels, 7.2 s each, 25% of it waiting for data" in text
    assert re.search(r"precision=bf16 +2.00 x as fast, 0.50 x the memory: 1.0 h", text)
    assert "does not work here: no compiler" in text
    assert "largest batch that fits: 24" in text
