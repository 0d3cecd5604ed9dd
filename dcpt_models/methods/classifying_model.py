"""The base class of the methods with a degradation classifier."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import nn

from dcpt_arch.checkpoints.loading import read_checkpoint
from dcpt_models.errors import OptionError
from dcpt_models.losses.criteria import build_cls_loss
from dcpt_models.methods.base_model import DegradationModel, Losses
from dcpt_models.methods.train_options import TrainOptions
from dcpt_models.options.check import Problem


@dataclass(kw_only=True)
class ClassifyingTrainOptions(TrainOptions):
    """What the `train` section of every method with a classifier has.

    Attributes:
        cls_opt: The classification loss: `type` in the engine's loss registry, and its arguments; `loss_weight` is
            lambda, the factor of L_cls in the sum of the losses. By default the focal loss with gamma 2 and lambda 1.
    """

    cls_opt: dict[str, Any] = field(default_factory=lambda: {"type": "FocalLoss"})


class ClassifyingModel(DegradationModel):
    """Base of the methods with a classifier `net_dc`, which reads the features that `net_g` declares, never the image.

    Validation restores lq and reports how often its degradation is classified correctly.
    """

    TrainOptions: ClassVar[type] = ClassifyingTrainOptions
    labels: ClassVar[tuple[str, ...]] = ("g", "dc")
    train: ClassifyingTrainOptions

    @classmethod
    def classifies(cls, options: dict[str, Any]) -> bool:
        """Whether an option file asks for the classifier at all."""
        return True

    @classmethod
    def problems(cls, options: dict[str, Any], is_train: bool) -> list[Problem]:
        needed = ("network_dc", "degradations") if cls.classifies(options) else ()
        return [Problem((key,), f"is needed by {cls.__name__}") for key in needed if not options.get(key)]

    def build_networks(self) -> None:
        super().build_networks()
        if self.classifies(self.opt):
            given = {"feature_info": self.networks["g"].feature_info, "classes": len(self.degradations)}
            self.net_dc = self.add_network("dc", {**self.opt["network_dc"], **given})

    def notes(self, label: str) -> dict[str, Any]:
        return {"degradations": list(self.degradations)} if label == "dc" else super().notes(label)

    def _load_pretrained(self, label: str, network: nn.Module) -> None:
        path = self.opt["path"]
        file = path.get("pretrain_network_dc")
        if label == "dc" and file and path.get("strict_load_dc", True):
            # The weights would load all the same, and every class would be taken for another.
            noted = read_checkpoint(file).get("degradations", self.degradations)
            if noted != self.degradations:
                raise OptionError(
                    f"key 'degradations': {self.degradations}, but {file} classifies {noted}; list these, in this order"
                )
        super()._load_pretrained(label, network)

    def _init_training(self) -> None:
        self.cri_cls = build_cls_loss(self.train.cls_opt, self.multi_label).to(self.device)
        super()._init_training()

    def cls_losses(self, logits: torch.Tensor) -> Losses:
        """L_cls of a batch's logits; the accuracy is logged with it."""
        target = self.target()
        self.observed.add({"acc": self.rightly_classified(logits, target).float().mean()})
        return {"l_cls": self.cri_cls(logits, target)}

    def predict(self, image: bool) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        net_g = self.evaluated("g")
        restored, features = net_g(self.lq, features="also") if image else (None, net_g(self.lq, features="only"))
        return restored, self.evaluated("dc")(features)
