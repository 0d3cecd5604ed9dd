"""Degradation classification pre-training (DCPT, Section 3.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from basicsr.utils.registry import MODEL_REGISTRY

from dcpt_models.losses.dcpt_steps import Schedule, Stage, generated, in_steps
from dcpt_models.methods.base_model import Losses
from dcpt_models.methods.classifying_model import ClassifyingModel, ClassifyingTrainOptions
from dcpt_models.options.check import Problem


@dataclass(kw_only=True)
class DCPTTrainOptions(ClassifyingTrainOptions):
    """The `train` section of `DCPTModel`.

    Attributes:
        optim_dc: Optimiser of the classifier; needed unless `stages` has no classification.
        schedule: "alternate" makes an update for each stage, "joint" one of their sum.
        stages: The stages of an iteration, in this order; one may be left out (the ablation of Table 12).
        global_residual: Whether the generation stage uses the input that the network adds to its output. With it, a
            head that gives zero reproduces every image; without, the features must hold the image.
    """

    optim_dc: dict[str, Any] | None = None
    schedule: Schedule = "alternate"
    stages: list[Stage] = field(default_factory=lambda: ["generation", "classification"])
    global_residual: bool = True


@MODEL_REGISTRY.register()
class DCPTModel(ClassifyingModel):
    """Trains an encoder to tell degradations apart while it keeps its ability to generate clean images.

    * Generation stage: the *clean* image through encoder and head gives the clean image again (L_pix).
    * Classification stage: the degraded image through the encoder gives features, from which the classifier `net_dc`
      tells the degradation (L_cls). Encoder and classifier learn; the head takes no part.

    With `schedule: alternate` an iteration makes an update for each stage, in this order (the paper). With `joint` it
    makes one update of the sum (the released code). Without the classification stage there is no classifier at all.

    Validation reports the accuracy of the classifier on lq, and how well gt is reproduced, which is what the generation
    stage trains; nothing is restored before fine-tuning.
    """

    TrainOptions: ClassVar[type] = DCPTTrainOptions
    train: DCPTTrainOptions

    @classmethod
    def classifies(cls, options: dict[str, Any]) -> bool:
        return "classification" in cls.train_options(options).stages

    @classmethod
    def problems(cls, options: dict[str, Any], is_train: bool) -> list[Problem]:
        problems = super().problems(options, is_train)
        train = cls.train_options(options)
        stages = train.stages
        if not stages or len(set(stages)) < len(stages):
            why = f"must be [generation, classification] or one of the two, not {stages}"
            problems.append(Problem(("train", "stages"), why))
        if is_train and cls.classifies(options) and not train.optim_dc:
            problems.append(Problem(("train", "optim_dc"), "is needed by the classification stage"))
        return problems

    def _init_training(self) -> None:
        self.schedule, self.stages = self.train.schedule, self.train.stages
        super()._init_training()

    def partial_updates(self) -> bool:
        # The classification stage stops before the head. Summed with the generation stage, every parameter has a part.
        alone = self.schedule == "alternate" or len(self.stages) == 1
        return alone and "classification" in self.stages

    def generation_losses(self) -> Losses:
        """L_pix: input and target are both the clean image."""
        return {"l_pix": self.cri_pix(self.generated(self.net_g), self.gt)}

    def generated(self, net_g: torch.nn.Module) -> torch.Tensor:
        """What the generation stage makes of the clean image."""
        return generated(net_g, self.gt, self.train.global_residual)

    def classification_losses(self) -> Losses:
        """L_cls: the classifier sees the features of the degraded image, never the image."""
        return self.cls_losses(self.net_dc(self.net_g(self.lq, features="only")))

    def loss_steps(self) -> Iterator[Losses]:
        losses_of: dict[Stage, Callable[[], Losses]] = {
            "generation": self.generation_losses,
            "classification": self.classification_losses,
        }
        yield from in_steps(losses_of, self.schedule, self.stages)

    def predict(self, image: bool) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        net_g = self.evaluated("g")
        logits = self.evaluated("dc")(net_g(self.lq, features="only")) if "dc" in self.networks else None
        return self.generated(net_g) if image else None, logits
