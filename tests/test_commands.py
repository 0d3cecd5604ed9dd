"""The commands as a user types them: from another folder, with mistakes, interrupted, on two processes."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from small_runs import dcpt_options, restoration_options, write

from dcpt_data.sampling import ShuffledBatches

ROOT = Path(__file__).resolve().parent.parent
TOOLS = sorted((ROOT / "tools").glob("*.py"))
COMMANDS = [ROOT / "basicsr" / "train.py", ROOT / "basicsr" / "test.py", *TOOLS]


def command(script: str, *arguments: Any, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    line = [sys.executable, str(ROOT / script), *map(str, arguments)]
    return subprocess.run(line, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("script", COMMANDS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_help_has_an_example_and_wrong_usage_exits_with_2(script: Path, tmp_path: Path) -> None:
    shown = command(str(script), "--help", cwd=tmp_path)
    assert shown.returncode == 0
    assert f"python {script.relative_to(ROOT)}" in shown.stdout
    wrong = command(str(script), "--no-such-switch", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "Traceback" not in wrong.stderr


def test_pretrain_finetune_and_test_from_another_folder(photographs: Path, tmp_path: Path) -> None:
    write(dcpt_options(photographs, tmp_path / "pretrained"), tmp_path, "dcpt.yml")
    tuned = restoration_options(photographs, tmp_path / "tuned")
    tuned["path"].update(pretrain_network_g="pretrained/models/net_g_latest.pth", pretrain_scope_g="encoder")
    write(tuned, tmp_path, "finetune.yml")
    test = {key: tuned[key] for key in ("model_type", "num_gpu", "network_g", "degradations", "val")}
    test.update(name="tiny", table={"published": "5d", "row": "NAFNet"})
    test["datasets"] = {key: value for key, value in tuned["datasets"].items() if key != "train"}
    test["path"] = {"pretrain_network_g": "tuned/models/net_g_latest.pth", "results_root": str(tmp_path / "results")}
    write(test, tmp_path, "test.yml")

    for file in ("dcpt.yml", "finetune.yml"):
        done = command("basicsr/train.py", "-opt", file, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert re.search(r"\[3/3, eta 0:00:00\] l_pix", done.stderr)
    tabulated = command("tools/test.py", "-opt", "test.yml", "--json", cwd=tmp_path)
    assert tabulated.returncode == 0, tabulated.stderr
    record = json.loads(tabulated.stdout)
    assert set(record["results"]) == {"haze", "rain", "noise", "motion_blur", "low_light", "average"}
    assert record["paper"]["row"] == "NAFNet"
    assert "'params_ema'" in tabulated.stderr
    assert json.loads((tmp_path / "results" / "results.json").read_text()) == record
    assert "| haze " in Path(record["table"]).read_text()
    # What is tested is what was validated: the moving average, rounded to 8 bit.
    last = json.loads((tmp_path / "tuned" / "validation.jsonl").read_text().splitlines()[-1])["results"]
    assert record["results"] == last
    plain = command("basicsr/test.py", "-opt", "test.yml", cwd=tmp_path)
    assert plain.returncode == 0
    assert f"psnr {last['haze']['psnr']:.4f}" in plain.stderr


def test_a_mistyped_option_is_refused_before_anything_starts(photographs: Path, tmp_path: Path) -> None:
    options = restoration_options(photographs, tmp_path / "run")
    options["train"]["ema_decya"] = 0.9
    options["datasets"]["train"]["use_hflp"] = True
    options["network_g"]["type"] = "NAFNett"
    options["val"]["metrics"]["psnr"]["type"] = "calculate_pnsr"
    done = command("basicsr/train.py", "-opt", write(options, tmp_path), cwd=tmp_path)
    assert done.returncode == 2
    for meant in ("ema_decay", "use_hflip", "NAFNet", "calculate_psnr"):
        assert f"did you mean '{meant}'?" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_missing_data_is_listed_with_its_origin_and_the_way_out(tmp_path: Path) -> None:
    force = ["--force_yml", f"path:datasets_root={tmp_path}/none", f"path:experiments_root={tmp_path}/run"]
    done = command("basicsr/train.py", "-opt", "options/dcpt_promptir_5d.yml", *force, cwd=tmp_path)
    assert done.returncode == 1
    for word in ("RESIDE/OTS/hazy", "Rain200L/train/rain", "BSD400", "WED", "GoPro/test", "LOL-v1/eval15/low"):
        assert word in done.stderr
    for word in ("low_light: LOL-v1 (Wei et al., BMVC 2018)", "https://", "python tools/synthesize.py --gt"):
        assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_missing_checkpoint_to_test_is_an_error(photographs: Path, tmp_path: Path) -> None:
    options = restoration_options(photographs, tmp_path / "run")
    options["path"] = {"results_root": str(tmp_path / "results")}
    done = command("tools/test.py", "-opt", write(options, tmp_path), cwd=tmp_path)
    assert done.returncode == 2
    assert "path:pretrain_network_g" in done.stderr
    options["path"]["pretrain_network_g"] = "nowhere.pth"
    done = command("tools/test.py", "-opt", write(options, tmp_path), cwd=tmp_path)
    assert done.returncode == 1
    assert "no such checkpoint" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_is_named_and_nothing_is_lost(workers: int, photographs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photographs"
    shutil.copytree(photographs, folder)
    options = dcpt_options(folder, tmp_path / "run")
    options["datasets"] = {"train": {**options["datasets"]["train"], "num_worker_per_gpu": workers}}
    options["datasets"]["train"]["batch_size_per_gpu"] = 1
    options["train"]["total_iter"] = 50
    options["logger"]["save_checkpoint_freq"] = 100
    # The first sample is of the other one of the two photographs, so that there is something to lose.
    ((_, first),) = next(iter(ShuffledBatches(10, 1, options["manual_seed"])))
    damaged = sorted(folder.glob("*.png"))[1 - first % 2]
    damaged.write_bytes(damaged.read_bytes()[:2000])
    done = command("basicsr/train.py", "-opt", write(options, tmp_path), cwd=tmp_path)
    assert done.returncode == 1
    assert f"error: {damaged}: " in done.stderr
    assert "Traceback" not in done.stderr
    saved = int(re.search(r"state after iteration (\d+) is saved", done.stderr).group(1))  # type: ignore[union-attr]
    assert (tmp_path / "run" / "training_states" / f"{saved}.state").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_the_state_and_says_how_to_go_on(number: int, photographs: Path, tmp_path: Path) -> None:
    options = dcpt_options(photographs, tmp_path / "run")
    options["train"]["total_iter"] = 100_000
    options["datasets"]["train"]["num_worker_per_gpu"] = 1
    line = [sys.executable, str(ROOT / "basicsr" / "train.py"), "-opt", str(write(options, tmp_path))]
    # A session of its own, so that the signal reaches the workers too, as Ctrl-C does.
    with subprocess.Popen(line, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stderr is not None
        read = ""
        while "[3/100000" not in read:
            read = process.stderr.readline()
            assert read, "the run ended too early"
        os.killpg(process.pid, number)
        rest = process.stderr.read()
        assert process.wait(60) == 130
    assert "--auto_resume" in rest
    assert "Traceback" not in rest
    stopped = int(re.search(r"after iteration (\d+)", rest).group(1))  # type: ignore[union-attr]
    assert (tmp_path / "run" / "training_states" / f"{stopped}.state").exists()


@pytest.mark.parametrize("schedule", ["alternate", "joint"])
def test_two_processes_equal_one_with_the_same_global_batch(schedule: str, photographs: Path, tmp_path: Path) -> None:
    def options(home: str, batch: int) -> dict[str, Any]:
        made = dcpt_options(photographs, tmp_path / home)
        made["train"].update(schedule=schedule, total_iter=2)
        made["train"]["optim_g"] = made["train"]["optim_dc"] = {"type": "SGD", "lr": 0.01}
        made["datasets"]["train"]["batch_size_per_gpu"] = batch
        return made

    one = command("basicsr/train.py", "-opt", write(options("one", 4), tmp_path, "one.yml"), cwd=tmp_path)
    assert one.returncode == 0, one.stderr
    file = write(options("two", 2), tmp_path, "two.yml")
    line = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"]
    line += [str(ROOT / "basicsr" / "train.py"), "-opt", str(file), "--launcher", "pytorch"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    two = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert two.returncode == 0, two.stderr
    for label in ("g", "dc"):
        a, b = (
            torch.load(tmp_path / home / "models" / f"net_{label}_latest.pth", weights_only=True)["params"]
            for home in ("one", "two")
        )
        for name in a:
            torch.testing.assert_close(a[name], b[name], rtol=1e-4, atol=1e-5)
    results = [
        json.loads((tmp_path / home / "validation.jsonl").read_text().splitlines()[-1])["results"]
        for home in ("one", "two")
    ]
    for name, metrics in results[0].items():
        assert results[1][name] == pytest.approx(metrics, abs=0.01)


def test_the_demo_runs_to_its_table_and_pictures(tmp_path: Path) -> None:
    # Two iterations of each run show that everything fits together; what the demo learns is not tested here.
    small = ["datasets:train:batch_size_per_gpu=2", "train:total_iter=2"]
    done = command("tools/demo.py", "--out", "shown", "--json", "--force_yml", *small, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    lines = (tmp_path / "shown" / "dcpt" / "validation.jsonl").read_text().splitlines()
    accuracy = [json.loads(line)["results"]["average"]["accuracy"] for line in lines]
    assert [record["accuracy_at_start"], record["accuracy_at_end"]] == accuracy
    for name in ("haze", "rain", "noise", "motion_blur", "low_light", "average"):
        assert {"psnr", "ssim", "input_psnr", "input_ssim"} <= set(record["results"][name])
    sheet = cv2.imread(record["pictures"])
    assert sheet.shape == (5 * 300, 3 * 451, 3)  # chelsea: a row for each degradation; input, restored, ground truth
    assert "| low_light " in Path(record["table"]).read_text()
    train, test = (
        {file.name for file in (tmp_path / "shown" / "photographs" / part).iterdir()} for part in ("train", "test")
    )
    assert train
    assert not train & test
    again = command("tools/demo.py", "--out", "shown", cwd=tmp_path)
    assert again.returncode == 2
    assert "is not empty" in again.stderr
