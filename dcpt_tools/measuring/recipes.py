"""What the recipes of the paper would take on a device, from the time of an iteration of theirs."""

from __future__ import annotations

import functools
import gc
from collections.abc import Iterator
from typing import Any

import torch

from dcpt_models.options.files import read_options
from dcpt_models.runtime.memory import is_out_of_memory
from dcpt_models.training.loop import set_tf32
from dcpt_tools.measuring.made_models import Batch, made
from dcpt_tools.measuring.session import Row, Session
from dcpt_tools.measuring.timing import in_turns, peak_memory
from dcpt_tools.option_folder import OPTIONS

IMAGES = 32  # of an iteration in all, whatever the number of GPUs (paper, Appendix B.2)
RECIPES = (
    *("dcpt_promptir_5d", "finetune_promptir_5d", "5d/dcpt_nafnet_5d", "5d/finetune_nafnet_5d"),
    *("5d/dcpt_restormer_5d", "5d/finetune_restormer_5d", "5d/dcpt_swinir_5d", "5d/finetune_swinir_5d"),
)
SMALL_CROP = 32


def projection(session: Session) -> Iterator[Row]:
    """Hours of each recipe in bf16, and in the precision that is PyTorch's default."""
    for name in RECIPES[2:4] if session.small else RECIPES:
        values = read_options(OPTIONS / f"{name}.yml").values
        count: int = values["train"]["total_iter"]
        crop: int = values["datasets"]["train"]["gt_size"]
        row: Row = {"what": name, "iterations": count, "an iteration": f"{IMAGES} x {crop}²"}
        for precision in ("bf16", "fp32"):
            set_tf32(None)
            seconds, batch, peak = _iteration(session, values, precision, crop)
            share = IMAGES * crop**2 / (batch.count * batch.crop**2)
            row |= {
                f"{precision}, ms": 1e3 * seconds * share,
                f"{precision}, hours": seconds * share * count / 3600,
                f"{precision}, measured": f"{batch.count} x {batch.crop}²",
                f"{precision}, peak GB": peak / 1e9,
            }
        yield row


def _iteration(session: Session, values: dict[str, Any], precision: str, crop: int) -> tuple[float, Batch, int]:
    """Seconds of an iteration, of what, and the memory of it; of half as many images where memory runs out."""
    wanted: list[str] = ["model_type", "degradations", "network_g", "network_dc"]
    others = {key: values[key] for key in wanted if key in values}
    train = {key: value for key, value in values["train"].items() if key not in ("total_iter", "scheduler")}
    images = 1 if session.small else IMAGES
    while True:
        batch = Batch(images, SMALL_CROP if session.small else crop, str(session.device))
        try:
            return _measured(session, others, {**train, "precision": precision}, batch)
        except RuntimeError as error:
            if not is_out_of_memory(error) or images == 1:
                raise
        gc.collect()
        if session.on_gpu:
            torch.cuda.empty_cache()
        images //= 2


def _measured(
    session: Session, others: dict[str, Any], train: dict[str, Any], batch: Batch
) -> tuple[float, Batch, int]:
    iterate = functools.partial(made(others, train, batch).optimize_parameters, 1)
    found = in_turns({"": iterate}, 1 if session.small else 3, 1, session.device)
    return found.median(""), batch, peak_memory(iterate, session.device)
