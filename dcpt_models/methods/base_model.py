"""The base class of all methods: it builds the networks, makes the updates of an iteration, validates and saves."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import torch
from basicsr.archs import build_network
from basicsr.models.base_model import BaseModel
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from dcpt_arch.backbones.base import RestorationBackbone
from dcpt_arch.checkpoints.initialise import Scope, initialise
from dcpt_models.errors import OptionError
from dcpt_models.losses.criteria import build_pixel_loss
from dcpt_models.methods.dry_pass import SIDE, check_restores
from dcpt_models.methods.labels import class_indices, multi_hot
from dcpt_models.methods.saving import resume, write_networks, write_state
from dcpt_models.methods.train_options import TrainOptions, read_train_options
from dcpt_models.optim.ema import MovingAverage
from dcpt_models.optim.optimizers import LearningRates, build_optimizer
from dcpt_models.optim.running_means import Averages
from dcpt_models.optim.skipped_updates import Guard, Skipped
from dcpt_models.optim.updates import Updates, split
from dcpt_models.options.check import Problem
from dcpt_models.options.from_engine import completed
from dcpt_models.runtime.distributed import gather
from dcpt_models.validation.validate import Best, Records, Results, validate

# Iterations after which BasicSR's loop, which does not know of them, has those without update looked at.
READ_EVERY = 100

Losses = dict[str, torch.Tensor]
Batch = dict[str, Any]
CommonOptions = TrainOptions  # by this name in the class, which has an attribute TrainOptions


class DegradationModel(BaseModel):
    """Base of the methods. A subclass says only what its losses are.

    The keys of a batch are `lq` and `gt`, N x C x H x W in [0, 1], and `degradation`, N names.

    Args:
        opt: A resolved option file.
    """

    TrainOptions: ClassVar[type] = TrainOptions
    labels: ClassVar[tuple[str, ...]] = ("g",)  # of the networks: `network_g`, `net_g`, `optim_g`, `pretrain_network_g`
    multi_label: ClassVar[bool] = False  # whether an image can have several of the classes
    train: CommonOptions

    @classmethod
    def train_options(cls, options: dict[str, Any]) -> Any:
        """The `train` section of an option file as an object of `TrainOptions`; see `read_train_options`."""
        return read_train_options(cls.TrainOptions, options)

    @classmethod
    def problems(cls, options: dict[str, Any], is_train: bool) -> list[Problem]:
        """What does not go with this method in an option file whose keys and types are right."""
        return []

    def __init__(self, opt: dict[str, Any]) -> None:
        self.engine_runs = "resolved" not in opt  # `train_pipeline` or `test_pipeline`, not this package's commands
        super().__init__(completed(opt) if self.engine_runs else opt)
        self.logger = logging.getLogger("basicsr")
        self.degradations: list[str] = opt.get("degradations") or []
        self.networks: dict[str, nn.Module] = {}
        self.averages: dict[str, MovingAverage] = {}
        self.best = Best()
        self.validated = -1  # the last iteration that was validated
        self.samples: int | None = None  # that all processes have read, as far as the loop says so
        self.drawing_seed = 0  # of what a method draws in this iteration, the same on all processes
        self.place = (0, 1)  # of the part that losses are of: its first sample in the batch of all, and their number
        self.train = self.train_options(opt)
        self.memory_format = torch.channels_last if self.train.channels_last else torch.contiguous_format
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
        """Build a network and put it on the device under its label; returns it.

        Raises:
            OptionError: If the network refuses its arguments, or `net_g` does not give images of the shape of gt.
        """
        try:
            network = build_network(section)
        except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise OptionError(f"key 'network_{label}': {error}; fix {section.get('type')}'s arguments") from error
        if label == "g":
            crop = (self.opt.get("datasets", {}).get("train") or {}).get("gt_size", SIDE) if self.is_train else SIDE
            check_restores(network, f"network_{label}", crop)
        self.networks[label] = network.to(self.device).to(memory_format=self.memory_format)
        count = sum(p.numel() for p in network.parameters())
        self.logger.info(f"net_{label}: {type(network).__name__}, {count:,} parameters")
        return self.networks[label]

    def _load_pretrained(self, label: str, network: nn.Module) -> None:
        path = self.opt["path"]
        file = path.get(f"pretrain_network_{label}")
        if not (self.is_train or file):
            raise OptionError(f"key 'path:pretrain_network_{label}' is empty: name the checkpoint to test")
        if file:
            scope: Scope = path.get("pretrain_scope_g", "all") if label == "g" else "all"
            strict = path.get(f"strict_load_{label}", True)
            initialise(network, file, path.get(f"param_key_{label}"), scope, strict)

    def _init_training(self) -> None:
        train = self.train
        self.cri_pix = build_pixel_loss(train.pixel_opt).to(self.device)
        optimizers: dict[str, Any] = {label: getattr(train, f"optim_{label}", None) for label in self.networks}
        self.trained = [label for label, section in optimizers.items() if section]
        self.optimizers = [
            build_optimizer(self.networks[label].parameters(), optimizers[label]) for label in self.trained
        ]
        if train.ema_decay:
            self.averages = {label: MovingAverage(self.networks[label], train.ema_decay) for label in self.trained}
        self.rates = LearningRates(self.optimizers, train.scheduler, train.warmup_iter)
        self.observed = Averages()
        self.guard = Guard()
        self.updates = Updates(
            {label: self.networks[label] for label in self.trained},
            self.optimizers,
            self.device,
            train.precision,
            train.accumulate,
            train.grad_clip,
        )
        for label, network in self.networks.items():
            # A network without an optimiser is frozen: in eval mode, and without gradients of its weights.
            # Parameters that a network itself has frozen stay so.
            network.train(label in self.trained)
            if label not in self.trained:
                network.requires_grad_(False)
            setattr(self, f"net_{label}", self._wrapped(label))

    def partial_updates(self) -> bool:
        """Whether an update can leave some parameters without gradient; see `Updates`."""
        return False

    def _wrapped(self, label: str) -> nn.Module:
        """What training calls for a network; `networks` has it bare, for saving, averaging and validation."""
        network = self.networks[label]
        if self.opt["dist"] and label in self.trained:
            if self.partial_updates():
                self.updates.averaged_over = self.opt["world_size"]
            else:
                devices = [torch.cuda.current_device()] if self.device.type == "cuda" else None
                network = DistributedDataParallel(network, device_ids=devices, broadcast_buffers=False)
                self.updates.replicas.append(network)
        compiled: Any = torch.compile(network) if self.train.compile else network
        return compiled

    # --- training -----------------------------------------------------------------------------------------------------

    def feed_data(self, data: Batch) -> None:
        """Take a batch; see the class."""
        self.batch = data
        self._take(data)

    def _take(self, data: Batch) -> None:
        """Move a batch, or a part of one, to the device, for `loss_steps`."""
        self.lq, self.gt = (
            data[key].to(self.device, non_blocking=True, memory_format=self.memory_format) for key in ("lq", "gt")
        )
        self.names: list[str] = data["degradation"]

    def class_indices(self) -> torch.Tensor:
        """The batch's degradations as indices into the option file's `degradations`, N.

        Raises:
            ValueError: If the batch has a degradation that is not listed there.
        """
        return self._on_device(class_indices(self.names, self.degradations))

    def multi_hot(self) -> torch.Tensor:
        """The batch's degradations as N x classes of 0 and 1: "haze+rain" has both of these classes.

        Raises:
            ValueError: If the batch has a degradation with a part that is not listed there.
        """
        return self._on_device(multi_hot(self.names, self.degradations))

    def _on_device(self, values: list[Any]) -> torch.Tensor:
        # Copied without waiting for what the device is still computing.
        return torch.tensor(values).to(self.device, non_blocking=True)

    def loss_steps(self) -> Iterator[Losses]:
        """Yield the named losses of each update of one iteration; their sum is minimised."""
        raise NotImplementedError

    def optimize_parameters(self, current_iter: int) -> None:
        """One iteration: an update for each dict of losses, of gradients summed over the parts of the batch."""
        self.updates.begin()
        self.drawing_seed = self.opt.get("manual_seed", 0) * 1_000_003 + current_iter
        count = len(self.batch["gt"])
        self.updates.accumulate = self.parts_of(count)
        parts = split(self.batch, self.updates.accumulate)
        self.place = (self.opt["rank"] * count, self.opt["world_size"] * count)
        steps = [self.loss_steps() for _ in parts]
        while self._sum_gradients(parts, steps):
            norms = self.updates.apply()
            self.observed.add({f"grad_norm_{label}": norm for label, norm in norms.items()})
        for average in self.averages.values():
            average.update()
        self.guard.note(current_iter, self.updates.outcome(), self.batch.get("lq_path", []))
        if self.engine_runs and current_iter % READ_EVERY == 0:
            self.look_at_skipped()

    def _sum_gradients(self, parts: list[Batch], steps: list[Iterator[Losses]]) -> bool:
        """Compute the gradients of the next update; False if the iteration has no more."""
        for number, (part, step) in enumerate(zip(parts, steps, strict=True), 1):
            if len(parts) > 1:
                self._take(part)
                self.place = (self.opt["rank"] * len(self.batch["gt"]) + (number - 1) * len(part["gt"]), self.place[1])
            with self.updates.micro_batch(last=number == len(parts)):
                with self.updates.forward():
                    losses = next(step, None)
                if losses is None:
                    return False
                self.updates.backward(losses)
            self.observed.add(losses)
        return True

    def parts_of(self, count: int) -> int:
        """Parts that a process's batch of so many samples is split into: as few as the options allow, of equal size."""
        most = self.train.samples_at_once
        if most is None:
            return self.train.accumulate
        return next(parts for parts in range(1, count + 1) if count % parts == 0 and count // parts <= most)

    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        """Set the learning rates of an iteration, before it; the warm-up is the option file's."""
        self.rates.update(current_iter)

    def get_current_learning_rate(self) -> list[float]:
        """The learning rate of each trained network."""
        return [rates[0] for rates in self.rates.current()]

    def look_at_skipped(self) -> list[Skipped]:
        """Warn of the iterations since the last call that made no update; all processes must call.

        Raises:
            FloatingPointError: If BasicSR's loop runs, and more than `max_bad_steps` in a row were such; in this
                package's loop it is the loop that ends the run, after it has saved.
        """
        skipped = self.guard.read()
        for skip in skipped:
            skip.report(self.logger)
        if self.engine_runs and self.guard.in_a_row >= self.train.max_bad_steps:
            raise self.guard.diverged(skipped[-1], "The checkpoints are of weights from before them.")
        return skipped

    def weights_are_finite(self) -> bool:
        """Whether no weight of a trained network is NaN or infinite."""
        tensors = [t for label in self.trained for t in self.networks[label].state_dict().values()]
        return all(bool(tensor.isfinite().all()) for tensor in tensors)

    def get_current_log(self) -> dict[str, float]:
        """Means of losses and accuracy since the last call, over all processes (all must call)."""
        if self.engine_runs:
            self.look_at_skipped()
        return self.observed.read(self.opt["world_size"], self.device)

    # --- validation ---------------------------------------------------------------------------------------------------

    def evaluated(self, label: str) -> nn.Module:
        """The network that is validated: the moving average if there is one."""
        return self.averages[label].network if label in self.averages else self.networks[label]

    def predict(self, image: bool) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """What is validated of a batch.

        Args:
            image: Whether the image is asked for.

        Returns:
            The image whose PSNR against `gt` is validated, or None if it is not asked for; and the logits whose
            accuracy is validated, or None for methods without a classifier.
        """
        return self.evaluated("g")(self.lq) if image else None, None

    def target(self) -> torch.Tensor:
        """The target of the logits: class indices, N; or 0 and 1 for each class, N x classes (`multi_label`)."""
        return self.class_indices()

    def rightly_classified(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Whether each row of logits is a correct classification, one bool a row."""
        return logits.argmax(1) == target

    def validation(self, dataloader: Any, current_iter: Any, tb_logger: Any, save_img: bool = False) -> None:
        """Validate on one loader, as BasicSR calls it; each process takes its share of the images."""
        if self.opt["dist"]:
            share = range(self.opt["rank"], len(dataloader.dataset), self.opt["world_size"])
            dataloader = DataLoader(dataloader.dataset, batch_size=1, sampler=share)
        self.validate([dataloader], current_iter, tb_logger, save_img)

    def validate(
        self,
        loaders: list[Any],
        current_iter: Any,
        tb_logger: Any = None,
        save_img: bool = False,
        records: Records | None = None,
    ) -> Results:
        """Validate on all loaders; logs, writes to TensorBoard, keeps the best values.

        Args:
            loaders: One for each set, this process's share of it; all processes must call.
            current_iter: For logs and file names.
            tb_logger: A TensorBoard writer, or None.
            save_img: Whether restored images are saved.
            records: Where the values of each image are kept, and looked up before it is measured.

        Returns:
            Set -> metric -> value, and the plain mean of the sets under "average".
        """
        modes = {network: network.training for network in self.networks.values()}
        for network in modes:
            network.eval()
        try:
            results = validate(self, loaders, current_iter, tb_logger, save_img, records)
        finally:
            for network, training in modes.items():
                network.train(training)
        self.validated = current_iter
        return results

    # --- saving and resuming ------------------------------------------------------------------------------------------

    def save(self, epoch: int, current_iter: int, alone: bool = False) -> None:
        """Write the networks, then the training state that makes them a checkpoint; all processes must call.

        Args:
            epoch: For the state.
            current_iter: For the state and the names of the files; -1 for the networks alone, as "latest".
            alone: Whether this process writes, and no other one calls; otherwise the first one does. What the others
                have observed since the last log line is then not saved.

        Raises:
            OSError: If a file cannot be written. Earlier checkpoints are intact.
        """
        if current_iter == -1:  # by which BasicSR's loop asks for the networks of a finished run
            self.save_networks("latest")
            return
        observed = self.observed.state_dict()
        self._observed = [observed] if alone else gather(observed)
        if self.opt["rank"] == 0 or alone:
            self._files = write_networks(self, current_iter)
            write_state(self, epoch, current_iter, self._files, self._observed)

    def save_state(self, epoch: int, current_iter: int) -> None:
        """Write the training state alone, again after a validation has changed the best values; see `save`."""
        if self.opt["rank"] == 0:
            write_state(self, epoch, current_iter, self._files, self._observed)

    def save_networks(self, name: str) -> None:
        """Write the networks as `net_*_NAME.pth`: "latest" for those of a finished run, "best" for the best ones."""
        if self.opt["rank"] == 0:
            write_networks(self, name)

    def notes(self, label: str) -> dict[str, Any]:
        """Plain values that are saved beside the weights of a network, since the weights do not show them."""
        network = self.networks[label]
        return network.notes() if isinstance(network, RestorationBackbone) else {}

    def options_of_run(self) -> dict[str, Any]:
        """The options as the files say them, and the number of processes."""
        return {**self.opt["resolved"], "processes": self.opt["world_size"]}

    def resume_training(self, resume_state: dict[str, Any], models: Path | None = None) -> None:
        """Go on from a training state and the networks saved with it; see `dcpt_models.methods.saving.resume`."""
        resume(self, resume_state, models or Path(self.opt["path"]["models"]))
