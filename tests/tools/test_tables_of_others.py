"""Networks of other projects in `dcpt test`, with tables as for ours, and what `dcpt diagnose` says of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from commands import ROOT, Commands
from other_networks import write_other
from small_runs import restoration_options, write

from dcpt_arch.checkpoints.others import open_network
from dcpt_data import build_val_loaders
from dcpt_models.inference.packaged import default_package
from dcpt_models.metrics.by_name import measure
from dcpt_models.options.command_line import datasets_of


@pytest.fixture
def option_file(photographs: Path, tmp_path: Path) -> Path:
    options = restoration_options(photographs, tmp_path / "run")
    kept = {key: options[key] for key in ("model_type", "num_gpu", "network_g", "degradations", "val", "datasets")}
    kept["datasets"].pop("train")
    kept["datasets"] = dict(list(kept["datasets"].items())[:2])
    kept.update(name="others", path={"results_root": str(tmp_path / "results")})
    return Path(write(kept, tmp_path, "test.yml"))


@pytest.mark.parametrize("named", [False, True], ids=["--weights", "in the option file"])
def test_a_table_of_a_network_of_others(named: bool, option_file: Path, commands: Commands, tmp_path: Path) -> None:
    file = write_other("DRUNet", tmp_path / "drunet.pth")
    words = ["--weights", file]
    if named:
        force = [f"path:pretrain_network_g={file}", f"network_g={{type: SpandrelNetwork, file: {file}}}"]
        words = ["--force_yml", *force]
    done = commands.run("tools/test.py", "-opt", option_file, *words, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (one,) = json.loads(done.stdout)["evaluations"]
    network = open_network(file)
    options = yaml.safe_load(option_file.read_text())
    for loader in build_val_loaders(datasets_of(str(option_file), ROOT)):
        values = []
        for batch in loader:
            with torch.no_grad():
                values.append(measure(network(batch["lq"]), batch["gt"], options["val"]["metrics"], True)["psnr"])
        found = one["results"][loader.dataset.opt["name"]]["psnr"]
        assert found == pytest.approx(sum(values) / len(values), abs=0.01)


def test_a_network_that_enlarges_has_no_table(option_file: Path, commands: Commands, tmp_path: Path) -> None:
    file = write_other("Compact, x2", tmp_path / "x2.pth")
    done = commands.run("tools/test.py", "-opt", option_file, "--weights", file, cwd=tmp_path)
    assert done.returncode == 2
    assert "enlarges by 2; test sets have pairs of a size" in done.stderr


def test_a_diagnosis_says_why_it_needs_a_backbone(commands: Commands, photographs: Path, tmp_path: Path) -> None:
    package = default_package()
    file = write_other("DRUNet", tmp_path / "drunet.pth")
    words = ("--classifier", package.classifier, "-opt", package.options, "--weights", file)
    done = commands.run("tools/diagnose.py", photographs, *words, cwd=tmp_path)
    assert done.returncode == 2
    assert "no features that a classifier reads" in done.stderr
    assert f"dcpt restore PHOTO --weights {file} --diagnose" in done.stderr
