"""Plain restoration: fine-tuning after DCPT, or all-in-one training from scratch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from basicsr.losses import build_loss
from basicsr.utils.registry import MODEL_REGISTRY

from dcpt_models.methods.base_model import DegradationModel, Losses
from dcpt_models.methods.train_options import TrainOptions


@dataclass(kw_only=True)
class RestorationTrainOptions(TrainOptions):
    """The `train` section of `RestorationModel`.

    Attributes:
        perceptual_opt: The engine's PerceptualLoss, added to the pixel loss; it downloads the weights of VGG.
    """

    perceptual_opt: dict[str, Any] | None = None


@MODEL_REGISTRY.register()
class RestorationModel(DegradationModel):
    """Trains `net_g` to restore: the pixel loss (and a perceptual one, if asked for) between net_g(lq) and gt."""

    TrainOptions: ClassVar[type] = RestorationTrainOptions
    train: RestorationTrainOptions

    def _init_training(self) -> None:
        section = self.train.perceptual_opt
        self.cri_perceptual = build_loss(section).to(self.device) if section else None
        super()._init_training()

    def loss_steps(self) -> Iterator[Losses]:
        restored = self.net_g(self.lq)
        losses = {"l_pix": self.cri_pix(restored, self.gt)}
        if self.cri_perceptual:
            perceptual, style = self.cri_perceptual(restored, self.gt)
            losses.update({k: v for k, v in (("l_percep", perceptual), ("l_style", style)) if v is not None})
        yield losses
