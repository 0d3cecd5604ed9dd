"""`dcpt hub`: the folder of a run's network, and the card that is written from the run."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from commands import Commands
from small_runs import completed, launch, restoration_options, weights, write

from dcpt_arch.checkpoints import load_network
from dcpt_models.analysis.model_card import model_card

DCPT = "dcpt_tools/__main__.py"


@pytest.fixture
def run(photographs: Path, tmp_path: Path) -> Path:
    """A finished run of three iterations."""
    options = restoration_options(photographs, tmp_path / "run")
    options["datasets"] = {key: options["datasets"][key] for key in ("train", "val_noise", "val_haze")}
    launch(write(options, tmp_path))
    return tmp_path / "run"


def test_a_run_becomes_a_folder_with_its_card(run: Path, commands: Commands, tmp_path: Path) -> None:
    done = commands.run(DCPT, "hub", "run", "--out", "net", "--license", "cc-by-4.0", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    network = load_network(tmp_path / "net")
    averaged = weights(run)["params_ema"]
    assert all((value == averaged[name]).all() for name, value in network.state_dict().items())
    text = (tmp_path / "net" / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    assert yaml.safe_load(front)["license"] == "cc-by-4.0"
    assert "low-light" in yaml.safe_load(front)["tags"]
    count = sum(p.numel() for p in network.parameters())
    assert f"A NAFNet of {count:,} parameters, trained by `RestorationModel` for 3 iterations" in body
    assert 'load_network("net")' in body
    assert "after iteration 3" in body
    assert "PSNR (dB)" in body
    assert str(tmp_path) not in text
    assert "photographs" not in body.split("```yaml")[1]
    made = yaml.safe_load(body.split("```yaml")[1].split("```")[0])
    assert made["train"]["ema_decay"] == 0.9
    again = commands.run(DCPT, "hub", "run", "--out", "net", cwd=tmp_path)
    assert again.returncode == 2
    assert "--overwrite" in again.stderr
    assert commands.run(DCPT, "hub", "run", "--out", "net", "--overwrite", "--json", cwd=tmp_path).returncode == 0
    assert "license" not in (tmp_path / "net" / "README.md").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["."], "--out FOLDER, --push OWNER/NAME"),
        ([".", "--push", "alone"], "must be OWNER/NAME"),
        ([".", "--out", "net"], "no training run"),
    ],
)
def test_wrong_usage(words: list[str], said: str, commands: Commands, tmp_path: Path) -> None:
    done = commands.run(DCPT, "hub", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_run_without_validation_says_so(run: Path) -> None:
    (run / "validation.jsonl").unlink()
    card = model_card(run, load_network(run / "models" / "net_g_latest.pth"), "hf://me/net")
    assert "Nothing was measured while it was trained." in card
    assert "--weights hf://me/net" in card


def test_option_files_take_addresses(photographs: Path, tmp_path: Path) -> None:
    options = restoration_options(photographs, tmp_path / "run")
    options["path"]["pretrain_network_g"] = "hf://me/net"
    assert completed(write(options, tmp_path))["path"]["pretrain_network_g"] == "hf://me/net"
