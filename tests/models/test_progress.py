"""What a run says of itself: the log file, the time left, the curves in metrics.csv, TensorBoard and wandb."""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from basicsr.utils import get_root_logger
from small_runs import completed, dcpt_options, launch, write

from dcpt_models.errors import OptionError
from dcpt_models.runtime.logs import start_logger, start_scalars
from dcpt_models.runtime.scalars import Scalars, keep_lines
from dcpt_models.training import progress


def test_the_log_is_written_although_the_engine_was_asked_for_a_logger_before(tmp_path: Path) -> None:
    get_root_logger()  # as an extension does that logs at import, after which the engine makes no file
    start_logger(tmp_path / "run.log").info("begun")
    assert re.fullmatch(r"\S+ \S+ INFO: begun\n", (tmp_path / "run.log").read_text())
    get_root_logger().info("from the engine")
    assert "from the engine" in (tmp_path / "run.log").read_text()


def test_only_the_first_process_speaks_unless_something_is_wrong(tmp_path: Path, capsys: Any) -> None:
    start_logger(tmp_path / "run.log", rank=1)
    logging.getLogger("basicsr").info("begun")
    logging.getLogger("basicsr").error("broken")
    assert not (tmp_path / "run.log").exists()
    shown = capsys.readouterr().err
    assert "begun" not in shown
    assert "broken" in shown


class Clock:
    """Time that passes when it is told to."""

    now = 1000.0

    def perf_counter(self) -> float:
        return self.now


def test_the_time_left_is_right_after_a_resume_and_includes_what_is_due_in_between(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    scalars: dict[str, float] = {}
    events = SimpleNamespace(add_scalar=lambda name, value, iteration: scalars.update({name: value}))
    run: Any = SimpleNamespace(start=900, events=events, logger=start_logger(None))
    model: Any = SimpleNamespace(
        device=SimpleNamespace(type="cpu"),
        memory_format=None,
        trained=["g"],
        get_current_log=lambda: {"l_pix": 0.5},
        get_current_learning_rate=lambda: [1e-4],
    )
    shown = progress.Progress(run, model, 1000, lambda iteration: 8 * iteration)

    class Slow:
        def __next__(self) -> dict[str, Any]:
            clock.now += 0.5
            return {}

    batches: Any = Slow()
    for _ in range(10):
        shown.wait_for(batches)
        clock.now += 1.5
    with shown.paused():  # a validation of 10 s, of which there will be one every ten iterations
        clock.now += 10
    shown.report(910)
    log = capsys.readouterr().err
    # 90 iterations are left, at 2 s each and a second each for validation.
    assert "[910/1000, eta 0:04:30] l_pix 5.0000e-01 lr 1.00e-04 0.50 it/s, 4.0 samples/s, data 25%" in log
    assert scalars["speed/iterations_per_s"] == 0.5
    assert scalars["speed/samples_per_s"] == 4
    assert scalars["speed/data_wait_share"] == 0.25


def test_curves_are_kept_in_rows_whatever_else_takes_them(photographs: Path, tmp_path: Path) -> None:
    options = dcpt_options(photographs, tmp_path / "run")
    launch(write(options, tmp_path))
    rows = [line.split(",") for line in (tmp_path / "run" / "metrics.csv").read_text().splitlines()]
    assert rows[0] == ["iteration", "name", "value"]
    curve = {int(i): float(value) for i, name, value in rows[1:] if name == "losses/l_pix"}
    assert sorted(curve) == [1, 2, 3]
    names = {name for _, name, _ in rows[1:]}
    assert names >= {"train/acc", "train/grad_norm_g", "train/grad_norm_dc", "lr/net_dc", "memory/peak_gib"}
    assert names >= {"metrics/average/psnr", "metrics/average/accuracy", "metrics/haze/ssim"}
    assert not (tmp_path / "run" / "tb_logger").exists()


def test_lines_that_come_again_are_removed_and_a_half_written_one_too(tmp_path: Path) -> None:
    file = tmp_path / "lines.txt"
    file.write_text("1\n2\n3\n4")
    keep_lines(file, lambda line: int(line) < 3)
    assert file.read_text() == "1\n2\n"
    keep_lines(tmp_path / "none.txt", lambda line: False)
    assert [path.name for path in tmp_path.iterdir()] == ["lines.txt"]


def test_wandb_mirrors_tensorboard(photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[dict[str, Any]] = []
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=lambda **given: begun.append(given)))
    file = write(dcpt_options(photographs, tmp_path / "run"), tmp_path)
    force = ["logger:wandb={project: restoration, resume_id: abc}"]
    with pytest.raises(OptionError, match="set logger:use_tb_logger to true"):
        start_scalars(completed(file, "--force_yml", *force), 0)
    opt = completed(file, "--force_yml", *force, "logger:use_tb_logger=true")
    assert start_scalars({**opt, "rank": 1}, 0) is None
    assert not begun
    (tmp_path / "run").mkdir()
    scalars = start_scalars(opt, 0)
    assert isinstance(scalars, Scalars)
    scalars.close()
    (given,) = begun
    assert given["project"] == "restoration"
    assert (given["id"], given["resume"], given["name"], given["sync_tensorboard"]) == ("abc", "allow", "tiny", True)


def test_a_name_with_debug_in_it_changes_nothing(photographs: Path, tmp_path: Path) -> None:
    options = dcpt_options(photographs, tmp_path / "run")
    options["datasets"]["val_debug"] = options["datasets"].pop("val_haze")
    options["logger"]["use_tb_logger"] = True
    opt = completed(write(options, tmp_path))
    assert opt["val"]["val_freq"] == 100
    assert opt["logger"]["use_tb_logger"] is True
    assert opt["name"] == "tiny"
