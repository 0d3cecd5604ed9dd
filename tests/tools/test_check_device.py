"""`dcpt check-device`: what it keeps when the time is up or a part fails, its page, and its parts at small size."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from commands import Commands

from dcpt_tools.measuring import recipes, resuming, speed, values
from dcpt_tools.measuring.check_device import chosen, parts_of
from dcpt_tools.measuring.page import file_name, page
from dcpt_tools.measuring.session import Row, Session, failures, run_parts
from dcpt_tools.measuring.timing import Floor

DCPT = "dcpt_tools/__main__.py"


@pytest.fixture
def session(tmp_path: Path) -> Session:
    record = {"device": "Some GPU", "small": True, "command": "dcpt check-device", "conditions": {"threads": "1"}}
    return Session(torch.device("cpu"), True, tmp_path / "some_gpu.json", record, {"fp32": Floor(1e11, 1e10)})


def good(session: Session) -> Iterator[Row]:
    yield {"what": "a", "ok": True}


def wrong(session: Session) -> Iterator[Row]:
    yield {"what": "b", "difference": 2.0, "ok": False}
    raise ValueError("no more")


def endless(session: Session) -> Iterator[Row]:
    yield {"what": "c", "ms": 3.0}
    try:
        time.sleep(60)
    except Exception:  # as a part may have it, which is not to keep it from ending
        yield {"what": "never"}


def test_what_was_reached_is_kept_when_the_time_is_up(session: Session) -> None:
    parts = {"First": good, "Second": wrong, "Third": endless, "Fourth": good}
    assert not run_parts(session, parts, 2 / 60)
    record = json.loads(session.file.read_text())
    assert {title: len(part["rows"]) for title, part in record["parts"].items()} == {
        "First": 1,
        "Second": 1,
        "Third": 1,
    }
    assert failures(record) == ["Second: b", "Second: ValueError: no more"]
    text = page(record)
    assert "2 checks; 2 failed" in text
    assert "The time was up in: Third. Not reached: Fourth." in text
    assert "| b" in text and "**no**" in text and "It ended with: ValueError: no more" in text


def test_all_within_the_time(session: Session) -> None:
    assert run_parts(session, {"First": good}, 1)
    text = page(session.record)
    assert "1 checks; none failed." in text and "The time was up" not in text


def test_parts_are_chosen_by_words_and_what_matters_comes_first() -> None:
    parts = parts_of(on_gpu=True)
    assert list(parts)[:2] == ["Floor", "Networks"] and "compiled" in list(parts)[-1]
    assert list(chosen(parts, ["swinir"])) == ["An iteration of DCPT: DCPTSwinIR", "Restoring: DCPTSwinIR"]


def test_the_command(commands: Commands, tmp_path: Path) -> None:
    words = [
        "--device",
        "cpu",
        "--only",
        "floor",
        "metrics",
        "degrad",
        "--minutes",
        "3",
        "--out",
        str(tmp_path / "out"),
    ]
    done = commands.run(DCPT, "check-device", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (file,) = (tmp_path / "out").glob("*.md")
    assert done.stdout.startswith("# ") and file.read_text() == done.stdout.rstrip("\n") + "\n"
    record = json.loads(file.with_suffix(".json").read_text())
    assert record["complete"] and list(record["parts"]) == ["Floor", "Metrics", "Degradations"]
    assert len(record["parts"]["Degradations"]["rows"]) > 8
    typo = commands.run(DCPT, "check-device", "--only", "metrix", "--out", str(tmp_path), cwd=tmp_path)
    assert typo.returncode == 2 and "Metrics" in typo.stderr


def test_a_device_that_computes_wrongly_is_found(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    psnr = values.psnr

    def shifted(images: torch.Tensor, target: torch.Tensor, **others: bool) -> torch.Tensor:
        return psnr(images, target, **others) + 0.01 * (images.dtype == torch.float32)  # the processor has float64

    monkeypatch.setattr(values, "psnr", shifted)
    assert [row["ok"] for row in values.metrics(session)] == [False, False, True, True]


def test_networks_and_methods(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "SMALL", {"NAFNet": values.SMALL["NAFNet"]})
    monkeypatch.setattr(values, "METHODS", {name: values.METHODS[name] for name in ("DCPT", "masked DCPT")})
    rows = [*values.networks(session), *values.methods(session)]
    assert len(rows) == 10
    assert all(row["ok"] for row in rows)


def test_speed_beside_the_published_form(session: Session) -> None:
    rows = [*speed.step(session, "NAFNet"), *speed.restore(session, "NAFNet")]
    labels = ["published form", "fp32", "bf16"]
    assert [row["what"].split(": ")[1] for row in rows] == 2 * labels
    assert all(row["ms"] > 0 and row["peak MB"] >= 0 for row in rows)
    assert all(row["times as fast"] > 0 for row in rows if "published" not in row["what"])
    assert all("of the floor" in row for row in rows if "bf16" not in row["what"])  # whose floor was not measured


def test_hours_are_those_of_all_iterations_and_images(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[dict[str, object]] = []

    def two_seconds(_: Session, others: dict, train: dict, batch: recipes.Batch) -> tuple[float, recipes.Batch, int]:
        measured.append({"model": others["model_type"], **train})
        return 2.0, batch, 10**9

    monkeypatch.setattr(recipes, "_measured", two_seconds)
    first, second = recipes.projection(session)
    assert [one["model"] for one in measured] == 2 * ["DCPTModel"] + 2 * ["RestorationModel"]
    assert first["what"] == "5d/dcpt_nafnet_5d" and first["bf16, measured"] == "1 x 32²"
    crop = int(first["an iteration"].split("x ")[1].rstrip("²"))
    assert first["bf16, hours"] == pytest.approx(2.0 * 32 * (crop / 32) ** 2 * first["iterations"] / 3600)
    assert second["iterations"] == 750000


def test_less_is_measured_where_memory_runs_out(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def scarce(_: Session, others: dict, train: dict, batch: recipes.Batch) -> tuple[float, recipes.Batch, int]:
        if batch.count > 8:
            raise RuntimeError("CUDA out of memory")
        return 1.0, batch, 0

    monkeypatch.setattr(recipes, "_measured", scarce)
    session.small = False
    monkeypatch.setattr(recipes, "RECIPES", ("dcpt_promptir_5d",))
    (row,) = recipes.projection(session)
    assert row["bf16, measured"] == "8 x 128²" and row["bf16, ms"] == 4000


class Forked:
    """`dcpt train` in the fork server, as what `subprocess.Popen` gives."""

    def __init__(self, commands: Commands, words: list[str], folder: Path) -> None:
        self.commands, self.started = commands, commands.start(DCPT, *words, cwd=folder)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        self.returncode = self.commands.ask({"wait": self.started.pid, "seconds": 0.01})
        return self.returncode

    def kill(self) -> None:
        self.started.send(signal.SIGKILL)

    def communicate(self) -> tuple[None, str]:
        self.returncode = self.commands.ask({"wait": self.started.pid, "seconds": 120})
        return None, self.started.read()


def test_a_run_that_is_killed_goes_on(
    session: Session, commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resuming, "launch", lambda words: Forked(commands, words, tmp_path))
    whole, resumed = resuming.killed_and_resumed(session)
    assert whole["ok"]
    assert resumed["what"] == "killed and resumed" and resumed["ok"] and resumed["to the bit"]


def test_names_of_files() -> None:
    assert file_name("NVIDIA H100 80GB HBM3") == "nvidia_h100_80gb_hbm3"
