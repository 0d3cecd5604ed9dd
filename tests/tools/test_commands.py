"""The commands as a user types them: from another folder, with mistakes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import pytest
import torch
from basicsr.archs import build_network
from commands import ROOT, Commands
from small_runs import NETWORK, dcpt_options, restoration_options, write

TOOLS = sorted((ROOT / "tools").glob("*.py"))
SCRIPTS = [ROOT / "basicsr" / "train.py", ROOT / "basicsr" / "test.py", *TOOLS]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_help_has_an_example_and_wrong_usage_exits_with_2(script: Path, commands: Commands, tmp_path: Path) -> None:
    shown = commands.run(script.relative_to(ROOT), "--help", cwd=tmp_path)
    assert shown.returncode == 0
    assert f"python {script.relative_to(ROOT)}" in shown.stdout
    wrong = commands.run(script.relative_to(ROOT), "--no-such-switch", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "Traceback" not in wrong.stderr


def test_pretrain_finetune_and_test_from_another_folder(photographs: Path, commands: Commands, tmp_path: Path) -> None:
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
        done = commands.run("basicsr/train.py", "-opt", file, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert re.search(r"\[3/3, eta 0:00:00\] l_pix", done.stderr)
    tabulated = commands.run("tools/test.py", "-opt", "test.yml", "--json", cwd=tmp_path)
    assert tabulated.returncode == 0, tabulated.stderr
    record = json.loads(tabulated.stdout)
    (one,) = record["evaluations"]
    assert set(one["results"]) == {"haze", "rain", "noise", "motion_blur", "low_light", "average"}
    assert one["paper"]["row"] == "NAFNet"
    assert "'params_ema'" in tabulated.stderr
    assert json.loads((tmp_path / "results" / "results.json").read_text()) == record
    assert "| PSNR (dB)" in Path(record["files"]["markdown"]).read_text()
    # What is tested is what was validated: the moving average, rounded to 8 bit.
    last = json.loads((tmp_path / "tuned" / "validation.jsonl").read_text().splitlines()[-1])["results"]
    assert one["results"] == last
    plain = commands.run("basicsr/test.py", "-opt", "test.yml", cwd=tmp_path)
    assert plain.returncode == 0
    assert f"psnr {last['haze']['psnr']:.4f}" in plain.stderr


def test_a_mistyped_option_is_refused_before_anything_starts(
    photographs: Path, commands: Commands, tmp_path: Path
) -> None:
    options = restoration_options(photographs, tmp_path / "run")
    options["train"]["ema_decya"] = 0.9
    options["datasets"]["train"]["use_hflp"] = True
    options["network_g"]["type"] = "NAFNett"
    options["val"]["metrics"]["psnr"]["type"] = "calculate_pnsr"
    done = commands.run("basicsr/train.py", "-opt", write(options, tmp_path), cwd=tmp_path)
    assert done.returncode == 2
    for meant in ("ema_decay", "use_hflip", "NAFNet", "calculate_psnr"):
        assert f"did you mean '{meant}'?" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_missing_data_is_listed_with_its_origin_and_the_way_out(commands: Commands, tmp_path: Path) -> None:
    force = ["--force_yml", f"path:datasets_root={tmp_path}/none", f"path:experiments_root={tmp_path}/run"]
    done = commands.run("basicsr/train.py", "-opt", "options/dcpt_promptir_5d.yml", *force, cwd=tmp_path)
    assert done.returncode == 1
    for word in ("RESIDE/OTS/hazy", "Rain100L/train/rain", "BSD400", "WED", "GoPro/test", "LOL-v1/eval15/low"):
        assert word in done.stderr
    for word in ("low_light: LOL-v1 (Wei et al., BMVC 2018)", "https://", "dcpt synthesize --gt"):
        assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_missing_checkpoint_to_test_is_an_error(photographs: Path, commands: Commands, tmp_path: Path) -> None:
    options = restoration_options(photographs, tmp_path / "run")
    options["path"] = {"results_root": str(tmp_path / "results")}
    done = commands.run("tools/test.py", "-opt", write(options, tmp_path), cwd=tmp_path)
    assert done.returncode == 2
    assert "path:pretrain_network_g" in done.stderr
    options["path"]["pretrain_network_g"] = "nowhere.pth"
    done = commands.run("tools/test.py", "-opt", write(options, tmp_path), cwd=tmp_path)
    assert done.returncode == 1
    assert "no such checkpoint" in done.stderr
    assert "Traceback" not in done.stderr


def test_weights_that_are_nan_end_every_command_with_the_name_of_their_file(
    photographs: Path, commands: Commands, tmp_path: Path
) -> None:
    network = build_network(NETWORK)
    torch.nn.init.constant_(network.intro.weight, float("nan"))
    torch.save({"params": network.state_dict()}, tmp_path / "diverged.pth")
    options = restoration_options(photographs, tmp_path / "run")
    options["path"] = {"results_root": str(tmp_path / "results"), "pretrain_network_g": "diverged.pth"}
    picture = next(photographs.glob("*.png"))
    for command in (
        ("tools/test.py", "-opt", write(options, tmp_path), "--json"),
        ("tools/restore.py", picture, "--weights", "diverged.pth", "--out", "restored", "--json"),
        ("tools/export.py", "diverged.pth", "--format", "safetensors", "--json"),
    ):
        done = commands.run(*command, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (1, ""), command
        assert re.search(r"error: .*diverged\.pth: .* values of 'intro.weight' are NaN or infinite", done.stderr)


def test_the_demo_runs_to_its_table_and_pictures(commands: Commands, tmp_path: Path) -> None:
    # Two iterations of each run show that everything fits together; what the demo learns is not tested here.
    small = ["datasets:train:batch_size_per_gpu=2", "train:total_iter=2"]
    done = commands.start("tools/demo.py", "--out", "shown", "--json", "--force_yml", *small, cwd=tmp_path).wait(400)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    lines = (tmp_path / "shown" / "dcpt" / "validation.jsonl").read_text().splitlines()
    accuracy = [json.loads(line)["results"]["average"]["accuracy"] for line in lines]
    assert [record["accuracy_at_start"], record["accuracy_at_end"]] == accuracy
    for name in ("haze", "rain", "noise", "motion_blur", "low_light", "average"):
        assert {"psnr", "ssim", "input_psnr", "input_ssim"} <= set(record["results"][name])
    sheet = cv2.imread(record["pictures"])
    assert sheet.shape == (5 * 320, 3 * 320, 3)  # astronaut: a row for each degradation; input, restored, ground truth
    assert "| low_light " in Path(record["table"]).read_text()
    page = Path(record["report"]).read_text(encoding="utf-8")
    assert "demo_dcpt" in page and "demo_finetune" in page
    train, test = (
        {file.name for file in (tmp_path / "shown" / "photographs" / part).iterdir()} for part in ("train", "test")
    )
    assert train
    assert not train & test
    again = commands.run("tools/demo.py", "--out", "shown", cwd=tmp_path)
    assert again.returncode == 2
    assert "is not empty" in again.stderr
