"""What a checkpoint holds: the networks and the training state that a model writes, and is resumed from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dcpt_arch.checkpoints.initialise import initialise
from dcpt_arch.checkpoints.loading import CheckpointError, read_checkpoint
from dcpt_models.optim.optimizers import load_optimizer
from dcpt_models.optim.running_means import share_of
from dcpt_models.options.changes import changes
from dcpt_models.runtime.checkpoint_files import save_atomically

if TYPE_CHECKING:
    from dcpt_models.methods.base_model import DegradationModel


def write_networks(model: DegradationModel, iteration: int | str) -> dict[str, str]:
    """Write `net_LABEL_ITERATION.pth` for each network, with its moving average if there is one.

    Args:
        model: The model whose networks are written.
        iteration: Its number, "latest" or "best".

    Returns:
        Name of each file -> its SHA-256.

    Raises:
        OSError: If a file cannot be written. Earlier checkpoints are intact.
    """
    digests = {}
    for label, network in model.networks.items():
        content = {"params": _on_cpu(network.state_dict()), **model.notes(label)}
        if label in model.averages:
            content["params_ema"] = _on_cpu(model.averages[label].network.state_dict())
        file = _network_file(Path(model.opt["path"]["models"]), label, iteration)
        digests[file.name] = save_atomically(content, file)
    return digests


def write_state(
    model: DegradationModel, epoch: int, iteration: int, files: dict[str, str], observed: list[dict[str, Any]]
) -> None:
    """Write `ITERATION.state`, which makes the networks of that iteration a checkpoint.

    Args:
        model: The model, after that iteration.
        epoch: The epoch that the iteration is of.
        iteration: Its number.
        files: What `write_networks` has returned.
        observed: Of each process, the losses since the last log line.

    Raises:
        OSError: If the file cannot be written. Earlier checkpoints are intact.
    """
    state = {
        "epoch": epoch,
        "iter": iteration,
        "samples": model.samples,
        "files": files,
        "options": model.options_of_run(),
        "optimizers": [optimizer.state_dict() for optimizer in model.optimizers],
        "schedulers": model.rates.state_dict(),
        "best": model.best.records,
        "validated": model.validated,
        "observed": observed,
        "bad_in_a_row": model.guard.in_a_row,
        "loss_scale": model.updates.scale.state_dict() if model.updates.scale else None,
    }
    save_atomically(state, Path(model.opt["path"]["training_states"], f"{iteration}.state"))


def resume(model: DegradationModel, state: dict[str, Any], models: Path) -> None:
    """Go on from a training state and the networks saved with it.

    The optimisers and schedulers go on as saved, whatever the options say now. Changed options are logged.

    Args:
        model: The model that is resumed.
        state: The training state.
        models: Folder of the networks.

    Raises:
        CheckpointError: If a network's file is missing, damaged or another network's, or the state does not fit.
    """
    for change in changes(state["options"], model.options_of_run()):
        model.logger.warning(f"Changed since the checkpoint: {change}")
    _check_optimizers(state["options"]["train"], model.opt["train"])
    for label, network in model.networks.items():
        file = _network_file(models, label, state["iter"])
        initialise(network, file, "params")
        if label in model.averages:
            content = read_checkpoint(file)
            key = "params_ema" if "params_ema" in content else "params"
            initialise(model.averages[label].network, file, key)
    for optimizer, saved in zip(model.optimizers, state["optimizers"], strict=True):
        load_optimizer(optimizer, saved)
    model.rates.load_state_dict(state["schedulers"])
    model.best.records, model.validated = state["best"], state["validated"]
    model.guard.in_a_row = state["bad_in_a_row"]
    if model.updates.scale and state["loss_scale"]:
        model.updates.scale.load_state_dict(state["loss_scale"])
    observed = share_of(state["observed"], model.opt["rank"], model.opt["world_size"])
    model.observed.load_state_dict(observed, model.device)


def _check_optimizers(saved: dict[str, Any], asked: dict[str, Any]) -> None:
    for key in sorted({key for section in (saved, asked) for key in section if key.startswith("optim_")}):
        before, now = (section[key]["type"] if section.get(key) else "none" for section in (saved, asked))
        if before != now:
            raise CheckpointError(
                f"key 'train:{key}': the training state is of {before}, the options ask for {now}; continue with "
                f"{before}, or start a new run from its weights (path:pretrain_network_g)"
            )


def _network_file(models: Path, label: str, iteration: int | str) -> Path:
    return models / f"net_{label}_{iteration}.pth"


def _on_cpu(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in state.items()}
