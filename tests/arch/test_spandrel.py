"""Networks of ours open in spandrel, through which chaiNNer and other programs load them, and give the same image.

What spandrel 0.4 with its extra architectures cannot read:

* PromptIR, which it does not know; it takes one for a Restormer and refuses it.
* SwinIR in our layout: it wants the positions and masks that the original layout stores, so `--layout original` is
  needed; and no SwinIR without `position_bias` or `shift_mask`, which the original layout does not have.
* NAFNet and Restormer with other numbers of channels in the output than in the input.
* Restormer with `relu_attention` or another `norm_eps` (the checkpoints of the DCPT authors).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_networks import SMALL, build, picture
from spandrel import MAIN_REGISTRY, ImageModelDescriptor, ModelLoader, UnsupportedModelError
from spandrel_extra_arches import EXTRA_REGISTRY

from dcpt_arch import DCPTSwinIR, RestorationBackbone
from dcpt_arch.checkpoints.export import export_network

NETWORKS: dict[str, dict[str, Any]] = {
    "NAFNet": {},
    "NAFNet, gray": {"in_channels": 1, "out_channels": 1},
    "Restormer": {},
    "Restormer, bias-free": {"layer_norm": "bias_free", "bias": True, "ffn_expansion_factor": 2.0},
    "DCPTSwinIR": {},
}


@pytest.fixture(scope="module")
def loader() -> ModelLoader:
    # A registry of its own: the global one stays as it is.
    registry = type(MAIN_REGISTRY)()
    for source in (MAIN_REGISTRY, EXTRA_REGISTRY):
        registry.add(*source.architectures())
    return ModelLoader(device="cpu", registry=registry)


def assert_same_images(loader: ModelLoader, file: Path, network: RestorationBackbone, channels: int = 3) -> None:
    descriptor = loader.load_from_file(file)
    assert isinstance(descriptor, ImageModelDescriptor)
    assert descriptor.scale == 1
    assert descriptor.input_channels == channels
    # A multiple of every network's size multiple: spandrel pads other sizes in another way than the networks do.
    x = picture(56, 112, channels, batch=1)
    with torch.no_grad():
        expected = network(x)
        torch.testing.assert_close(descriptor.model.eval()(x), expected, rtol=1e-4, atol=1e-4)
        # As a program uses it, an image in [0, 1] comes out.
        torch.testing.assert_close(descriptor(x), expected.clamp(0, 1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
@pytest.mark.parametrize("name", NETWORKS)
def test_original_layout(name: str, ending: str, loader: ModelLoader, tmp_path: Path) -> None:
    network = build(name.split(",")[0], **NETWORKS[name])
    file = tmp_path / f"net{ending}"
    export_network(network, file, "original")
    assert_same_images(loader, file, network, NETWORKS[name].get("in_channels", 3))


def test_swinir_for_jpeg(loader: ModelLoader, tmp_path: Path) -> None:
    # The window of 7 tells spandrel, as it tells us, that the range is 255.
    arguments = {**SMALL["DCPTSwinIR"], "window_size": 7, "img_range": 255.0, "in_channels": 1, "out_channels": 1}
    network = DCPTSwinIR(**arguments).eval()
    export_network(network, tmp_path / "net.pth", "original")
    assert_same_images(loader, tmp_path / "net.pth", network, channels=1)


@pytest.mark.parametrize("name", ["NAFNet", "Restormer"])
def test_checkpoint_of_a_training(name: str, loader: ModelLoader, tmp_path: Path) -> None:
    network = build(name)
    torch.save({"params": build(name, seed=1).state_dict(), "params_ema": network.state_dict()}, tmp_path / "net.pth")
    assert_same_images(loader, tmp_path / "net.pth", network)


def test_promptir_without_prompts_is_a_restormer(loader: ModelLoader, tmp_path: Path) -> None:
    network = build("PromptIR", prompts=False)
    export_network(network, tmp_path / "net.pth", "original")
    assert_same_images(loader, tmp_path / "net.pth", network)


# What this file's docstring says of spandrel; a test that fails here is good news for the docstring.


def test_promptir_is_refused(loader: ModelLoader, tmp_path: Path) -> None:
    export_network(build("PromptIR"), tmp_path / "net.pth", "original")
    with pytest.raises(RuntimeError, match="Unexpected key"):
        loader.load_from_file(tmp_path / "net.pth")


def test_swinir_in_our_layout_is_refused(loader: ModelLoader, tmp_path: Path) -> None:
    export_network(build("DCPTSwinIR"), tmp_path / "net.pth")
    with pytest.raises(UnsupportedModelError):
        loader.load_from_file(tmp_path / "net.pth")
