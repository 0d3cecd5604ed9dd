"""Networks of no family of ours, opened by spandrel if it is installed; restore, test and app open checkpoints here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn

from dcpt_arch.adapter.sources import has_extra_arches, spandrel_loader
from dcpt_arch.backbones.base import NOTE, RestorationBackbone
from dcpt_arch.checkpoints.loading import CheckpointError, detect_family, find_weights, load_network, read_checkpoint

INSTALL = 'pip install "dcpt[spandrel]"'


@ARCH_REGISTRY.register()
class SpandrelNetwork(nn.Module):
    """A restoration network that spandrel opened. It restores, and has no features that a classifier could read.

    spandrel pads an image as the network needs it and crops the result, which is clamped to [0, 1].

    Args:
        file: The checkpoint: any of the architectures of spandrel, and of spandrel-extra-arches where installed.

    Attributes:
        architecture: What spandrel calls it.
        scale: How many times as long the sides of the result are.
        size_multiple: Height and width inside the network are multiples of this.
        square: Whether the network pads images to squares.
        tiles: Whether the result of a tile is that of the whole image, apart from its edges; if not, give it whole
            images.
        allows_bfloat16: Whether spandrel says that it works in bfloat16.
        in_channels: Of the images, always 3; a network for gray ones runs on each channel.

    Raises:
        CheckpointError: If spandrel is missing, does not know the network, or the network is for no such images.
    """

    in_channels = 3

    def __init__(self, file: str) -> None:
        super().__init__()
        self.file = str(file)
        descriptor = describe(read_checkpoint(file), self.file)
        requirements = descriptor.size_requirements
        self._descriptor = descriptor
        self.model = descriptor.model.eval()
        self.architecture = str(descriptor.architecture.name)
        self.scale = int(descriptor.scale)
        self.size_multiple = int(requirements.multiple_of)
        self.square = bool(requirements.square)
        self.tiles = descriptor.tiling.name != "INTERNAL"
        self.allows_bfloat16 = bool(descriptor.supports_bfloat16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Restore N x 3 x H x W in [0, 1], any H, W >= 1; returns N x 3 x scale H x scale W in [0, 1]."""
        images = x.split(1)  # spandrel promises no more than one image at once
        if self._descriptor.input_channels == 1:
            return torch.cat([torch.cat([self._descriptor(c) for c in image.split(1, 1)], 1) for image in images])
        return torch.cat([self._descriptor(image) for image in images])


def open_network(file: str | Path) -> RestorationBackbone | SpandrelNetwork:
    """The restoration network of a checkpoint: ours, of a known family, or one that spandrel opens.

    Args:
        file: `.pth`, `.safetensors` and others that `read_checkpoint` reads.

    Returns:
        On the CPU, in eval mode.

    Raises:
        CheckpointError: As `load_network` and `SpandrelNetwork`.
    """
    content = read_checkpoint(file)
    if NOTE in content:  # of a network that was trained here, whoever's it is
        return load_network(file)
    if detect_family(find_weights(content, file=file).state) is None:
        return SpandrelNetwork(str(file)).eval()
    try:
        return load_network(file)
    except CheckpointError as error:
        # A variant that the family does not have, such as SwinIR with an upsampler.
        try:
            return SpandrelNetwork(str(file)).eval()
        except CheckpointError:
            raise error from None


def is_of_others(file: str | Path) -> bool:
    """Whether a checkpoint is of none of our families, and spandrel opens it.

    Raises:
        CheckpointError: If the file is bad.
    """
    content = read_checkpoint(file)
    if NOTE in content or detect_family(find_weights(content, file=file).state) is not None:
        return False
    try:
        describe(content, str(file))
    except CheckpointError:  # a network of the user's own, which an option file names
        return False
    return True


def describe(content: Mapping[str, Any], file: str) -> Any:
    """Spandrel's description of the network that weights belong to, with the network in it.

    Raises:
        CheckpointError: As `SpandrelNetwork`.
    """
    weights = find_weights(content, file=file)
    raw: Any = content
    for key in filter(None, weights.key.split(":")):
        raw = raw[key]
    loader, unsupported = _loader(file, next(iter(weights.state)))
    found: Any = None
    # Names as they stand first: in some layouts (ESRGAN's "model.") what looks like a wrapper's prefix is part of them.
    for state in ({name: value for name, value in raw.items() if isinstance(value, torch.Tensor)}, weights.state):
        try:
            found = loader.load_from_state_dict(dict(state))
            break
        except unsupported:
            continue
        except Exception as error:  # of as many kinds as there are architectures
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise CheckpointError(f"{file}: spandrel cannot open it ({first[:200]})") from error
    if found is None:
        raise CheckpointError(
            f"{file}: weights of an unknown network (first key '{next(iter(weights.state))}'); neither this package "
            "nor spandrel has it. One of your own is known once its file is imported (--import FILE.py)"
            + ("" if has_extra_arches() else "; more networks: pip install spandrel-extra-arches")
        )
    name, takes, gives = found.architecture.name, found.input_channels, found.output_channels
    if not hasattr(found, "purpose") or found.purpose == "Inpainting":
        raise CheckpointError(f"{file}: {name} fills in what a mask covers; here photographs are restored without one")
    if takes not in (1, 3) or gives != takes:
        raise CheckpointError(f"{file}: this {name} makes {gives} channels of {takes}; networks of RGB or gray are run")
    return found


def _loader(file: str, first: str) -> tuple[Any, type[Exception]]:
    try:
        return spandrel_loader()
    except ImportError as error:
        raise CheckpointError(
            f"{file}: weights of an unknown network (first key '{first}'). One of your own is known once its file is "
            f"imported (--import FILE.py); spandrel opens many of others: {INSTALL}"
        ) from error
