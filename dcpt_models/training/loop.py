"""The training loop: updates, log lines, validations, checkpoints, and a clean stop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from basicsr.models import build_model

from dcpt_models.errors import OptionError, RunError, Stopped
from dcpt_models.methods.base_model import DegradationModel
from dcpt_models.options.rehearsal import rehearse_saved
from dcpt_models.runtime.checkpoint_files import remove_old
from dcpt_models.runtime.distributed import lost_contact
from dcpt_models.runtime.signals import Batches, Interruptible, stop_on_signals
from dcpt_models.training.progress import Progress
from dcpt_models.training.run import Run
from dcpt_models.validation.first_images import try_metrics
from dcpt_models.validation.validate import Results

# Iterations after which several processes ask each other whether one was told to stop: seldom enough to cost nothing,
# often enough for the grace time of torchrun and of schedulers.
AGREEMENT_FREQ = 5


class Watcher:
    """What another program is told while its run trains, between the steps of the loop; this one does nothing.

    Attributes:
        reports: Whether it writes log lines of its own in the place of the loop's.
    """

    reports = False

    def before_iteration(self, batch: dict[str, Any]) -> None:
        """A batch is there, and the learning rates are set."""

    def after_iteration(self, scalars: dict[str, float]) -> bool:
        """The updates are made; returns whether the run is to end here, its state saved.

        Args:
            scalars: What is in the curves, by name, if a log line is due; else nothing.
        """
        return False

    def before_validation(self) -> None:
        """A validation begins."""

    def after_validation(self, results: Results) -> bool:
        """It has ended; returns as `after_iteration` does."""
        return False


def new_model(opt: dict[str, Any]) -> DegradationModel:
    """The model of a run, with initial weights that are alike on every process, whatever else has drawn numbers."""
    torch.manual_seed(opt["manual_seed"])
    model: DegradationModel = build_model(opt)
    return model


def train(
    run: Run,
    train_loader: Any,
    val_loaders: list[Any],
    model: DegradationModel | None = None,
    watcher: Watcher | None = None,
) -> Results:
    """Train a model from `run.start` to exactly `total_iter` iterations.

    Args:
        run: The open run.
        train_loader: Endless batches, from the sample after `run.start` iterations on.
        val_loaders: One loader for each validation set.
        model: What `new_model` makes of the run's options, if it is there already.
        watcher: Who is told of each step.

    Returns:
        The results of the last validation; empty without validation sets.

    Raises:
        Stopped: If the run was asked to stop. Its state is saved.
        FloatingPointError: If too many iterations in a row made no update, or weights are not finite.
        MetricError: If a metric cannot be computed on a validation image.
        OptionError: If a network, a loss or a saved schedule does not suit the run.
        OSError: If a checkpoint cannot be written.
        RunError: If a worker or another process has ended.
    """
    opt = run.opt
    try_metrics(val_loaders, opt["val"])
    model = start_model(opt, model)
    if run.resume_state and run.resume_models:
        model.resume_training(run.resume_state, run.resume_models)
        for problem in rehearse_saved(opt["train"], run.resume_state["schedulers"], run.start):
            raise OptionError(f"key {':'.join(problem.path)!r}: {problem.message}")
        run.logger.info(f"Resuming from iteration {run.start}")
    loop = _Loop(run, model, train_loader, val_loaders, watcher or Watcher())
    try:
        return loop.run_to_the_end()
    except RuntimeError as error:
        if not lost_contact(error):
            raise
        raise RunError(
            f"process {run.rank} of {run.world_size} has lost contact with the others ({str(error).splitlines()[0]}): "
            "one of them has ended, as its own output says, or does not answer within dist_params:timeout. "
            f"The last checkpoint is of iteration {loop.saved}; resume with --auto_resume"
        ) from error


def start_model(opt: dict[str, Any], model: DegradationModel | None = None) -> DegradationModel:
    """The model of a run at its first iteration, unless it is there already, and what PyTorch is set to before that."""
    set_tf32(opt["train"].get("tf32"))
    # As BasicSR sets it: batches of one size, for which the fastest algorithm is worth looking for.
    torch.backends.cudnn.benchmark = True
    return model or new_model(opt)


def iterate(model: DegradationModel, batch: dict[str, Any], iteration: int, watcher: Watcher | None = None) -> None:
    """One iteration of a run.

    Args:
        model: The model.
        batch: What it is fed, on the device.
        iteration: Counted from 1.
        watcher: Who is told of the batch before it is used.
    """
    opt = model.opt
    # Randomness inside networks depends on the iteration alone, so a resumed run needs no saved generator.
    _seed((opt["manual_seed"] * 1_000_003 + iteration) * opt["world_size"] + opt["rank"], model.device)
    model.update_learning_rate(iteration)
    if watcher:
        watcher.before_iteration(batch)
    model.feed_data(batch)
    model.optimize_parameters(iteration)


def set_tf32(allowed: bool | None) -> None:
    """Let GPUs compute fp32 products in TF32, or not; None leaves PyTorch's own choice."""
    if allowed is not None:
        torch.set_float32_matmul_precision("high" if allowed else "highest")
        torch.backends.cudnn.allow_tf32 = allowed


