"""What README says works: its code blocks run, its commands and files exist."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from basicsr.utils.registry import ARCH_REGISTRY

from dcpt_arch import DegradationClassifier
from dcpt_data.degradations import degrade, registry

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def block(language: str, word: str) -> str:
    (found,) = [text for text in re.findall(rf"```{language}\n(.*?)```", TEXT, re.S) if word in text]
    return found


def test_the_example_degradation_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    exec(block("python", "def fog"), {})
    image = np.zeros((4, 5, 3), np.float32)
    assert registry._registered["fog"](image, np.random.default_rng(0), strength=0.4) == pytest.approx(0.4)
    with pytest.raises(ValueError, match="strength must lie in"):
        degrade("fog", image, np.random.default_rng(0), strength=2)


def test_the_example_backbone_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ARCH_REGISTRY, "_obj_map", dict(ARCH_REGISTRY._obj_map))
    exec(block("python", "class Plain"), {})
    network = ARCH_REGISTRY.get("Plain")()
    x = torch.rand(1, 3, 7, 10)
    image, features = network(x, features="also")
    assert image.shape == x.shape
    assert [tuple(f.shape[1:]) for f in features] == [(32, 8, 10), (32, 4, 5)]
    assert DegradationClassifier(network.feature_info, 3)(features).shape == (1, 3)


def test_the_example_data_set_is_an_option_file(tmp_path: Path) -> None:
    from dcpt_models.options.files import Options
    from dcpt_models.options.schema import check_options

    section = yaml.safe_load(block("yaml", "snow-{}"))
    values = {**section, "name": "x", "model_type": "RestorationModel", "network_g": {"type": "NAFNet"}}
    values["train"] = {"total_iter": 1, "optim_g": {"type": "AdamW", "lr": 1e-3}}
    check_options(Options(values, {(): tmp_path}), is_train=True)


def test_commands_and_linked_files_exist() -> None:
    scripts = set(re.findall(r"(?:python|torchrun \S+) ((?:basicsr|tools)/\w+\.py)", TEXT))
    files = scripts | set(re.findall(r"-opt (options/[\w/]+\.yml)", TEXT)) | set(re.findall(r"\]\(([\w/.]+)\)", TEXT))
    assert {"basicsr/train.py", "tools/demo.py", "tools/test.py", "tools/synthesize.py", "docs/method.svg"} <= files
    assert [name for name in files if not (ROOT / name).exists()] == []
