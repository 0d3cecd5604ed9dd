"""What README and the pages it leads to say works: their code blocks run, their commands and files exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import yaml

from dcpt_arch import NAFNet
from dcpt_tools.commands import COMMANDS
from dcpt_tools.training.options import option_files

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
OPTIONS, NETWORKS = ((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("OPTIONS.md", "NETWORKS.md"))
MOST = 160  # lines of README, so that it is read


def block(text: str, language: str, word: str) -> str:
    (found,) = [code for code in re.findall(rf"```{language}\n(.*?)```", text, re.S) if word in code]
    return found


def test_it_is_short() -> None:
    assert len(TEXT.splitlines()) <= MOST


def test_its_first_screen_restores_serves_and_trains() -> None:
    first = TEXT.splitlines()[:12]
    for command in ('pip install ".[app]"', "dcpt restore photo.jpg", "dcpt app", "dcpt train dcpt_promptir_5d"):
        assert [line for line in first if line.startswith(f"    {command} ")], command


def test_the_example_of_a_checkpoint_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = block(NETWORKS, "python", "load_network")
    (file,) = re.findall(r'load_network\("(.*?)"\)', code)
    (tmp_path / file).parent.mkdir(parents=True)
    network = NAFNet(width=8, middle_blk_num=1, enc_blk_nums=[1, 1], dec_blk_nums=[1, 1])
    torch.save({"params": network.state_dict()}, tmp_path / file)
    monkeypatch.chdir(tmp_path)
    found = {"lq": torch.rand(1, 3, 17, 22)}
    with torch.no_grad():
        exec(code, found)
    assert found["image"].shape == found["lq"].shape
    assert [level.shape[1] for level in found["features"]] == [info.channels for info in found["net"].feature_info]
    assert found["features"][0].shape[-1] > found["features"][-1].shape[-1]


def test_the_example_data_set_is_an_option_file(tmp_path: Path) -> None:
    from dcpt_models.options.files import Options
    from dcpt_models.options.schema import check_options

    section = yaml.safe_load(block(OPTIONS, "yaml", "snow-{}"))
    values = {**section, "name": "x", "model_type": "RestorationModel", "network_g": {"type": "NAFNet"}}
    values["train"] = {"total_iter": 1, "optim_g": {"type": "AdamW", "lr": 1e-3}}
    check_options(Options(values, {(): tmp_path}), is_train=True)


def test_the_example_message_is_what_is_said() -> None:
    from dcpt_models import OptionError
    from dcpt_models.options.files import read_options
    from dcpt_models.options.schema import check_options

    (said,) = re.findall(r"error: (options/\S+: key .*)", OPTIONS)
    options = read_options(ROOT / "options" / "finetune_promptir_5d.yml", ["train:ema_decya=0.9"])
    with pytest.raises(OptionError) as caught:
        check_options(options, is_train=True)
    assert said.split(": ", 1)[1] in str(caught.value)


def test_linked_files_exist() -> None:
    files = set(re.findall(r"\]\(([\w/.]+)\)", TEXT))
    assert {"docs/method.svg", "docs/OPTIONS.md", "docs/NETWORKS.md", "CONTRIBUTING.md"} <= files
    assert [name for name in files if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("text", [TEXT, OPTIONS, NETWORKS], ids=["README", "OPTIONS", "NETWORKS"])
def test_commands_and_option_files_exist(text: str) -> None:
    typed = re.findall(r"(?m)(?:^ +(?:.* && )?|`)(?:dcpt|torchrun \S+ -m dcpt_tools) ([a-z]\w*)([^`\n]*)", text)
    assert typed
    assert {name for name, _ in typed} <= set(COMMANDS)
    for name, words in typed:
        if name in ("train", "test") and words:
            assert option_files()[words.split()[0]].is_file()


def test_what_readme_shows_is_what_there_is_to_see() -> None:
    typed = set(re.findall(r"(?m)^ +(?:.* && )?dcpt (\w+)", TEXT))
    assert {"app", "demo", "restore", "diagnose", "prepare", "synthesize", "train", "test"} == typed


@pytest.mark.parametrize("page", ["OPTIONS.md", "NETWORKS.md"])
def test_links_of_the_pages_exist(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert [link for link in re.findall(r"\]\(([\w/.]+)\)", text) if not (ROOT / "docs" / link).exists()] == []
