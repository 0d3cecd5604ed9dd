"""The model that all methods share: networks, the one training step loop, saving, resuming, validation."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from basicsr.archs import build_network
from basicsr.losses import build_loss
from basicsr.models.base_model import BaseModel
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from dcpt_arch.checkpoints import CheckpointError, read_checkpoint
from dcpt_models.averages import Averages
from dcpt_models.checkpointing import save_atomically
from dcpt_models.ema import MovingAverage
from dcpt_models.initialisation import Scope, initialise
from dcpt_models.learning_rate import LearningRates, build_optimizer
from dcpt_models.option_files import OptionError
from dcpt_models.validation import Best, Results, validate

Losses = dict[str, torch.Tensor]
Batch = dict[str, Any]


@dataclass(kw_only=True)
class TrainOptions:
    """The `train` section that every method has.

    Attributes:
        total_iter: Iterations of the whole run.
        optim_g: Optimiser of the restoration network: `type` in torch.optim, and its arguments.
        scheduler: Learning-rate scheduler of all optimisers; none for constant rates.
        warmup_iter: Iterations over which the learning rates rise from 0.
        ema_decay: Share of the moving average of each trained network's weights that stays each iteration; 0 for none.
        grad_clip: Largest norm of each network's gradient; none for no clipping.
        pixel_opt: The pixel loss: `type` in the engine's loss registry, and its arguments.
    """

    total_iter: int
    optim_g: dict[str, Any]
    scheduler: dict[str, Any] | None = None
    warmup_iter: int = -1
    ema_decay: float = 0.0
    grad_clip: float | None = None
    pixel_opt: dict[str, Any] = field(default_factory=lambda: {"type": "L1Loss"})


class DegradationModel(BaseModel):
    """Base of the methods. A subclass says only what its losses are.

    The keys of a batch are `lq` and `gt`, N x C x H x W in [0, 1], and `degradation`, N names.

    Args:
        opt: A resolved option file.
    """

    TrainOptions: ClassVar[type] = TrainOptions

    def __init__(self, opt: dict[str, Any]) -> None:
        super().__init__(opt)
        self.logger = logging.getLogger("basicsr")
        self.degradations: list[str] = opt.get("degradations") or []
        self.networks: dict[str, nn.Module] = {}
        self.averages: dict[str, MovingAverage] = {}
        self.best = Best()
        self.validated = -1  # the last iteration that was validated
        self.build_networks()
        for label, network in self.networks.items():
            self._load_pretrained(label, network)
        if self.is_train:
            self._init_training()

    # --- construction -------------------------------------------------------------------------------------------------

    def build_networks(self) -> None:
        """Fill `self.networks`: label -> network, on the device."""
        self.net_g = self.add_network("g", self.opt["network_g"])

    def add_network(self, label: str, section: dict[str, Any]) -> nn.Module:
        """Build a network and put it on the device under its label; returns it, ready for DistributedDataParallel.

        Raises:
            OptionError: If the network refuses its arguments.
        """
        try:
            network = build_network(section)
        except ValueError as error:
            raise OptionError(f"key 'network_{label}': {error}") from error
        # Convolutions and the layer normalisation between them are fastest with the channels last in memory.
        self.networks[label] = network.to(self.device).to(memory_format=torch.channels_last)
        count = sum(p.numel() for p in network.parameters())
        self.logger.info(f"net_{label}: {type(network).__name__}, {count:,} parameters")
        return self.networks[label]

    def _load_pretrained(self, label: str, network: nn.Module) -> None:
        path = self.opt["path"]
        file = path.get(f"pretrain_network_{label}")
        if not (self.is_train or file):
            raise OptionError(f"key 'path:pretrain_network_{label}' is empty: which checkpoint is to be tested?")
        if file:
            scope: Scope = path.get("pretrain_scope_g", "all") if label == "g" else "all"
            strict = path.get(f"strict_load_{label}", True)
            initialise(network, file, path.get(f"param_key_{label}"), scope, strict)

    def _init_training(self) -> None:
        train = self.opt["train"]
        self.cri_pix = build_pixel_loss(train.get("pixel_opt", {})).to(self.device)
        self.trained = [label for label in self.networks if f"optim_{label}" in train]
        self.optimizers = [
            build_optimizer(self.networks[label].parameters(), train[f"optim_{label}"]) for label in self.trained
        ]
        if train.get("ema_decay", 0):
            self.averages = {label: MovingAverage(self.networks[label], train["ema_decay"]) for label in self.trained}
        self.rates = LearningRates(self.optimizers, train.get("scheduler"), train.get("warmup_iter", -1))
        self.observed = Averages()
        for label, network in self.networks.items():
            network.train(label in self.trained)
            if self.opt["dist"] and label in self.trained:
                setattr(self, f"net_{label}", self._distribute(network))

    def partial_updates(self) -> bool:
        """Whether an update can leave some parameters without gradient, which DistributedDataParallel must know."""
        return False

    def _distribute(self, network: nn.Module) -> nn.Module:
        devices = [torch.cuda.current_device()] if self.device.type == "cuda" else None
        return DistributedDataParallel(
            network, device_ids=devices, broadcast_buffers=False, find_unused_parameters=self.partial_updates()
        )

    # --- training -----------------------------------------------------------------------------------------------------

    def feed_data(self, data: Batch) -> None:
        """Take a batch; see the class."""
        self.lq, self.gt = (
            data[key].to(self.device, non_blocking=True, memory_format=torch.channels_last) for key in ("lq", "gt")
        )
        self.names: list[str] = data["degradation"]

    def class_indices(self) -> torch.Tensor:
        """The batch's degradations as indices into the option file's `degradations`, N.

        Raises:
            ValueError: If the batch has a degradation that is not listed there.
        """
        unknown = sorted(set(self.names) - set(self.degradations))
        if unknown:
            raise ValueError(
                f"the data has the degradation '{unknown[0]}', which `degradations` does not list: {self.degradations}"
            )
        return torch.tensor([self.degradations.index(name) for name in self.names], device=self.device)

    def loss_steps(self) -> Iterator[Losses]:
        """Yield the named losses of each update of one iteration; their sum is minimised."""
        raise NotImplementedError

    def optimize_parameters(self, current_iter: int) -> None:
        """One iteration: an update for each dict of losses."""
        for losses in self.loss_steps():
            for optimizer in self.optimizers:
                optimizer.zero_grad(set_to_none=True)
            total = torch.stack(list(losses.values())).sum()
            total.backward()
            if clip := self.opt["train"].get("grad_clip"):
                for label in self.trained:
                    nn.utils.clip_grad_norm_(self.networks[label].parameters(), clip)
            for optimizer in self.optimizers:
                optimizer.step()
            self.observed.add(losses)
        for average in self.averages.values():
            average.update()

    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        """Set the learning rates of an iteration, before it; the warm-up is the option file's."""
        self.rates.update(current_iter)

    def get_current_learning_rate(self) -> list[float]:
        """The learning rate of each trained network."""
        return [rates[0] for rates in self.rates.current()]

    def losses_are_finite(self) -> bool:
        """Whether no loss since the last log line was NaN or infinite, on this process."""
        return self.observed.finite()

    def get_current_log(self) -> dict[str, float]:
        """Means of losses and accuracy since the last call, over all processes (all must call)."""
        return self.observed.read(self.opt["world_size"], self.device)

    # --- validation ---------------------------------------------------------------------------------------------------

    def evaluated(self, label: str) -> nn.Module:
        """The network that is validated: the moving average if there is one."""
        return self.averages[label].network if label in self.averages else self.networks[label]

    def restore(self) -> torch.Tensor:
        """The image whose PSNR against `gt` is validated."""
        return self.evaluated("g")(self.lq)

    def classify(self) -> torch.Tensor | None:
        """The logits whose accuracy is validated; None for methods without a classifier."""
        return None

    def validation(self, dataloader: Any, current_iter: Any, tb_logger: Any, save_img: bool = False) -> None:
        """Validate on one loader, as BasicSR calls it."""
        self.validate([dataloader], current_iter, tb_logger, save_img)

    def validate(self, loaders: list[Any], current_iter: Any, tb_logger: Any = None, save_img: bool = False) -> Results:
        """Validate on all loaders; logs, writes to TensorBoard, keeps the best values.

        Args:
            loaders: One for each set, this process's share of it; all processes must call.
            current_iter: For logs and file names.
            tb_logger: A TensorBoard writer, or None.
            save_img: Whether restored images are saved.

        Returns:
            Set -> metric -> value, and the plain mean of the sets under "average".
        """
        modes = {network: network.training for network in self.networks.values()}
        for network in modes:
            network.eval()
        try:
            results = validate(self, loaders, current_iter, tb_logger, save_img)
        finally:
            for network, training in modes.items():
                network.train(training)
        self.validated = current_iter
        return results

    # --- saving and resuming ------------------------------------------------------------------------------------------

    def save(self, epoch: int, current_iter: int) -> None:
        """Write the networks, then the training state that makes them a checkpoint; on the first process only.

        Raises:
            OSError: If a file cannot be written. Earlier checkpoints are intact.
        """
        if self.opt["rank"] != 0:
            return
        self._save_networks(current_iter)
        self.save_state(epoch, current_iter)

    def save_state(self, epoch: int, current_iter: int) -> None:
        """Write the training state alone, again after a validation has changed the best values; see `save`."""
        if self.opt["rank"] != 0:
            return
        state = {
            "epoch": epoch,
            "iter": current_iter,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "schedulers": self.rates.state_dict(),
            "best": self.best.records,
            "validated": self.validated,
        }
        save_atomically(state, Path(self.opt["path"]["training_states"], f"{current_iter}.state"))

    def save_latest(self) -> None:
        """Write the networks of a finished run as `net_*_latest.pth`, which later option files name."""
        if self.opt["rank"] == 0:
            self._save_networks("latest")

    def _save_networks(self, iteration: int | str) -> None:
        for label, network in self.networks.items():
            content = {"params": _on_cpu(network.state_dict())}
            if label in self.averages:
                content["params_ema"] = _on_cpu(self.averages[label].network.state_dict())
            save_atomically(content, self._network_file(label, iteration))

    def _network_file(self, label: str, iteration: int | str, folder: Path | None = None) -> Path:
        return Path(folder or self.opt["path"]["models"], f"net_{label}_{iteration}.pth")

    def resume_training(self, resume_state: dict[str, Any], models: Path | None = None) -> None:
        """Go on from a training state and the networks saved with it.

        What the optimisers and schedulers had is theirs again, whatever the options say now.

        Args:
            resume_state: The state.
            models: Folder of the networks; this run's by default.

        Raises:
            CheckpointError: If a network's file is missing, damaged or another network's, or the state does not fit.
        """
        for label, network in self.networks.items():
            file = self._network_file(label, resume_state["iter"], models)
            initialise(network, file, "params")
            if label in self.averages:
                content = read_checkpoint(file)
                key = "params_ema" if "params_ema" in content else "params"
                initialise(self.averages[label].network, file, key)
        if len(resume_state["optimizers"]) != len(self.optimizers):
            saved, wanted = len(resume_state["optimizers"]), len(self.optimizers)
            raise CheckpointError(f"the training state is of {saved} optimisers, the options ask for {wanted}")
        for optimizer, state in zip(self.optimizers, resume_state["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        self.rates.load_state_dict(resume_state["schedulers"])
        self.best.records, self.validated = resume_state["best"], resume_state["validated"]


def build_pixel_loss(section: dict[str, Any]) -> nn.Module:
    """A loss of the engine's registry between two images; L1 by default.

    Raises:
        OptionError: If the loss is not one between two images.
    """
    loss = build_loss({"type": "L1Loss", **section})
    images = torch.zeros(2, 1, 3, 8, 8)
    try:
        value = loss(*images)
    except Exception as error:
        raise OptionError(f"key 'train:pixel_opt': {type(loss).__name__} is no pixel loss ({error})") from error
    if not isinstance(value, torch.Tensor) or value.dim():
        raise OptionError(f"key 'train:pixel_opt': {type(loss).__name__} gives no single number; try L1Loss")
    return loss


def _on_cpu(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in state.items()}
