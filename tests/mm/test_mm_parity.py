"""Under mmengine's Runner a run is, to the bit, the run of basicsr/train.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import Commands
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from small_runs import assert_same, dcpt_options, launch, restoration_options, weights, write

import dcpt_mmengine  # noqa: F401 - registers all, as custom_imports of a config would
from dcpt_arch.checkpoints import load_network
from dcpt_models.errors import OptionError

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "options" / "mmengine" / "dcpt_promptir_5d.py"


def config(file: Path, home: Path, **changes: Any) -> Config:
    """The config that comes along, for another option file and work_dir."""
    read = Config.fromfile(CONFIG)
    read.model.update(options=str(file), changes=changes)
    read.work_dir = str(home)
    read.visualizer.vis_backends = [{"type": "LocalVisBackend"}]
    read.experiment_name = home.name + str(len(changes))  # two Runners in one process need two names
    return read


def curves(home: Path) -> list[str]:
    """What metrics.csv says, without speed and memory."""
    rows = (home / "metrics.csv").read_text().splitlines()
    return [row for row in rows if row.split(",")[1].split("/")[0] not in ("speed", "memory")]


def assert_equal(one: Path, other: Path, *labels: str) -> None:
    for label in labels:
        for name in sorted(file.name for file in (one / "models").glob(f"net_{label}_*")):
            assert_same(
                weights(one, label, name.rpartition("_")[2][:-4]), weights(other, label, name.rpartition("_")[2][:-4])
            )
    assert (one / "validation.jsonl").read_text() == (other / "validation.jsonl").read_text()
    assert curves(one) == curves(other)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_pre_training_with_a_resume(precision: str, photographs: Path, tmp_path: Path) -> None:
    options = dcpt_options(photographs, tmp_path / "theirs")
    options["train"].update(total_iter=4, ema_decay=0.9, precision=precision, grad_clip=0.5, accumulate=2)
    options["val"]["val_freq"] = 2
    file = write(options, tmp_path)
    launch(file)
    Runner.from_cfg(config(file, tmp_path / "ours", train={"total_iter": 2})).train()
    assert not (tmp_path / "ours" / "models" / "net_g_4.pth").exists()
    again = config(file, tmp_path / "ours")
    again.resume = True
    runner = Runner.from_cfg(again)
    runner.train()
    assert runner.iter == 4
    assert_equal(tmp_path / "theirs", tmp_path / "ours", "g", "dc")


def test_each_front_end_goes_on_with_a_run_of_the_other(photographs: Path, tmp_path: Path) -> None:
    options = restoration_options(photographs, tmp_path / "whole")
    file = write(options, tmp_path)
    launch(file)
    ours = tmp_path / "ours"
    here = [f"path:experiments_root={ours}"]
    launch(file, "--force_yml", "train:total_iter=1", *here)
    middle = config(file, ours, train={"total_iter": 2})
    middle.resume = True
    Runner.from_cfg(middle).train()
    launch(file, "--auto_resume", "--force_yml", *here)
    assert_same(weights(tmp_path / "whole"), weights(ours))
    network = load_network(ours / "models" / "net_g_latest.pth")
    assert network(torch.zeros(1, 3, 17, 23)).shape == (1, 3, 17, 23)


def test_two_processes(photographs: Path, commands: Commands, tmp_path: Path) -> None:
    options = dcpt_options(photographs, tmp_path / "theirs")
    options["train"]["total_iter"] = 2
    options["datasets"]["train"]["batch_size_per_gpu"] = 2
    file = write(options, tmp_path)
    started = commands.start_two(file)
    line = (CONFIG, "--launcher", "pytorch", "--work-dir", tmp_path / "ours", "--cfg-options", f"model.options={file}")
    started += commands.start_pair("tools/mm_train.py", *line, cwd=tmp_path)
    for process in started:
        done = process.wait()
        assert done.returncode == 0, done.stderr
    assert_equal(tmp_path / "theirs", tmp_path / "ours", "g", "dc")


class Told(Hook):
    """Remembers what it was called with."""

    def __init__(self, stop_at: int = 0) -> None:
        self.stop_at, self.iterations, self.metrics = stop_at, [], []

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self.iterations.append((batch_idx, runner.iter, sorted(data_batch), outputs and outputs["l_pix"]))

    def after_val_epoch(self, runner: Any, metrics: Any = None) -> None:
        self.metrics.append((runner.iter, metrics["average/psnr"]))
        runner.train_loop.stop_training = runner.iter == self.stop_at  # as EarlyStoppingHook does


def test_hooks_are_told_what_happens_and_may_end_the_run(photographs: Path, tmp_path: Path) -> None:
    options = restoration_options(photographs, tmp_path / "run")
    options["train"]["total_iter"] = 9
    options["val"]["val_freq"] = options["logger"]["print_freq"] = 2
    file = write(options, tmp_path)
    runner = Runner.from_cfg(config(file, tmp_path / "run"))
    told = Told(stop_at=2)
    runner.register_hook(told)
    runner.train()
    assert [told[:2] for told in told.iterations] == [(0, 0), (1, 1), (2, 2)]
    assert {"lq", "gt", "degradation"} <= set(told.iterations[0][2])
    assert told.iterations[0][3] is None  # outputs come with the log, so that no GPU is waited for
    assert told.iterations[1][3] > 0
    lines = (tmp_path / "run" / "validation.jsonl").read_text().splitlines()
    assert told.metrics == [(2, json.loads(lines[0])["results"]["average"]["psnr"])]
    assert (tmp_path / "run" / "training_states" / "3.state").exists()
    (written,) = (tmp_path / "run").rglob("scalars.json")
    records = [json.loads(line) for line in written.read_text().splitlines()]
    assert [record["step"] for record in records] == [2, 2]
    assert records[0]["l_pix"] == told.iterations[1][3]
    assert records[1]["average/psnr"] == told.metrics[0][1]


@pytest.mark.parametrize(
    ("setting", "advice"),
    [
        ({"param_scheduler": [{"type": "ConstantLR"}]}, "train:scheduler"),
        ({"load_from": "x.pth"}, "path:pretrain_network_g"),
        ({"compile": True}, "train:compile"),
        ({"custom_hooks": [{"type": "EMAHook"}]}, "train:ema_decay"),
        ({"train_dataloader": {"batch_size": 4}}, "datasets"),
    ],
)
def test_what_the_option_file_has_to_say_is_refused_elsewhere(
    setting: dict[str, Any], advice: str, photographs: Path, tmp_path: Path
) -> None:
    file = write(restoration_options(photographs, tmp_path / "run"), tmp_path)
    told = config(file, tmp_path / "run")
    told.update(setting)
    told.experiment_name = advice
    with pytest.raises(OptionError, match=advice):
        Runner.from_cfg(told).train()


def test_a_folder_with_checkpoints_is_not_written_over(photographs: Path, tmp_path: Path) -> None:
    file = write(restoration_options(photographs, tmp_path / "run"), tmp_path)
    launch(file, "--force_yml", "train:total_iter=1")
    with pytest.raises(OptionError, match="Add --resume"):
        Runner.from_cfg(config(file, tmp_path / "run")).train()
