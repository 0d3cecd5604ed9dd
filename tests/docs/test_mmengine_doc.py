"""docs/MMENGINE.md and the model index name what is there."""

import re
from pathlib import Path

import pytest
import yaml
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

import dcpt_mmengine
from dcpt_models.options.command_line import load_options

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "MMENGINE.md").read_text(encoding="utf-8")
CONFIGS = sorted((ROOT / "options" / "mmengine").glob("*.py"))


def test_the_model_index_lists_every_config_with_what_its_recipe_says() -> None:
    (name,) = yaml.safe_load((ROOT / "model-index.yml").read_text())["Import"]
    models = yaml.safe_load((ROOT / name).read_text())["Models"]
    assert {ROOT / model["Config"] for model in models} == set(CONFIGS)
    for model in models:
        opt = load_options(Config.fromfile(ROOT / model["Config"]).model.options, ROOT, True, ["num_gpu=0"])
        assert model["Metadata"]["Iterations"] == opt["train"]["total_iter"]
        assert model["Name"] == Path(model["Config"]).stem


@pytest.mark.parametrize("name", re.findall(r"`((?:options|dcpt_mmengine|tests|tools)/[\w/.]+)`", PAGE))
def test_files_are_there(name: str) -> None:
    assert (ROOT / name).exists()


def test_the_config_on_the_page_has_the_sections_of_those_that_come_along() -> None:
    (shown,) = (block for block in re.findall(r"```python\n(.*?)```", PAGE, re.S) if block.startswith("custom_imports"))
    sections: dict = {}
    exec(shown, sections)
    config = Config.fromfile(CONFIGS[0])
    for key in ("custom_imports", "default_scope", "train_cfg", "train_dataloader", "optim_wrapper"):
        assert sections[key] == config[key]


def test_names_on_the_page_are_exported_or_mmengines() -> None:
    for name in ("MethodModel", "MethodLoop", "MethodOptimizers", "ImageMetric", "ShuffledStream", "PipelineDataset"):
        assert f"`{name}" in PAGE or f'"{name}"' in PAGE
        assert hasattr(dcpt_mmengine, name)
    assert hasattr(Hook, "after_val_epoch")
    assert hasattr(Runner, "from_cfg")
