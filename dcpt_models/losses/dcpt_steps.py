"""The losses of DCPT (Section 3.2) as functions of networks and tensors: `DCPTModel` uses them, and any loop can."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

import torch
from torch import nn

Losses = dict[str, torch.Tensor]
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Stage = Literal["generation", "classification"]
Schedule = Literal["alternate", "joint"]
STAGES: tuple[Stage, ...] = ("generation", "classification")


def dcpt_loss_steps(
    network: nn.Module,
    classifier: nn.Module,
    lq: torch.Tensor,
    gt: torch.Tensor,
    target: torch.Tensor,
    pixel_loss: Loss,
    classification_loss: Loss,
    schedule: Schedule = "alternate",
    stages: Sequence[Stage] = STAGES,
    global_residual: bool = True,
) -> Iterator[Losses]:
    """The losses of each update of one iteration of DCPT.

    Make an update of the sum of each dict before the next one is asked for: its losses are of the updated networks.

    Args:
        network: A backbone of this package, `AnyBackbone` among them, or what is called like one:
            `network(x)` gives the image, `network(x, features="only")` the features, highest resolution first.
        classifier: From these features to logits.
        lq: Degraded images, N x 3 x H x W in [0, 1].
        gt: The same images clean.
        target: The class of each degradation, N; or N x classes of 0 and 1 for `BinaryFocalLoss`.
        pixel_loss: Of an image and the clean one.
        classification_loss: Of logits and `target`.
        schedule: "alternate" gives a dict for each stage, "joint" one of all.
        stages: Which stages, in this order.
        global_residual: Whether the generation stage uses the input that the network adds to its output.

    Yields:
        Name -> loss: `l_pix` of the generation stage, `l_cls` of the classification stage.
    """

    def classification() -> Losses:
        return {"l_cls": classification_loss(classifier(network(lq, features="only")), target)}

    def generation() -> Losses:
        return {"l_pix": pixel_loss(generated(network, gt, global_residual), gt)}

    yield from in_steps({"generation": generation, "classification": classification}, schedule, stages)


def generated(network: nn.Module, gt: torch.Tensor, global_residual: bool = True) -> torch.Tensor:
    """What the generation stage makes of clean images, which it is to give again."""
    image: torch.Tensor = network(gt)
    return image if global_residual else image - gt


def in_steps(
    losses_of: Mapping[Stage, Callable[[], Losses]], schedule: Schedule, stages: Sequence[Stage]
) -> Iterator[Losses]:
    """Yield the losses of each update: one of all stages together ("joint"), or one of each in turn ("alternate")."""
    if schedule == "joint":
        yield {name: loss for stage in stages for name, loss in losses_of[stage]().items()}
    else:
        for stage in stages:
            yield losses_of[stage]()
