"""Restoration by a network that tells the degradations of its input itself (GuidedNAFNet), both trained together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import torch
from basicsr.utils.registry import MODEL_REGISTRY

from dcpt_common import CLEAN, Range
from dcpt_models.methods.base_model import Losses
from dcpt_models.methods.classifying_model import build_cls_loss
from dcpt_models.methods.labels import multi_hot
from dcpt_models.methods.restoration_model import RestorationModel, RestorationTrainOptions
from dcpt_models.options.check import Problem


@dataclass(kw_only=True)
class SelfGuidedTrainOptions(RestorationTrainOptions):
    """The `train` section of `SelfGuidedModel`.

    Attributes:
        cls_opt: The loss of the guide, between logits and N x classes of 0 and 1.
        learns: What is trained. `[guide]` alone is a pre-training by degradation classification; `[restoration]` alone
            leaves the guide as it is.
        told: The share of each batch that is steered by its true degradations; the rest by what the guide says.
    """

    cls_opt: dict[str, Any] = field(default_factory=lambda: {"type": "BinaryFocalLoss"})
    learns: list[Literal["guide", "restoration"]] = field(default_factory=lambda: ["guide", "restoration"])
    told: Annotated[float, Range(least=0, most=1)] = 0.5


@MODEL_REGISTRY.register()
class SelfGuidedModel(RestorationModel):
    """Trains `net_g` to tell the degradations of an image, and to restore it accordingly.

    The network is a GuidedNAFNet. Its guide learns to say yes or no to each of `degradations` but clean, which is a no
    to all; a composite such as `haze+noise` is a yes to both. One update an iteration of the sum of L_pix and L_cls.
    """

    TrainOptions: ClassVar[type] = SelfGuidedTrainOptions
    train: SelfGuidedTrainOptions

    @classmethod
    def problems(cls, options: dict[str, Any], is_train: bool) -> list[Problem]:
        found = super().problems(options, is_train)
        section = options.get("network_g") or {}
        if not (options.get("train") or {}).get("learns", ["guide"]):
            found.append(Problem(("train", "learns"), "is empty; give guide, restoration or both"))
        if not options.get("degradations"):
            return [*found, Problem(("degradations",), f"is needed by {cls.__name__}")]
        name, needed = cls.__name__, f"the number of degradations without {CLEAN}"
        told = [name for name in options["degradations"] if name != CLEAN]
        if section.get("type") != "GuidedNAFNet":
            found.append(Problem(("network_g", "type"), f"must be GuidedNAFNet for {name}"))
        elif section.get("guide_classes", 10) != len(told):
            found.append(Problem(("network_g", "guide_classes"), f"must be {len(told)}, {needed}"))
        return found

    def _init_training(self) -> None:
        self.cri_cls = build_cls_loss(self.train.cls_opt, multi_label=True).to(self.device)
        super()._init_training()

    def partial_updates(self) -> bool:
        return len(self.train.learns) < 2

    def present(self) -> torch.Tensor:
        """The batch's degradations, N x classes of 0 and 1; a row of 0 is a clean image."""
        classes = [name for name in self.degradations if name != CLEAN]
        return self._on_device(multi_hot(self.names, [*classes, CLEAN]))[:, : len(classes)]

    def loss_steps(self) -> Iterator[Losses]:
        present, learns = self.present(), self.train.learns
        losses = {}
        if "restoration" in learns:
            steered = present.clone()
            steered[round(len(steered) * self.train.told) :] = torch.nan
            restored, logits = self.net_g(self.lq, degradations=steered)
            losses["l_pix"] = self.cri_pix(restored, self.gt)
        else:
            logits = self.net_g(self.lq, features="guide")
        self.observed.add({"acc": ((logits > 0) == present.bool()).all(1).float().mean()})
        if "guide" in learns:
            losses["l_cls"] = self.cri_cls(logits, present)
        yield losses
