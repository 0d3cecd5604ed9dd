"""Export of networks: weights in two layouts, torch.export, and ONNX.

Every file is opened again and compared with the network before it gets its name.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import nn
from torch.export import Dim, ExportedProgram

from dcpt_arch.adapter.any_backbone import AnyBackbone
from dcpt_arch.backbones.base import RestorationBackbone
from dcpt_arch.backbones.pretrained import save_weights
from dcpt_arch.checkpoints.loading import CheckpointError, load_network, to_published_layout
from dcpt_arch.layers.local_average import LocalAveragePool
from dcpt_common import write_atomically

Layout = Literal["ours", "original"]
Restore = Callable[[torch.Tensor], torch.Tensor]

# The ending of a file says its format.
ENDINGS = {"safetensors": ".safetensors", "pth": ".pth", "torch": ".pt2", "onnx": ".onnx"}
# A file's image may differ from the network's by this share of the image's greatest value, or of 1 if that is less:
# other programs sum in another order. It is a fortieth of a step of an 8-bit image.
TOLERANCE = 1e-4


class ExportError(ValueError):
    """A network that cannot be written in a format; the message says what stands in the way."""


@dataclass(frozen=True)
class Checked:
    """What the comparison of a file with its network found.

    Attributes:
        difference: The greatest difference of a pixel, as a share of the image's greatest value (of 1 if that is less).
        sizes: Height and width of the images that were compared.
    """

    difference: float
    sizes: list[tuple[int, int]]


def export_network(
    network: RestorationBackbone, file: str | Path, layout: Layout = "ours", overwrite: bool = False
) -> Checked:
    """Write a network and compare what was written with it; a file that differs is removed.

    * `.safetensors`, `.pth` (below the key "params", as BasicSR does): the weights, in our layout or in that of the
      original project.
    * `.pt2`: a program of `torch.export`, for `torch.export.load(file).module()` and for ahead-of-time compilation. Not
      TorchScript: PyTorch has deprecated it, and its tracing would freeze the padding and SwinIR's masks to one size.
      Takes any batch, height and width above the network's size multiple.
    * `.onnx`: a graph from `lq` to `image`, for any batch, height and width.

    Graphs hold the padding to the size multiple, the cropping, and NAFNet's test-time local converter.

    Args:
        network: The network; it is not changed.
        file: The file to write, in an existing folder; its ending says the format.
        layout: Names of the weights; means nothing for graphs, which have none.
        overwrite: Whether a file of that name may be replaced. It is kept if anything fails.

    Raises:
        ExportError: If the ending is unknown, the file exists, an optional package is missing, an operator cannot be
            written, or what was written gives another image.
        CheckpointError: If the original project has no such network.
    """
    file = Path(file)
    if file.suffix not in ENDINGS.values():
        raise ExportError(f"{file}: no known format; the ending must be one of {', '.join(ENDINGS.values())}")
    if layout not in get_args(Layout):
        raise ExportError(f"layout must be one of {', '.join(get_args(Layout))}, not '{layout}'")
    if file.exists() and not overwrite:
        raise ExportError(f"{file} exists; choose another name or allow to overwrite it")
    if not file.parent.is_dir():
        raise ExportError(f"{file.parent}: no such folder; make it first")
    network = copy.deepcopy(network).cpu().float().eval()
    # Whoever waits for the file finds it complete and compared, or not at all.
    with write_atomically(file, suffix=file.suffix) as unfinished:
        _write(network, unfinished, layout)
        return _compare(network, unfinished, file.name)


def _write(network: RestorationBackbone, file: Path, layout: Layout) -> None:
    if file.suffix in (ENDINGS["safetensors"], ENDINGS["pth"]):
        state = to_published_layout(network) if layout == "original" else network.state_dict()
        if file.suffix == ENDINGS["pth"]:
            torch.save({"params": state, **network.notes()}, file)
        else:
            save_weights(state, file, network.notes())
    elif file.suffix == ENDINGS["torch"]:
        torch.export.save(to_program(network), file)
    else:
        _write_onnx(to_program(network), file, type(network).__name__)


def _open(file: Path) -> Restore:
    """What a user of the file would run."""
    if file.suffix == ENDINGS["torch"]:
        return torch.export.load(file).module()
    if file.suffix == ENDINGS["onnx"]:
        session = _package("onnxruntime").InferenceSession(file, providers=["CPUExecutionProvider"])
        return lambda x: torch.from_numpy(session.run(["image"], {"lq": x.numpy()})[0])
    return load_network(file)


def _package(name: str) -> Any:
    """Import a package that only some exports need."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ExportError(
            f"ONNX needs the package {name} ({error}): pip install onnx onnxruntime onnxscript"
        ) from error


# Comparison


