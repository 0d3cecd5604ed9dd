"""Files for other programs: opened as a user would open them, they restore what the network restores."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from basicsr.utils.registry import ARCH_REGISTRY
from commands import in_this_process
from small_networks import BACKBONES, SMALL, build, picture

from dcpt_arch import RestorationBackbone
from dcpt_arch.checkpoints import export
from dcpt_arch.checkpoints.export import ENDINGS, TOLERANCE, ExportError, export_network
from dcpt_arch.checkpoints.loading import CheckpointError, load_network, read_checkpoint, to_published_layout
from dcpt_arch.layers.local_average import LocalAveragePool

ROOT = Path(__file__).resolve().parents[2]
# Tracing takes its time for every block, so there are as few as can be; PromptIR's prompts have three of their own.
FEWER = {
    "PromptIR": {"num_blocks": (0, 0, 0, 1), "num_refinement_blocks": 0},
    "Restormer": {"num_blocks": (1, 0, 0, 1), "num_refinement_blocks": 0},
    "AdaIR": {"num_blocks": (0, 0, 0, 0), "num_refinement_blocks": 0},
    "XRestormer": {"num_blocks": (1, 0, 0, 0), "num_refinement_blocks": 0},
    "NAFNet": {"enc_blk_nums": (1,), "dec_blk_nums": (1,)},
    "DCPTSwinIR": {"depths": (2, 1), "num_heads": (2, 3)},
}
# The published values, which files in the original layout imply.
PUBLISHED = {"AdaIR": {"band_unit": 128}, "XRestormer": {"window_size": 8}}
LARGEST = 1e-5  # what floating point explains; the command allows TOLERANCE

# pytest listens to everything, and torch writes long reports of its tracing for whoever listens.
logging.getLogger("torch.__trace").disabled = True

every_backbone = pytest.mark.parametrize("name", BACKBONES)


def small(name: str, **arguments: Any) -> RestorationBackbone:
    """A network of few blocks, without zero tensors, behind which a mistake would not be seen."""
    torch.manual_seed(0)
    network = ARCH_REGISTRY.get(name)(**{**SMALL[name], **FEWER.get(name, {}), **arguments}).eval()
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.3)
    return network


def open_onnx(file: Path) -> Callable[[torch.Tensor], torch.Tensor]:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])


def assert_same_images(network: RestorationBackbone, opened: Callable[..., Any], channels: int = 3) -> None:
    """At a size that fits every small network and at an odd one, for one image and for three."""
    for batch, height, width in ((1, 24, 40), (3, 43, 25)):
        x = picture(height, width, channels, batch)
        with torch.no_grad():
            torch.testing.assert_close(opened(x), network(x), rtol=LARGEST, atol=LARGEST)


@every_backbone
@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
@pytest.mark.parametrize("layout", ["ours", "original"])
def test_weights(name: str, ending: str, layout: Any, tmp_path: Path) -> None:
    network = build(name, **(PUBLISHED.get(name, {}) if layout == "original" else {}))
    file = tmp_path / f"net{ending}"
    assert export_network(network, file, layout).difference == 0
    assert_same_images(network, load_network(file))
    content = read_checkpoint(file)
    state = content["params"] if ending == ".pth" else content
    expected = network.state_dict() if layout == "ours" else to_published_layout(network)
    assert state.keys() == expected.keys()
    (tmp_path / "any").touch()
    assert file.stat().st_mode == (tmp_path / "any").stat().st_mode  # others may read it as they may read any file
    assert all(torch.equal(state[key], value) for key, value in expected.items())


@every_backbone
def test_graphs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, program, graph = small(name), tmp_path / "net.pt2", tmp_path / "net.onnx"
    traced = export.to_program(network)
    monkeypatch.setattr(export, "to_program", lambda _: traced)  # once is enough

    checked = export_network(network, program)
    assert checked.difference <= LARGEST
    assert len(set(checked.sizes)) == 2
    assert_same_images(network, torch.export.load(program).module())

    if name == "AdaIR":  # the exporter of PyTorch has no Fourier transform of an image of any size
        with pytest.raises(ExportError, match="AdaIR cannot be written as ONNX"):
            export_network(network, graph)
        assert [path.name for path in tmp_path.iterdir()] == ["net.pt2"]
        return
    assert export_network(network, graph).difference <= LARGEST
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.onnx", "net.pt2"]
    assert_same_images(network, open_onnx(graph))
    for size in ((1, 1), (2, 30)):  # too small for a reflection
        with torch.no_grad():
            expected = network(picture(*size))
        torch.testing.assert_close(open_onnx(graph)(picture(*size)), expected, rtol=LARGEST, atol=LARGEST)
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    (given,), (wanted,) = session.get_inputs(), session.get_outputs()
    assert (given.name, wanted.name) == ("lq", "image")
    assert given.shape == wanted.shape == ["batch", 3, "height", "width"]


def test_every_form_holds_the_local_converter_that_weights_cannot_tell(tmp_path: Path) -> None:
    network = small("NAFNet", tlc_size=10, in_channels=1, out_channels=4)
    export_network(network, tmp_path / "net.onnx")
    assert_same_images(network, open_onnx(tmp_path / "net.onnx"), channels=1)
    assert any(isinstance(module, LocalAveragePool) for module in network.modules()), "the network is not changed"
    x = picture(11, 15, channels=1)
    for name in ("net.pth", "net.safetensors"):
        export_network(network, tmp_path / name)  # which compares images
        read = load_network(tmp_path / name)
        assert read.tlc_size == 10
        with torch.no_grad():
            assert torch.equal(read(x), network(x))
            assert not torch.equal(load_network(tmp_path / name, tlc_size=None)(x), network(x))


@pytest.mark.parametrize(
    ("decode", "file", "message"),
    [
        (lambda x, *_: torch.special.i1(x), "net.onnx", "NAFNet cannot be written as ONNX: .*bessel_i1"),
        (lambda x, *_: x + x.numpy(), "net.pt2", r"NAFNet cannot be traced: .*numpy\(\)"),
        (lambda x, *_: x if x.shape[-1] > 9 else -x, "net.pt2", r"net\.pt2 cannot be used; removed\. Guard failed"),
        (lambda x, *_: x * float("nan"), "net.pth", "gives another image .* differs by nan"),
    ],
)
def test_what_stands_in_the_way_is_named_and_the_old_file_kept(
    decode: Callable[..., torch.Tensor], file: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = small("NAFNet")
    monkeypatch.setattr(network, "decode", decode)
    (tmp_path / file).write_text("old")
    with pytest.raises(ExportError, match=message):
        export_network(network, tmp_path / file, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == [file]
    assert (tmp_path / file).read_text() == "old"


def test_a_network_that_the_original_project_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="other values of relu_attention"):
        export_network(small("Restormer", relu_attention=True), tmp_path / "net.pth", "original")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_gives_the_command(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ExportError, match=f"needs the package {package} .*pip install onnx onnxruntime onnxscript"):
        export_network(small("NAFNet"), tmp_path / "net.onnx")


@pytest.mark.parametrize(
    ("file", "layout", "message"),
    [
        ("net.ckpt", "ours", r"the ending must be one of \.safetensors, \.pth, \.pt2, \.onnx"),
        ("net.pth", "theirs", "layout must be one of ours, original, not 'theirs'"),
        ("there.pth", "ours", "there.pth exists"),
        ("nowhere/net.pth", "ours", "nowhere: no such folder"),
    ],
)
def test_bad_arguments(file: str, layout: Any, message: str, tmp_path: Path) -> None:
    (tmp_path / "there.pth").touch()
    with pytest.raises(ExportError, match=message):
        export_network(small("NAFNet"), tmp_path / file, layout)


# The command


def command(*arguments: Any, cwd: Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, str(ROOT / "tools" / "export.py"), *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(line, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """One of a training, whose averaged weights are others."""
    averaged = small("NAFNet").state_dict()
    torch.save({"params": small("NAFNet", width=4).state_dict(), "params_ema": averaged}, tmp_path / "net.pth")
    return tmp_path / "net.pth"


def test_the_command_writes_the_averaged_weights(checkpoint: Path) -> None:
    done = command("net.pth", "--format", "onnx", "--out", "other.onnx", "--json", cwd=checkpoint.parent)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    written = checkpoint.with_name("other.onnx")
    assert (record["file"], record["bytes"]) == ("other.onnx", written.stat().st_size)
    assert (record["network"], record["weights"]) == ("NAFNet", "params_ema")
    assert 0 < record["difference"] < LARGEST
    assert_same_images(small("NAFNet"), open_onnx(written))


BAD_INPUT = [
    (["nowhere.pth", "--format", "onnx"], 1, "nowhere.pth: no such checkpoint file"),
    (["net.pth", "--format", "safetensors"], 2, "net.safetensors exists"),
    (["net.pth", "--format", "caffe"], 2, "'caffe' (choose from "),
]


@pytest.mark.parametrize(("arguments", "code", "message"), BAD_INPUT, ids=["missing", "existing", "unknown"])
def test_the_command_with_bad_input(arguments: list[str], code: int, message: str, checkpoint: Path) -> None:
    checkpoint.with_suffix(".safetensors").write_text("old")
    done = command(*arguments, cwd=checkpoint.parent)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert checkpoint.with_suffix(".safetensors").read_text() == "old"
    assert sorted(path.name for path in checkpoint.parent.iterdir()) == ["net.pth", "net.safetensors"]


run_here = partial(in_this_process, "export.py")


def test_the_command_overwrites_when_told_to(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written = checkpoint.with_name("net_original.pth")
    written.write_text("old")
    arguments = ("net.pth", "--format", "pth", "--layout", "original", "--overwrite")
    assert run_here(monkeypatch, checkpoint.parent, *arguments) == 0
    shown = capsys.readouterr().out
    assert "net_original.pth: NAFNet, weights of 'params_ema'" in shown
    assert f"at 8 x 8 and 11 x 5 ({TOLERANCE:g} is allowed)" in shown
    assert_same_images(small("NAFNet"), load_network(written))


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("--format safetensors --out no/net.safetensors", 1, "no: no such folder"),
        ("--format pth --overwrite", 2, "net.pth is the checkpoint itself"),
        ("--format onnx --layout original", 2, "--layout names weights; onnx has none"),
        ("--format torch --out net.pth", 2, "--out must end with .pt2"),
    ],
)
def test_switches_that_do_not_fit(
    arguments: str,
    code: int,
    message: str,
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = checkpoint.read_bytes()
    assert run_here(monkeypatch, checkpoint.parent, "net.pth", *arguments.split()) == code
    assert message in capsys.readouterr().err
    assert checkpoint.read_bytes() == before
    assert [path.name for path in checkpoint.parent.iterdir()] == ["net.pth"]


def test_every_format_is_tested() -> None:
    assert set(ENDINGS.values()) == {".safetensors", ".pth", ".pt2", ".onnx"}
