"""The `train` section of an option file as an object; every method has these options, and adds its own."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from typing import Annotated, Any, TypeVar

from dcpt_common import Count, Positive, Range
from dcpt_models.optim.updates import Precision


@dataclass(kw_only=True)
class TrainOptions:
    """The `train` section that every method has.

    Attributes:
        total_iter: Iterations of the whole run.
        optim_g: Optimiser of the restoration network: `type` in torch.optim, and its arguments. Fused, where there is a
            fused one and the section does not say otherwise.
        scheduler: Learning-rate scheduler of all optimisers; none for constant rates.
        warmup_iter: Iterations over which the learning rates rise from 0.
        ema_decay: Share of the moving average of each trained network's weights that stays each iteration; 0 for none.
        grad_clip: Largest norm of each network's gradient; none for no clipping.
        accumulate: Parts that each process's batch is split into, one after the other in memory, for one update.
        samples_at_once: In its place, the most samples that a process computes at once; the parts follow from it, also
            when the number of processes or the batch changes.
        precision: What convolutions and matrix products compute in while training ("bf16", "fp16" with a loss scale);
            weights, updates and validation are fp32.
        compile: Whether networks are compiled (torch.compile) for training.
        channels_last: Whether channels lie last in memory, which is fastest for these networks.
        tf32: Whether GPUs compute fp32 products in TF32; by default as PyTorch does: convolutions only.
        max_bad_steps: The run stops after so many iterations in a row with NaN or infinity in losses or gradients.
        pixel_opt: The pixel loss: `type` in the engine's loss registry, and its arguments.
    """

    total_iter: Count
    optim_g: dict[str, Any]
    scheduler: dict[str, Any] | None = None
    warmup_iter: Annotated[int, Range(least=-1)] = -1
    ema_decay: Annotated[float, Range(least=0, below=1)] = 0.0
    grad_clip: Positive | None = None
    accumulate: Count = 1
    samples_at_once: Count | None = None
    precision: Precision = "fp32"
    compile: bool = False
    channels_last: bool = True
    tf32: bool | None = None
    max_bad_steps: Count = 10
    pixel_opt: dict[str, Any] = field(default_factory=lambda: {"type": "L1Loss"})


AnyTrainOptions = TypeVar("AnyTrainOptions", bound=TrainOptions)


def read_train_options(kind: type[AnyTrainOptions], options: dict[str, Any]) -> AnyTrainOptions:
    """The `train` section of an option file as an object of a method's class of options.

    A test may say no more than what its method needs for testing: what is required for training alone is None then.
    """
    section, values = options.get("train") or {}, {}
    for option in fields(kind):
        if option.name in section:
            values[option.name] = section[option.name]
        elif option.default is MISSING and option.default_factory is MISSING:
            values[option.name] = None
    return kind(**values)
