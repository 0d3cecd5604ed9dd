"""A NAFNet that first tells which degradations an image has, and then restores accordingly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn

from dcpt_arch.backbones.base import FeatureInfo
from dcpt_arch.backbones.families import Family, StateDict, count, register_family
from dcpt_arch.backbones.nafnet_arch import NAFNet, nafnet_arguments
from dcpt_arch.layers.guide import Guide, Steering
from dcpt_arch.layers.padding import pad_to_multiple
from dcpt_common import Blocks, Count


@ARCH_REGISTRY.register()
class GuidedNAFNet(NAFNet):
    """A NAFNet whose stages are steered by a small classifier of the degraded image, its guide.

    In a plain blind network, what is not recognised early in training is returned unchanged for long: between ten
    degradations and clean photographs, doing nothing is right on average. Here recognition has a loss of its own
    (`SelfGuidedModel`), and restoration knows from the first iteration what it is to remove. There only the guide's own
    loss trains it; other methods train it as the rest of the encoder.

    The features are those of NAFNet, and behind them those of the guide. The sizes are those of NAFNet; see there. An
    image without degradation goes through an unsteered NAFNet.

    Args:
        guide_classes: Degradations that are told apart; a clean image has none of them.
        guide_width: Channels of the guide's first convolution.
    """

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
        guide_classes: Count = 10,
        guide_width: Count = 32,
    ) -> None:
        super().__init__(
            in_channels, out_channels, width, enc_blk_nums, middle_blk_num, dec_blk_nums, tlc_size, checkpointing,
            initial_scale, fold, refinement,
        )  # fmt: skip
        self.guide = Guide(in_channels, guide_classes, guide_width)
        levels = [width << level for level in range(len(enc_blk_nums))]
        self.steer_encoders = nn.ModuleList(Steering(guide_classes, channels) for channels in levels)
        self.steer_middle = Steering(guide_classes, 2 * levels[-1])
        self.steer_decoders = nn.ModuleList(Steering(guide_classes, channels) for channels in reversed(levels))
        self.feature_info.append(FeatureInfo(channels=4 * guide_width, stride=16))
        self.size_multiple = max(16, self.size_multiple)

    def forward(
        self,
        x: torch.Tensor,
        features: Literal["none", "only", "also", "guide"] = "none",
        degradations: torch.Tensor | None = None,
    ) -> Any:
        """As `RestorationBackbone.forward`, and two more ways for training.

        Args:
            x: N x C x H x W in [0, 1], any H, W >= 1.
            features: As there; or "guide" for the guide's logits alone, N x classes.
            degradations: What to steer by instead of the guide's answer, N x classes in [0, 1]; rows of NaN are
                answered by the guide. The result is then the image and the guide's logits, whatever `features` says.
        """
        if degradations is None and features != "guide":
            return super().forward(x, features)
        padded = pad_to_multiple(x, self.size_multiple)
        logits = self.guide(padded)
        if degradations is None:
            return logits
        told = torch.where(degradations.isnan(), logits.detach().sigmoid(), degradations.to(logits.dtype))
        return self.steered(x, told), logits

    def steered(self, x: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        """Restore images without asking the guide.

        Args:
            x: N x C x H x W in [0, 1].
            told: The degradations to remove, N x classes in [0, 1].
        """
        padded = pad_to_multiple(x, self.size_multiple)
        image = self.decode(padded, self._encode(padded, told), None)
        return image[..., : x.shape[-2], : x.shape[-1]]

    def encode(self, x: torch.Tensor) -> tuple[list[torch.Tensor], None]:
        seen = self.guide.features(x)
        return [*self._encode(x, self.guide.answer(seen).sigmoid()), seen], None

    def _encode(self, x: torch.Tensor, told: torch.Tensor) -> list[torch.Tensor]:
        x = self.begin(x)
        skips: list[torch.Tensor] = []
        for steer, encoder, down in zip(self.steer_encoders, self.encoders, self.downs, strict=True):
            x = encoder(steer(x, told))
            skips.append(x)
            x = down(x)
        x = self.middle_blks(self.steer_middle(x, told))
        features: list[torch.Tensor] = []
        for steer, up, decoder in zip(self.steer_decoders, self.ups, self.decoders, strict=True):
            x = decoder(steer(up(x) + skips.pop(), told))
            features.insert(0, x)
        return features


def _arguments(state: StateDict) -> dict[str, Any]:
    return {
        **nafnet_arguments(state),
        "guide_classes": state["steer_middle.linear.weight"].shape[1],
        "guide_width": state["guide.body.0.weight"].shape[0],
    }


def _recognises(state: Mapping[str, torch.Tensor]) -> bool:
    return count(state, "steer_encoders.") > 0


register_family(Family(network=GuidedNAFNet, recognises=_recognises, convert=lambda state: state, arguments=_arguments))
