"""Degradation classification pre-training (DCPT, Section 3.2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from basicsr.losses import build_loss
from basicsr.utils.registry import MODEL_REGISTRY

from dcpt_models.base_model import DegradationModel, Losses, TrainOptions


@dataclass(kw_only=True)
class DCPTTrainOptions(TrainOptions):
    """The `train` section of `DCPTModel`.

    Attributes:
        optim_dc: Optimiser of the classifier.
        cls_opt: The classification loss; its `loss_weight` is lambda of Eq. 4.
        schedule: "alternate" (two updates an iteration) or "joint" (one).
    """

    optim_dc: dict[str, Any]
    cls_opt: dict[str, Any] = field(default_factory=lambda: {"type": "FocalLoss"})
    schedule: Literal["alternate", "joint"] = "alternate"


@MODEL_REGISTRY.register()
class DCPTModel(DegradationModel):
    """Trains an encoder to tell degradations apart while it keeps its ability to generate clean images.

    * Generation stage: the *clean* image through encoder and head gives the clean image again (L_pix).
    * Classification stage: the degraded image through the encoder gives features, from which the classifier `net_dc`
      tells the degradation (L_cls). Encoder and classifier learn; the head takes no part.

    With `schedule: alternate` an iteration makes an update for each stage, in this order (the paper). With `joint` it
    makes one update of the sum (the released code).

    Validation reports the accuracy of the classifier on lq, and how well gt is reproduced, which is what the generation
    stage trains; nothing is restored before fine-tuning.
    """

    TrainOptions: ClassVar[type] = DCPTTrainOptions
    needs: ClassVar[tuple[str, ...]] = ("network_dc", "degradations")

    def build_networks(self) -> None:
        super().build_networks()
        given = {"feature_info": self.networks["g"].feature_info, "classes": len(self.degradations)}
        self.net_dc = self.add_network("dc", {**self.opt["network_dc"], **given})

    def _init_training(self) -> None:
        train = self.opt["train"]
        self.schedule = train.get("schedule", "alternate")
        self.cri_cls = build_loss({"type": "FocalLoss", **train.get("cls_opt", {})}).to(self.device)
        super()._init_training()

    def partial_updates(self) -> bool:
        # The classification stage stops before the head. Summed with the generation stage, every parameter has a part.
        return self.schedule == "alternate"

    def generation_losses(self) -> Losses:
        """L_pix: input and target are both the clean image."""
        return {"l_pix": self.cri_pix(self.net_g(self.gt), self.gt)}

    def classification_losses(self) -> Losses:
        """L_cls: the classifier sees the features of the degraded image, never the image."""
        logits = self.net_dc(self.net_g(self.lq, features="only"))
        target = self.class_indices()
        self.observed.add({"acc": (logits.argmax(1) == target).float().mean()})
        return {"l_cls": self.cri_cls(logits, target)}

    def loss_steps(self) -> Iterator[Losses]:
        if self.schedule == "joint":
            yield {**self.generation_losses(), **self.classification_losses()}
        else:
            yield self.generation_losses()
            yield self.classification_losses()

    def restore(self) -> torch.Tensor:
        return self.evaluated("g")(self.gt)

    def classify(self) -> torch.Tensor:
        return self.evaluated("dc")(self.evaluated("g")(self.lq, features="only"))
