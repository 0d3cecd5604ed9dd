"""Loading weights into a network that has been built already, with a report of what was loaded and what was not."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

from torch import nn

from dcpt_arch.backbones.base import RestorationBackbone
from dcpt_arch.checkpoints.leftover_tensors import without_counters
from dcpt_arch.checkpoints.loading import (
    CheckpointError,
    compare,
    find_weights,
    in_layout_of,
    likely_reason,
    read_checkpoint,
)
from dcpt_arch.checkpoints.others import SpandrelNetwork

Scope = Literal["all", "encoder"]


def initialise(
    network: nn.Module, path: str | Path, key: str | None = None, scope: Scope = "all", strict: bool = True
) -> None:
    """Load a checkpoint's weights, converted from any published layout.

    Args:
        network: What is loaded into.
        path: The checkpoint.
        key: Where the weights stand in it ("params", "params_ema"); the averaged ones by default.
        scope: "encoder" leaves the restoration head as it is, in the network and in the file: what fine-tuning starts
            from (DCPT, Section 3.2).
        strict: Whether every tensor (of the scope) must be there and fit.

    Raises:
        CheckpointError: If the file is bad, another than that of a `SpandrelNetwork` (which has its weights already),
            nothing fits, or `strict` is not met; with the difference in short.
    """
    if isinstance(network, SpandrelNetwork):
        if Path(network.file).absolute() != Path(path).absolute():
            raise CheckpointError(f"{path}: the network is that of {network.file}; name one file in both places")
        return
    weights = find_weights(read_checkpoint(path), key, path)
    state = in_layout_of(network, weights.state)
    left_out: list[str] = []
    if scope == "encoder":
        if not isinstance(network, RestorationBackbone):
            raise CheckpointError(f"{type(network).__name__} declares no head, so there is no encoder to load alone")
        left_out = [name for name in network.state_dict() if network.is_head(name)]
        state = {name: value for name, value in state.items() if not network.is_head(name)}
    state = without_counters(state, compare(network, state).unexpected, str(path))
    difference = compare(network, state)
    missing = [name for name in difference.missing if name not in left_out]
    fits = not (missing or difference.unexpected or difference.reshaped)
    if not difference.matching or (strict and not fits):
        reason = likely_reason(network, state, difference)
        raise CheckpointError(f"{path}: does not fit {type(network).__name__}: {difference}. {reason}")
    network.load_state_dict({name: state[name] for name in difference.matching}, strict=False)
    logger = logging.getLogger("basicsr")
    logger.info(
        f"Loaded {len(difference.matching)} of {len(network.state_dict())} tensors of {type(network).__name__} from "
        f"{path}" + (f" ('{weights.key}')" if weights.key else "")
    )
    if left_out:
        logger.info(f"Left at their initial values, since they are the head: {', '.join(left_out)}")
    if not fits:
        logger.warning(f"Not all weights were loaded: {difference}")
