"""NAFNet (Chen et al., "Simple Baselines for Image Restoration", ECCV 2022)."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn

from dcpt_arch.backbones.base import FeatureInfo, RestorationBackbone, check_levels
from dcpt_arch.backbones.families import Family, StateDict, count, register_family, settings_of
from dcpt_arch.layers.local_average import GlobalAveragePool, LocalAveragePool
from dcpt_arch.layers.norm_and_stage import LayerNorm2d, Stage
from dcpt_arch.layers.scaled_conv import scaled_conv
from dcpt_common import Blocks, Count


class NAFBlock(nn.Module):
    """The block of Figure 3c: a gated depth-wise convolution with simplified channel attention, then a gated 1x1 pair.

    Both halves are residual and scaled by `beta` and `gamma`, which start at zero, so that a new block is the identity.

    Args:
        channels: Channels of input and output.
        window: Side of the window over which the attention averages in eval mode; None for the whole image.
        scale: What `beta` and `gamma` start at.
    """

    def __init__(self, channels: int, window: int | None = None, scale: float = 0.0) -> None:
        super().__init__()
        self.norm1 = LayerNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, 2 * channels, 1)
        self.conv2 = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        pool = GlobalAveragePool() if window is None else LocalAveragePool(window)
        self.sca = nn.Sequential(pool, nn.Conv2d(channels, channels, 1))
        self.conv3 = nn.Conv2d(channels, channels, 1)
        self.norm2 = LayerNorm2d(channels)
        self.conv4 = nn.Conv2d(channels, 2 * channels, 1)
        self.conv5 = nn.Conv2d(channels, channels, 1)
        self.beta = nn.Parameter(torch.full((1, channels, 1, 1), scale))
        self.gamma = nn.Parameter(torch.full((1, channels, 1, 1), scale))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = simple_gate(self.conv2(self.conv1(self.norm1(x))))
        x = x + scaled_conv(self.conv3, y * self.sca(y), self.beta)
        y = simple_gate(self.conv4(self.norm2(x)))
        return x + scaled_conv(self.conv5, y, self.gamma)


class RefinementBlock(nn.Module):
    """Two dense 3x3 convolutions with a ReLU between them, as residual; a new block is the identity.

    Args:
        channels: Channels of input and output; twice as many between the convolutions.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 2 * channels, 3, padding=1)
        self.conv2 = nn.Conv2d(2 * channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(cast(torch.Tensor, self.conv2.bias))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.conv2(F.relu(self.conv1(x)))
        return x + y


def simple_gate(x: torch.Tensor) -> torch.Tensor:
    """Multiply the two halves of the channels, N x 2C x H x W (Eq. 6): a gate without activation function."""
    a, b = x.chunk(2, dim=1)
    return a * b


@ARCH_REGISTRY.register()
class NAFNet(RestorationBackbone):
    """A U-shaped network of NAFBlocks with one long residual around it.

    The feature levels are the outputs of the decoder stages; the head is the refinement and the last convolution.

    Args:
        in_channels: Channels of the input image.
        out_channels: Channels of the output image; the input is added to it where both are equal.
        width: Channels at full resolution; they double with every level.
        enc_blk_nums: Blocks of each encoder stage, full resolution first.
        middle_blk_num: Blocks at the lowest resolution.
        dec_blk_nums: Blocks of each decoder stage, lowest resolution first; as many stages as in the encoder.
        tlc_size: Test-time local converter (TLC): side, in pixels of the image, of the window over which the channel
            attention averages in eval mode. The TLC paper takes 1.5 times the side of the training patches. None, as
            published, averages over the whole image. A checkpoint notes it.
        checkpointing: Whether training computes the blocks' activations twice to save memory.
        initial_scale: What every block's `beta` and `gamma` start at; 0 as published.
        fold: Side of the squares of pixels that are folded into channels before the first convolution and unfolded
            after the last (as in FFDNet, Zhang et al., TIP 2018): the blocks run at 1 / `fold` of the resolution. 1 as
            published; 2 costs about a third for the same width at the next level.
        refinement: Blocks of dense convolutions (`RefinementBlock`) behind the last decoder stage, at its resolution,
            as Restormer has blocks of its own kind there. 0 as published.

    Raises:
        ValueError: If the lists of block numbers do not fit each other, or `tlc_size` or `fold` is below 1.
    """

    head = ("refinement", "ending")
    noted = ("tlc_size",)

    def __init__(
        self,
        in_channels: Count = 3,
        out_channels: Count = 3,
        width: Count = 64,
        enc_blk_nums: Sequence[Blocks] = (1, 1, 1, 28),
        middle_blk_num: Blocks = 1,
        dec_blk_nums: Sequence[Blocks] = (1, 1, 1, 1),
        tlc_size: Count | None = None,
        checkpointing: bool = False,
        initial_scale: float = 0.0,
        fold: Count = 1,
        refinement: Blocks = 0,
    ) -> None:
        super().__init__()
        if fold < 1:
            raise ValueError(f"fold must be 1 or more; got {fold}")
        if fold > 1:
            self.keep_setting("fold", fold)
        self.fold = fold
        self.tlc_size = tlc_size
        check_levels("enc_blk_nums", enc_blk_nums)
        check_levels("dec_blk_nums", dec_blk_nums, len(enc_blk_nums))
        if tlc_size is not None:
            if tlc_size < 1:
                raise ValueError(f"tlc_size must be 1 or more, or None for the whole image; got {tlc_size}")
            logging.getLogger("basicsr").info(
                f"NAFNet: in eval mode the channel attention averages over {tlc_size} x {tlc_size} pixels (TLC)"
            )

        def stage(blocks: int, channels: int, stride: int) -> Stage:
            window = None if tlc_size is None else max(1, tlc_size // stride)
            made = (NAFBlock(channels, window, initial_scale) for _ in range(blocks))
            return Stage(*made, checkpointing=checkpointing)

        self.intro = nn.Conv2d(in_channels * fold**2, width, 3, padding=1)
        self.ending = nn.Conv2d(width, out_channels * fold**2, 3, padding=1)
        self.add_input = in_channels == out_channels

        self.encoders, self.downs = nn.ModuleList(), nn.ModuleList()
        channels, stride = width, fold
        for blocks in enc_blk_nums:
            self.encoders.append(stage(blocks, channels, stride))
            self.downs.append(nn.Conv2d(channels, 2 * channels, 2, stride=2))
            channels, stride = 2 * channels, 2 * stride
        self.size_multiple = stride
        self.middle_blks = stage(middle_blk_num, channels, stride)

        self.ups, self.decoders = nn.ModuleList(), nn.ModuleList()
        for blocks in dec_blk_nums:
            self.ups.append(nn.Sequential(nn.Conv2d(channels, 2 * channels, 1, bias=False), nn.PixelShuffle(2)))
            channels, stride = channels // 2, stride // 2
            self.decoders.append(stage(blocks, channels, stride))
            self.feature_info.insert(0, FeatureInfo(channels=channels, stride=stride))
        self.refinement = Stage(*(RefinementBlock(width) for _ in range(refinement)), checkpointing=checkpointing)

    def image_channels(self) -> int:
        return self.intro.in_channels // self.fold**2

    def begin(self, x: torch.Tensor) -> torch.Tensor:
        """The input of the first stage."""
        x = self.intro(F.pixel_unshuffle(x, self.fold) if self.fold > 1 else x)
        return x

    def encode(self, x: torch.Tensor) -> tuple[list[torch.Tensor], None]:
        x = self.begin(x)
        skips: list[torch.Tensor] = []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            x = encoder(x)
            skips.append(x)
            x = down(x)
        x = self.middle_blks(x)
        features: list[torch.Tensor] = []
        for up, decoder in zip(self.ups, self.decoders, strict=True):
            x = decoder(up(x) + skips.pop())
            features.insert(0, x)
        return features, None

    def decode(self, x: torch.Tensor, features: list[torch.Tensor], carried: None) -> torch.Tensor:
        image = self.ending(self.refinement(features[0]))
        if self.fold > 1:
            image = F.pixel_shuffle(image, self.fold)
        return image + x if self.add_input else image


# NAFNet: encoders.I.J, middle_blks.J, decoders.I.J


def _recognises(state: Mapping[str, torch.Tensor]) -> bool:
    return "intro.weight" in state and any(".sca.1." in name for name in state) and not count(state, "steer_encoders.")


def _layout(state: StateDict) -> StateDict:
    # The authors of DCPT number the decoder's stages in their names: decoder0 ... decoder3.
    return {re.sub(r"^decoder(\d+)\.", r"decoders.\1.", name): value for name, value in state.items()}


def nafnet_arguments(state: StateDict) -> dict[str, Any]:
    """The arguments of a NAFNet, from the names and shapes of its weights."""
    stages, settings = count(state, "downs."), settings_of(state)
    refinement = count(state, "refinement.")
    folded = settings.get("fold", 1) ** 2
    return {
        "in_channels": state["intro.weight"].shape[1] // folded,
        "out_channels": state["ending.weight"].shape[0] // folded,
        "width": state["intro.weight"].shape[0],
        "enc_blk_nums": [count(state, f"encoders.{i}.") for i in range(stages)],
        "middle_blk_num": count(state, "middle_blks."),
        "dec_blk_nums": [count(state, f"decoders.{i}.") for i in range(stages)],
        **({"refinement": refinement} if refinement else {}),
        **settings,
    }


register_family(
    Family(
        network=NAFNet,
        recognises=_recognises,
        convert=_layout,
        arguments=nafnet_arguments,
    )
)
