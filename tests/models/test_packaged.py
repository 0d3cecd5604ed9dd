"""Storing the networks of a run as the package's own are stored."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
import torch
from basicsr.archs import build_network
from commands import in_this_process
from small_runs import NAMES, dcpt_options, write

from dcpt_arch import NAFNet
from dcpt_arch.checkpoints.loading import load_network
from dcpt_models import OptionError
from dcpt_models.inference import packaged as packing
from dcpt_models.inference.diagnoser import load_diagnoser
from dcpt_models.inference.packaged import Package, default_package, pack, rounding

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run(tmp_path: Path, photographs: Path) -> Path:
    """A finished run: a network with averaged weights, its classifier, and an option file with paths of the machine."""
    home = tmp_path / "run"
    (home / "models").mkdir(parents=True)
    options = dcpt_options(photographs, home)
    write(options, home, "tiny.yml")
    torch.manual_seed(0)
    network, average = (NAFNet(width=8, enc_blk_nums=[1, 1], middle_blk_num=1, dec_blk_nums=[1, 1]) for _ in range(2))
    torch.save({"params": network.state_dict(), "params_ema": average.state_dict()}, home / "models/net_g_latest.pth")
    given = {"feature_info": network.feature_info, "classes": len(NAMES)}
    classifier = build_network({**options["network_dc"], **given})
    torch.save({"params": classifier.state_dict()}, home / "models/net_dc_latest.pth")
    return home


def test_both_networks_come_back_rounded_and_nothing_of_the_machine(run: Path, tmp_path: Path) -> None:
    package = pack(run, tmp_path / "packed")
    packed, trained = load_network(package.network), load_network(run / "models/net_g_latest.pth")
    for name, value in trained.state_dict().items():
        assert torch.equal(packed.state_dict()[name], value.half().float())
    assert package.network.stat().st_size < 0.6 * (run / "models/net_g_latest.pth").stat().st_size / 2
    assert str(tmp_path) not in package.options.read_text(encoding="utf-8")
    assert 0 < rounding(run, package) < 1

    ours = load_diagnoser(package.classifier, package.network, package.options, torch.device("cpu"))
    theirs = load_diagnoser(run / "models/net_dc_latest.pth", None, run / "tiny.yml", torch.device("cpu"))
    assert ours.names == theirs.names == NAMES
    assert ours.crop == theirs.crop == 32
    image = torch.rand(3, 40, 40)
    torch.testing.assert_close(ours.logits(image), theirs.logits(image), rtol=0.02, atol=0.02)


def test_the_command_and_what_it_refuses(run: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    command = partial(in_this_process, "pack.py", monkeypatch, tmp_path)
    out = tmp_path / "packed"
    assert command(str(run), "--out", str(out), "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["files"]) == len(list(out.iterdir())) == 3
    assert command(str(run), "--out", str(out)) == 2
    assert "network.safetensors exists" in capsys.readouterr().err
    assert command(str(run), "--out", str(out), "--overwrite") == 0
    (run / "models/net_g_latest.pth").unlink()
    assert command(str(run), "--out", str(tmp_path / "other")) == 1
    assert "no such checkpoint file" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_a_run_without_a_classifier_is_refused(run: Path, tmp_path: Path) -> None:
    text = (run / "tiny.yml").read_text(encoding="utf-8")
    (run / "tiny.yml").write_text(text.replace("network_dc", "network_xy"), encoding="utf-8")
    with pytest.raises(OptionError, match="without `network_dc`"):
        pack(run, tmp_path / "packed")


def test_without_weights_the_message_says_what_to_give(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(packing, "FOLDER", tmp_path)
    with pytest.raises(
        OptionError, match="no weights are included in this version; give those of a run, such as --weights exp"
    ):
        default_package()
    for file in Package.of(tmp_path):
        file.touch()
    assert default_package() == Package.of(tmp_path)
