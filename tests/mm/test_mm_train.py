"""`dcpt mm-train` with the configs that come along, as a user types it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import ROOT, Commands
from mmengine.config import Config
from small_networks import SMALL

from dcpt_arch.checkpoints import load_network
from dcpt_data.images import read_image, to_float
from dcpt_data.preparation.stand_ins import plan, synthesise
from dcpt_models.options.files import read_options
from dcpt_tools.training import mm_train

SETTINGS = ROOT / "options" / "mmengine"
VALIDATED = [key for key in read_options(ROOT / "options/dcpt_promptir_5d.yml").values["datasets"] if key != "train"]


def small(home: Path, total: int) -> list[str]:
    """What makes a run of seconds of a config: a small network, small crops, one image a validation set."""
    changes: dict[str, Any] = {f"network_g.{key}": value for key, value in SMALL["PromptIR"].items()}
    changes |= {"datasets.train.gt_size": 32, "datasets.train.batch_size_per_gpu": 1}
    changes |= {"datasets.train.num_worker_per_gpu": 0, "num_gpu": 0, "path.datasets_root": home / "datasets"}
    changes |= {f"datasets.{key}.limit": 1 for key in VALIDATED}
    changes |= {"train.total_iter": total, "logger.print_freq": 1}
    texts = {key: str(list(value)) if isinstance(value, tuple) else value for key, value in changes.items()}
    return ["--cfg-options", *(f"model.changes.{key}={value}".replace(" ", "") for key, value in texts.items())]


@pytest.fixture(scope="module")
def home(crop_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with stand-ins of the data that both configs read."""
    folder = tmp_path_factory.mktemp("home")
    synthesise(plan(crop_folder, "5d", 0, 0.34), folder / "datasets", 0, lambda *progress: None)
    return folder


def test_pre_training_is_resumed_and_fine_tuned_and_restores_a_photograph(
    home: Path, commands: Commands, photographs: Path
) -> None:
    runs = {name: home / "experiments" / name for name in ("dcpt_promptir_5d", "finetune_promptir_5d")}
    pre, fine = (["tools/mm_train.py", SETTINGS / f"{name}.py", "--work-dir", folder] for name, folder in runs.items())
    outputs = []
    for line in ([*pre, *small(home, 1)], [*pre, "--auto_resume", *small(home, 2)], [*fine, *small(home, 1)]):
        done = commands.run(*line, cwd=home)
        assert done.returncode == 0, done.stderr + done.stdout
        outputs.append(done.stderr)
    assert "Resuming from iteration 1" in outputs[1]
    assert "dcpt_promptir_5d/models/net_g_latest.pth" in outputs[2]
    assert list(runs["finetune_promptir_5d"].rglob("events.out.tfevents.*"))
    last = json.loads((runs["finetune_promptir_5d"] / "validation.jsonl").read_text().splitlines()[-1])
    assert last["iteration"] == 1
    network = load_network(runs["finetune_promptir_5d"] / "models" / "net_g_latest.pth")
    image = torch.from_numpy(to_float(read_image(sorted(photographs.iterdir())[0]))).permute(2, 0, 1)[None]
    with torch.inference_mode():
        assert network(image).sub(image).abs().mean() < 0.5


def test_the_pipeline_of_mmcv_trains(home: Path, commands: Commands, crop_folder: Path) -> None:
    config = Config.fromfile(SETTINGS / "scratch_nafnet_pipeline.py")
    config.pipeline[1]["size"] = 32
    changes = config.model.changes
    changes.datasets.train.update(dataroot_gt=str(crop_folder), batch_size_per_gpu=5, num_worker_per_gpu=0)
    changes.datasets.train.pipeline = config.pipeline
    changes.update(network_g=SMALL["NAFNet"], train={"total_iter": 2}, num_gpu=0)
    file = home / "mine.py"
    config.dump(file)
    done = commands.run("tools/mm_train.py", "mine.py", "--work-dir", "run", cwd=home)
    assert done.returncode == 0, done.stderr + done.stdout
    assert (home / "run" / "models" / "net_g_latest.pth").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["dcpt_promptir.py"], "error: no config 'dcpt_promptir.py'; there are dcpt_promptir_5d.py"),
        (["dcpt_promptir_5d.py", "--cfg-options", "model.changes.train.total_iters=2"], "did you mean 'total_iter'?"),
        (["dcpt_promptir_5d.py", "--launcher", "pytorch"], "needs torchrun"),
    ],
)
def test_mistakes_are_told_in_one_line(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["mm_train.py", *words, "--work-dir", str(tmp_path / "run")])
    assert mm_train.main() == 2
    assert said in capsys.readouterr().err