def _compare(network: RestorationBackbone, file: Path, name: str) -> Checked:
    """Compare images of two sizes, neither of which the graph was traced with: a square that fits, and an odd one."""
    unit = network.size_multiple
    a, b, c = (4, 5, 3) if unit <= 16 else (2, 2, 1)  # larger images of such networks would take minutes
    sizes = [(a * unit, a * unit), (b * unit + 1, c * unit - 1 if unit > 1 else 3)]
    images = [
        torch.rand(batch, network.image_channels(), *size, generator=torch.Generator().manual_seed(batch))
        for batch, size in enumerate(sizes, start=1)
    ]
    worst = 0.0
    for size, x, found in zip(sizes, images, _restore(file, images, name), strict=True):
        with torch.no_grad():
            expected = network(x)
        difference = ((found - expected).abs().max() / expected.abs().max().clamp(min=1)).item()
        if not difference <= TOLERANCE:  # not a number, either
            raise ExportError(
                f"{name} gives another image than the network at {size[0]} x {size[1]}: differs by {difference:.2g}, "
                f"and {TOLERANCE:g} is allowed; removed. Please report it as a bug"
            )
        worst = max(worst, difference)
    return Checked(worst, sizes)


def _restore(file: Path, images: list[torch.Tensor], name: str) -> list[torch.Tensor]:
    """What the file makes of images."""
    try:
        written = _open(file)
        with torch.no_grad():
            return [written(x) for x in images]
    except (CheckpointError, ExportError):
        raise
    except Exception as error:  # of torch's and onnxruntime's many kinds
        raise ExportError(f"{name} cannot be used; removed. {_reason(error)}") from error


# Graphs


def to_program(network: RestorationBackbone) -> ExportedProgram:
    """Trace a network from image to image, with padding and cropping, for any batch, height and width.

    Args:
        network: On the CPU, in eval mode.

    Raises:
        ExportError: If the network decides by an image's size or content, or uses what cannot be traced.
    """
    if isinstance(network, AnyBackbone) and network.plan.square:
        raise ExportError(
            f"{type(network.network).__name__} takes squares alone, to which a graph cannot pad images of any size; "
            "export its weights (safetensors, pth)"
        )
    unit = network.size_multiple
    x = torch.rand(2, network.image_channels(), 3 * unit + 1, 4 * unit + 3)
    free = {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
    try:
        with torch.no_grad():
            return torch.export.export(_AnySize(copy.deepcopy(network)), (x,), dynamic_shapes=(free,))
    except Exception as error:  # of torch's many kinds
        raise ExportError(f"{type(network).__name__} cannot be traced: {_reason(error)}") from error


def _write_onnx(program: ExportedProgram, file: Path, name: str) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        _package(package)
    names = ({0: Dim("batch"), 2: Dim("height"), 3: Dim("width")},)
    try:
        torch.onnx.export(
            program,
            (),
            file,
            dynamo=True,
            external_data=False,
            verbose=False,
            input_names=["lq"],
            output_names=["image"],
            dynamic_shapes=names,
        )
    except Exception as error:  # of torch's many kinds
        raise ExportError(f"{name} cannot be written as ONNX: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """The first line of the error that began it, which names the operator."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class _AnySize(nn.Module):
    """What `RestorationBackbone.forward` computes, without a decision by the image's size, which a graph cannot take.

    Pixels are picked by their positions. (Padding by reflection decides whether there is anything to pad; slicing
    decides whether the crop is contiguous.)
    """

    def __init__(self, network: RestorationBackbone) -> None:
        super().__init__()
        self.network = network  # whose local averages are replaced
        for module in list(network.modules()):
            for name, child in module.named_children():
                if isinstance(child, LocalAveragePool):
                    setattr(module, name, _LocalAverageOfAnySize(child.window))

    def forward(self, lq: torch.Tensor) -> torch.Tensor:
        """N x C x H x W to the same."""
        height, width = lq.shape[-2:]
        padded = lq.index_select(-2, self._mirrored(height)).index_select(-1, self._mirrored(width))
        image, _ = self.network.whole(padded, keep=False)
        return image.index_select(-2, torch.arange(height)).index_select(-1, torch.arange(width))

    def _mirrored(self, side: int) -> torch.Tensor:
        """Which pixel of a side each pixel of the padded side shows; the same as `pad_to_multiple`."""
        unit = self.network.size_multiple
        last = side - 1
        position = torch.arange((side + unit - 1) // unit * unit)
        return (last - (last - position).abs()).clamp(min=0)


class _LocalAverageOfAnySize(nn.Module):
    """What `LocalAveragePool` computes in eval mode, without deciding whether its window covers the image."""

    def __init__(self, window: int) -> None:
        super().__init__()
        self.window = window

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for dim in (-2, -1):
            side = x.shape[dim]
            length: Any = torch.sym_min(self.window, side)  # a number, or the symbol of one
            start = (torch.arange(side) - (length - 1) // 2).clamp(min=0)
            start = torch.minimum(start, torch.arange(side - length, side - length + 1))
            sums = F.pad(x.movedim(dim, -1).cumsum(-1), (1, 0))
            inside = sums.index_select(-1, start + length) - sums.index_select(-1, start)
            x = (inside / length).movedim(-1, dim)
        return x
