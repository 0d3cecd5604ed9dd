"""Models of small option files on a fixed batch, and what an iteration does to their networks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from basicsr.models import build_model
from small_runs import NAMES, completed, write

import dcpt_arch  # noqa: F401 - registers networks
from dcpt_models.methods.base_model import DegradationModel


def make_model(options: dict[str, Any], tmp_path: Path, names: list[str] = NAMES) -> DegradationModel:
    """A model that has been fed one image of each of the named degradations."""
    model: DegradationModel = build_model(completed(write(options, tmp_path)))
    with torch.no_grad():  # beta and gamma start at zero, which holds the gradient back from what is behind them
        for name, parameter in model.networks["g"].named_parameters():
            if name.endswith(("beta", "gamma")):
                parameter.normal_(generator=torch.Generator().manual_seed(1))
    feed(model, names)
    return model


def feed(model: DegradationModel, names: list[str]) -> None:
    """Give the model the fixed batch."""
    generator = torch.Generator().manual_seed(0)
    lq, gt = torch.rand(2, len(names), 3, 24, 24, generator=generator)
    model.feed_data({"lq": lq, "gt": gt, "degradation": list(names)})


def snapshot(model: DegradationModel) -> dict[str, torch.Tensor]:
    """Copies of all parameters, by label of the network and name."""
    return {
        f"{label}.{name}": parameter.detach().clone()
        for label, network in model.networks.items()
        for name, parameter in network.named_parameters()
    }


def changed(before: dict[str, torch.Tensor], model: DegradationModel) -> set[str]:
    """Names of the parameters that are no longer what they were."""
    return {name for name, value in snapshot(model).items() if not torch.equal(value, before[name])}


def part_of(name: str) -> str:
    """Which part a parameter of `snapshot` belongs to: "guide", "encoder" or "head" of net_g, or "classifier"."""
    if name.startswith("dc."):
        return "classifier"
    if name.startswith("g.guide."):
        return "guide"
    return "head" if name.startswith("g.ending.") else "encoder"


def updates(model: DegradationModel) -> list[set[str]]:
    """Run an iteration; returns the names of the parameters that each of its updates changes."""
    each: list[set[str]] = []
    losses_of = model.loss_steps

    def watched() -> Iterator[Any]:
        for losses in losses_of():
            before = snapshot(model)
            yield losses
            each.append(changed(before, model))

    model.loss_steps = watched  # type: ignore[method-assign]
    try:
        model.optimize_parameters(1)
    finally:
        model.loss_steps = losses_of  # type: ignore[method-assign]
    return each