def _seed(seed: int, device: torch.device) -> None:
    """What torch.manual_seed does, for one device; for those not in use it would look up the whole stack each time."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


class _Loop:
    """The iterations of a run, with what is due between them."""

    def __init__(
        self, run: Run, model: DegradationModel, train_loader: Any, val_loaders: list[Any], watcher: Watcher
    ) -> None:
        self.run, self.model, self.logger, self.opt = run, model, run.logger, run.opt
        self.train_loader, self.val_loaders, self.watcher = train_loader, val_loaders, watcher
        self.total: int = self.opt["train"]["total_iter"]
        self.samples: Callable[[int], int] = train_loader.batch_sampler.samples_until  # iterations -> samples read
        self.saved = run.start  # the last iteration with a checkpoint
        self.results: Results = {}
        self.progress = Progress(run, model, self.total, self.samples)

    def run_to_the_end(self) -> Results:
        """See `train`."""
        run, model, logger_opt = self.run, self.model, self.opt["logger"]
        self._log_plan()
        with stop_on_signals() as self.stop:
            # A resumed run makes up for a validation that it was interrupted in.
            self._validate_if_due(run.start)
            self.progress = Progress(run, model, self.total, self.samples)
            with Batches(self.train_loader) as batches:
                for iteration in range(run.start + 1, self.total + 1):
                    self._iterate(iteration, batches)
                    last = iteration == self.total
                    stopping = self._told_to_stop(iteration)
                    saving = iteration % logger_opt["save_checkpoint_freq"] == 0 or last or stopping
                    reporting = iteration % logger_opt["print_freq"] == 0 or last
                    if model.updates.waits or reporting or saving:
                        self._look_at_skipped(iteration)
                    scalars = self.progress.report(iteration, self.watcher.reports) if reporting else {}
                    if self.watcher.after_iteration(scalars):
                        self.stop.made = stopping = saving = True
                    if saving:
                        self._save(iteration)
                        self._remove_old(iteration)
                    if stopping and not last:
                        self._stopped(iteration)
                    if self._validate_if_due(iteration) and saving:
                        model.save_state(self._epoch(iteration), iteration)
        model.save_networks("latest")
        if run.start >= self.total:
            self.logger.warning(
                f"Nothing to do: the checkpoint is of iteration {run.start} and train:total_iter is {self.total}. To "
                f"train longer, raise train:total_iter above {run.start}"
            )
            return self.results
        self.logger.info(f"Done: {self.total} iterations. Networks: {self.opt['path']['models']}")
        return self.results

    def _iterate(self, iteration: int, batches: Batches) -> None:
        try:
            batch = self.progress.wait_for(batches)
        except Exception:
            self._rescue(iteration - 1)
            raise
        iterate(self.model, batch, iteration, self.watcher)

    def _told_to_stop(self, iteration: int) -> bool:
        asking = self.run.world_size == 1 or iteration % AGREEMENT_FREQ == 0
        return asking and self.stop.agreed(self.run.world_size)

    def _stopped(self, iteration: int) -> None:
        saved = f"the state is saved in {self.run.folder}" if iteration else "there is nothing to save yet"
        raise Stopped(f"Stopped after iteration {iteration} of {self.total}; {saved}")

    def _look_at_skipped(self, iteration: int) -> None:
        skipped = self.model.look_at_skipped()
        if self.model.guard.in_a_row < self.model.train.max_bad_steps:
            return
        self._save(iteration)
        raise self.model.guard.diverged(skipped[-1], f"The weights before them are saved as iteration {iteration}.")

    def _epoch(self, iteration: int) -> int:
        return self.samples(iteration) // len(self.train_loader.dataset)

    def _save(self, iteration: int, alone: bool = False) -> None:
        if not self.model.weights_are_finite():
            raise FloatingPointError(
                f"weights are NaN or infinite after iteration {iteration}, so they are not saved; earlier checkpoints "
                "are sound. Start anew from one (path:pretrain_network_g) with a lower learning rate or train:grad_clip"
            )
        self.logger.info(f"Saving checkpoint {iteration}")
        self.model.samples = self.samples(iteration)
        with self.progress.paused():
            self.model.save(self._epoch(iteration), iteration, alone)
        self.saved = iteration

    def _remove_old(self, iteration: int) -> None:
        keep, path = self.opt["logger"]["keep_last"], self.opt["path"]
        if keep and self.run.rank == 0:
            remove_old(Path(path["training_states"]), Path(path["models"]), keep, iteration)

    def _rescue(self, iteration: int) -> None:
        """Lose nothing to an error that is not the network's."""
        here = self.run.folder.exists()  # not on another machine without a common file system
        if here and iteration > self.saved and self.model.weights_are_finite():
            self._save(iteration, alone=True)
            self.logger.error(f"The state after iteration {iteration} is saved; --auto_resume resumes from it")

    def _validate_if_due(self, iteration: int) -> bool:
        val = self.opt["val"]
        last = iteration == self.total
        regular = val["val_first"] if iteration == 0 else iteration % val["val_freq"] == 0 or last
        if not (self.val_loaders and regular and self.model.validated < iteration):
            return False
        loaders = [Interruptible(loader, self.stop) for loader in self.val_loaders]
        self.watcher.before_validation()
        try:
            with self.progress.paused():
                self.results = self.model.validate(loaders, iteration, self.run.events, val["save_img"])
        except Exception:
            if self.stop.made:  # others may have stopped before, while this process waited for what they have observed
                if self.run.rank == 0 and iteration > self.saved:
                    self._save(iteration, alone=True)
                self._stopped(iteration)
            self._rescue(iteration)
            raise
        self.run.record(iteration, self.results)
        self._keep_best(iteration)
        if self.watcher.after_validation(self.results):
            self.stop.made = True  # after the next iteration
        return True

    def _keep_best(self, iteration: int) -> None:
        metric = self.opt["logger"]["keep_best"]
        if metric is None:
            return
        name = "average" if "average" in self.results else next(iter(self.results))
        best = self.model.best.records.get(name, {}).get(metric)
        if best and best["iter"] == iteration:
            self.logger.info(f"Best {metric} so far, {best['val']:.4f}: saving net_*_best.pth")
            self.model.save_networks("best")

    def _log_plan(self) -> None:
        dataset = self.train_loader.dataset
        samples = self.samples(1) - self.samples(0)
        accumulate = self.model.parts_of(samples // self.run.world_size)
        parts = f", in {accumulate} parts" if accumulate > 1 else ""
        self.logger.info(
            f"{len(dataset)} training samples an epoch, {samples} an iteration ({self.run.world_size} processes"
            f"{parts}), {self.total} iterations = {self.samples(self.total) / len(dataset):.1f} epochs"
        )
        if hasattr(dataset, "counts"):
            counts = dataset.counts()
            shares = ", ".join(f"{name} {n} ({n / sum(counts.values()):.0%})" for name, n in counts.items())
            self.logger.info(f"Samples of an epoch by degradation: {shares}")
