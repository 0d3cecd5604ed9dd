"""docs/EXTENDING.md is run as it stands: one file a thing, nothing else touched."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from commands import Commands
from small_runs import dcpt_options, launch, write

from dcpt_arch.checkpoints.export import export_network
from dcpt_arch.checkpoints.loading import load_network
from dcpt_data.images import read_image, write_image
from dcpt_models.options.files import read_options

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "EXTENDING.md").read_text(encoding="utf-8")
BLOCKS = {name: text for text, name in re.findall(r"```(?:python|yaml)\n(# (\S+)\n.*?)```", TEXT, re.S)}
UNET = "unet.py"  # which registers nothing
MODULES = sorted(name for name in BLOCKS if name.endswith(".py") and name != UNET)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, photographs: Path) -> Path:
    """A user's folder: the page's files, and the data set that one of them describes."""
    folder = tmp_path_factory.mktemp("extending")
    for name, text in BLOCKS.items():
        (folder / name).write_text(text, encoding="utf-8")
    for file in photographs.iterdir():
        for part in ("clear", "foggy"):
            (folder / "datasets" / "Street" / part).mkdir(parents=True, exist_ok=True)
            write_image(folder / "datasets" / "Street" / part / file.name, read_image(file))
    return folder


def test_a_run_has_all_of_them(home: Path, commands: Commands) -> None:
    assert len(MODULES) == 6
    places = [f"path:experiments_root={home / 'run'}", f"path:datasets_root={home / 'datasets'}"]
    done = commands.run(
        "basicsr/train.py", "--import", *MODULES, "-opt", "run.yml", "--force_yml", *places, "num_gpu=0", cwd=home
    )
    assert done.returncode == 0, done.stderr
    results = json.loads((home / "run" / "validation.jsonl").read_text())["results"]
    assert set(results["fog"]) == {"psnr", "mae"}
    assert "l_edges" in (home / "run" / "metrics.csv").read_text()

    weights = home / "run" / "models" / "net_g_latest.pth"
    photograph = next((home / "datasets" / "Street" / "clear").iterdir())
    restored = home / "out" / photograph.name
    command = ("tools/restore.py", str(photograph), "--weights", str(weights), "--out", str(home / "out"))
    done = commands.run(*command, "--import", "plain.py", cwd=home)
    assert done.returncode == 0, done.stderr
    assert read_image(restored).shape == read_image(photograph).shape
    assert not np.array_equal(read_image(restored), read_image(photograph))
    done = commands.run(*command, cwd=home)
    assert done.returncode == 1 and "unknown network" in done.stderr


def test_any_network_in_three_lines(
    home: Path, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert TEXT.index("AnyBackbone") < TEXT.index("RestorationBackbone"), "the page begins with it"
    asked, written = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(network_g:.*?)```", TEXT, re.S))
    assert len(re.findall(r"```yaml\n(network_g:.*?)```", TEXT, re.S)[0].splitlines()) == 3
    assert len(BLOCKS[UNET].splitlines()) <= 60
    monkeypatch.chdir(home)
    options = dcpt_options(photographs, tmp_path / "run") | asked
    options["train"]["total_iter"] = 1
    options["datasets"] = {key: options["datasets"][key] for key in ("train", "val_noise")}
    launch(write(options, tmp_path))
    assert read_options(tmp_path / "run" / "options.yml").values["network_g"] == written["network_g"]
    network = load_network(tmp_path / "run" / "models" / "net_g_latest.pth")
    assert [(info.channels, info.stride) for info in network.feature_info] == [(16, 1), (32, 2)]
    program, restored = export_network(network, tmp_path / "net.pt2"), torch.rand(1, 3, 30, 41)
    assert program.difference < 1e-5
    with torch.no_grad():
        found = torch.export.load(tmp_path / "net.pt2").module()(restored)
        torch.testing.assert_close(found, network(restored), rtol=1e-4, atol=1e-4)


def test_dcpt_in_a_loop_of_ones_own(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (loop,) = re.findall(r"```python\n(import torch\nfrom dcpt_arch import AnyBackbone.*?)```", TEXT, re.S)
    code = [line for line in loop.splitlines() if line and not line.startswith(("import", "from"))]
    assert len(code) == 9, "as short as the page says"
    monkeypatch.chdir(tmp_path)
    unet: dict[str, Any] = {}
    exec(BLOCKS[UNET], unet)
    torch.manual_seed(0)
    gt = torch.rand(5, 3, 16, 16)
    batches = [((gt + 0.3 * k * torch.rand_like(gt)).clamp(0, 1), gt, torch.arange(5)) for k in (0, 1)]
    named: dict[str, Any] = {"UNet": unet["UNet"], "batches": batches}
    exec(loop, named)
    state = torch.load(tmp_path / "pretrained.pth", weights_only=True)
    unet["UNet"](width=16).load_state_dict(state, strict=True)
    assert named["losses"].keys() == {"l_cls"}, "the classification stage is the last"
    assert all(p.grad is None for n, p in named["network"].named_parameters() if "ending" in n), "it stops before it"


def test_what_cannot_be_imported_is_wrong_usage(home: Path, commands: Commands, tmp_path: Path) -> None:
    for name, why in (("no.py", "no such file"), ("no_such_module", "No module named"), ("json.py", "another name")):
        if name == "json.py":
            shutil.copy(home / "fog.py", tmp_path / name)
        done = commands.run("basicsr/train.py", "--import", name, "-opt", "x.yml", cwd=tmp_path)
        assert done.returncode == 2 and why in done.stderr, done.stderr
