"""Training guided by the frozen classifier of DCPT, for transfer to another degradation (Section 3.3)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from basicsr.utils.registry import MODEL_REGISTRY
from torch import nn

from dcpt_common import CLEAN
from dcpt_models.methods.base_model import Losses
from dcpt_models.methods.classifying_model import ClassifyingModel, ClassifyingTrainOptions
from dcpt_models.options.check import Problem


@dataclass(kw_only=True)
class DCGuidedTrainOptions(ClassifyingTrainOptions):
    """The `train` section of `DCGuidedModel`.

    Attributes:
        cls_opt: The classification loss; its `loss_weight` is lambda of Eq. 5. By default cross-entropy (the focal loss
            with gamma 0), and lambda 1.
        target: What the classifier is to say. "clean_or_degraded": that lq is degraded and gt is clean (the paper).
            "degradation": which degradation lq has (the released code).
    """

    cls_opt: dict[str, Any] = field(default_factory=lambda: {"type": "FocalLoss", "gamma": 0.0})
    target: Literal["clean_or_degraded", "degradation"] = "clean_or_degraded"


@MODEL_REGISTRY.register()
class DCGuidedModel(ClassifyingModel):
    """Trains `net_g` to restore while its features stay those that the frozen classifier of DCPT classifies well.

    The loss is L_pix between net_g(lq) and gt, plus L_cls of what `net_dc` says of the features. Gradients pass through
    the classifier into `net_g`; the classifier itself, in eval mode, is left as `path:pretrain_network_dc` has it.
    `degradations` are therefore those of the pre-training, in its order.

    With `target: degradation` the D classes are as they were. With `target: clean_or_degraded` they are merged into
    two, whose probabilities are sums of theirs, and the features of gt are classified too. The paper does not say how
    a classifier of D degradations tells clean from degraded; here

    * if `degradations` has the class `clean`, that is one category and all others together are "degraded";
    * if not (as in the paper's five classes), "degraded" is the class of the image's own degradation, and "clean" is
      everything else: the classifier is to see the degradation in lq, and not to see it in gt.

    Validation reports how often `net_dc` is right about lq or, with `clean_or_degraded`, about lq and gt.
    """

    TrainOptions: ClassVar[type] = DCGuidedTrainOptions
    train: DCGuidedTrainOptions

    @classmethod
    def problems(cls, options: dict[str, Any], is_train: bool) -> list[Problem]:
        problems = super().problems(options, is_train)
        if not options.get("path", {}).get("pretrain_network_dc"):
            why = f"is needed by {cls.__name__}: the net_dc_*.pth of a DCPT run, whose classifier guides the training"
            problems.append(Problem(("path", "pretrain_network_dc"), why))
        return problems

    def build_networks(self) -> None:
        super().build_networks()
        self.two_way = self.train.target == "clean_or_degraded"
        if self.two_way:
            rest = "any other class" if CLEAN in self.degradations else "the image's own class"
            clean = f"the class '{CLEAN}'" if CLEAN in self.degradations else "any other class"
            logging.getLogger("basicsr").info(f"The classifier's two categories: degraded is {rest}, clean is {clean}")

    def loss_steps(self) -> Iterator[Losses]:
        restored, features = self.net_g(self.lq, features="also")
        logits = self.judged(self.net_g, features)
        yield {"l_pix": self.cri_pix(restored, self.gt), **self.cls_losses(logits)}

    def judged(self, net_g: nn.Module, features: list[torch.Tensor]) -> torch.Tensor:
        """What the classifier says.

        Args:
            net_g: Gives the features of gt, if they are classified too.
            features: Those of lq.

        Returns:
            Logits, N x classes; or, for two categories, 2N x 2: clean and degraded, for each lq and then for each gt.
        """
        logits = self.net_dc(features)
        if not self.two_way:
            return logits
        logits = torch.cat([logits, self.net_dc(net_g(self.gt, features="only"))])
        if CLEAN in self.degradations:
            return merge(logits, torch.full_like(logits[:, 0], self.degradations.index(CLEAN), dtype=torch.long))
        return merge(logits, self.class_indices().repeat(2)).flip(1)

    def target(self) -> torch.Tensor:
        if not self.two_way:
            return self.class_indices()
        return self._on_device([*(int(name != CLEAN) for name in self.names), *(0 for _ in self.names)])

    def predict(self, image: bool) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        net_g = self.evaluated("g")
        restored, features = net_g(self.lq, features="also") if image else (None, net_g(self.lq, features="only"))
        return restored, self.judged(net_g, features)


def merge(logits: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Merge classes into two: one of them, and all others together.

    Args:
        logits: N x classes.
        chosen: A class index for each row, N.

    Returns:
        N x 2 logits: the softmax of a row is the probability of its chosen class, and the sum of all others'.
    """
    logits, index = logits.float(), chosen[:, None]
    others = logits.scatter(1, index, float("-inf")).logsumexp(1)
    return torch.stack([logits.gather(1, index)[:, 0], others], 1)
