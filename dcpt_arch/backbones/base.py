"""The base class of all restoration backbones: features, restoration, padding, and the names of the head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import nn

from dcpt_arch.backbones.pretrained import Pretrained
from dcpt_arch.layers.padding import pad_to_multiple

# Begins the names of the tensors in which a network keeps arguments that its weights do not tell.
SETTING = "setting_"
# Beside the weights of a checkpoint, the key of what neither they nor tensors among them can tell: `notes`.
NOTE = "any_backbone"
# The same of arguments of a network's constructor that change its images, but nothing of the weights.
ARGUMENTS = "arguments"


@dataclass(frozen=True)
class FeatureInfo:
    """What one feature level looks like: its number of channels, and image pixels per feature pixel."""

    channels: int
    stride: int


class RestorationBackbone(Pretrained):
    """A restoration network that can also give the features a degradation classifier reads.

    A subclass appends a `FeatureInfo` to `feature_info` for each level where it builds the level, sets
    `size_multiple`, names its restoration head in `head`, and implements `encode` and `decode`.

    Attributes:
        feature_info: One entry a feature level, the highest resolution first.
        size_multiple: Height and width inside the network are multiples of this; `forward` pads and crops.
        head: Names of the sub-modules that turn the last features into an image (DCPT, Section 3.2: the "restoration
            module"). All other parameters are the encoder.
        noted: Arguments of the constructor, None by default and kept as attributes, that stand beside the weights in a
            checkpoint: `load_network` builds the network with them, and any other may be loaded with the weights.
    """

    head: ClassVar[tuple[str, ...]]
    noted: ClassVar[tuple[str, ...]] = ()
    size_multiple: int

    def __init__(self) -> None:
        super().__init__()
        self.feature_info: list[FeatureInfo] = []

    def keep_setting(self, name: str, value: float | list[int]) -> None:
        """Keep an argument of the constructor in the state dict, since neither names nor shapes of the weights tell it.

        A checkpoint then says by itself which network it belongs to, and one of another setting is refused. Only for
        values that are not the published ones, so that the state dict of a published network is the published one.
        """
        self.register_buffer(f"{SETTING}{name}", torch.tensor(value))

    def notes(self) -> dict[str, Any]:
        given = {name: getattr(self, name) for name in self.noted if getattr(self, name) is not None}
        return {ARGUMENTS: given} if given else {}

    def encode(self, x: torch.Tensor) -> tuple[list[torch.Tensor], Any]:
        """Compute the feature levels and nothing beyond them.

        Args:
            x: N x C x H x W with H and W multiples of `size_multiple`.

        Returns:
            The features, highest resolution first, and whatever `decode` needs besides them.
        """
        raise NotImplementedError

    def decode(self, x: torch.Tensor, features: list[torch.Tensor], carried: Any) -> torch.Tensor:
        """Finish the restoration that `encode` began; returns an image of the size of `x`."""
        raise NotImplementedError

    def whole(self, x: torch.Tensor, keep: bool) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Restore an image of a size that needs no padding.

        Args:
            x: As of `encode`.
            keep: Whether the features are asked for.

        Returns:
            The image, and its features; if they are not asked for, these may be missing.
        """
        levels, carried = self.encode(x)
        return self.decode(x, levels, carried), levels

    def pad(self, x: torch.Tensor) -> torch.Tensor:
        """Extend an image, N x C x any H x any W, at its lower and right edge to a size that the network takes."""
        return pad_to_multiple(x, self.size_multiple)

    def forward(
        self, x: torch.Tensor, features: Literal["none", "only", "also"] = "none"
    ) -> torch.Tensor | list[torch.Tensor] | tuple[torch.Tensor, list[torch.Tensor]]:
        """Restore an image, give its features, or both.

        Args:
            x: N x C x H x W in [0, 1], any H, W >= 1.
            features: "none" for the image, "only" for the features (nothing behind the last feature level is
                computed), "also" for both.

        Returns:
            The restored image N x C x H x W (not clamped); the list of features, highest resolution first, each
            N x C_i x ceil(H') / s_i x ceil(W') / s_i for the padded size H' x W'; or the pair of both.
        """
        if features not in ("none", "only", "also"):
            raise ValueError(f"features must be 'none', 'only' or 'also', not {features!r}")
        padded = self.pad(x)
        if features == "only":
            return self.encode(padded)[0]
        image, levels = self.whole(padded, features == "also")
        image = image[..., : x.shape[-2], : x.shape[-1]]
        return (image, levels) if features == "also" else image

    def is_head(self, name: str) -> bool:
        """Whether a parameter or buffer of this name belongs to the restoration head."""
        return name.split(".")[0] in self.head

    def image_channels(self) -> int:
        """Channels of the images that the network takes."""
        return next(module for module in self.modules() if isinstance(module, nn.Conv2d)).in_channels

    def head_modules(self) -> list[nn.Module]:
        """The modules of the restoration head, in the order of `head`."""
        return [self.get_submodule(name) for name in self.head]


def check_levels(name: str, value: Sequence[int], length: int | None = None) -> None:
    """Refuse a list of block numbers (or heads) that cannot describe a network.

    Raises:
        ValueError: If `value` is empty, holds something below 0, or is not of the given length.
    """
    if not value or any(v < 0 for v in value) or (length is not None and len(value) != length):
        wanted = f"{length} numbers" if length is not None else "at least one number"
        raise ValueError(f"{name} must hold {wanted}, none below 0; got {list(value)}")
