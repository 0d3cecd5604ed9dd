"""Training under mmengine's Runner: this project's loop, with the hooks of the Runner called between its steps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.hooks import CheckpointHook, EMAHook, LoggerHook
from mmengine.runner import BaseLoop
from torch.utils.data import DataLoader

from dcpt_data import build_train_loader, build_val_loaders, check_folders
from dcpt_mmengine.model import MethodModel
from dcpt_mmengine.registries import LOOPS
from dcpt_models.errors import OptionError, Stopped
from dcpt_models.options.command_line import run_folder
from dcpt_models.runtime.folder_lock import FolderLock
from dcpt_models.training.loop import Watcher, train
from dcpt_models.training.run import Run
from dcpt_models.validation.validate import Results


class RunnerFolder(Run):
    """The work_dir of a Runner, which has made the folder and its logs in it already."""

    RESUME, ELSEWHERE = "--resume (resume=True)", "--work-dir (work_dir)"

    def _claim(self) -> None:
        self._lock = FolderLock(self.folder)
        if not self._goes_on_here():
            self._refuse_checkpoints()


class Stream:
    """The endless training data as hooks want to see it: with a length, that of the run in iterations."""

    def __init__(self, loader: DataLoader, length: int) -> None:
        self.loader, self.length = loader, length
        self.dataset, self.sampler = loader.dataset, loader.batch_sampler
        self.batch_size = getattr(loader.batch_sampler, "batch_size", None)

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Any]:
        return iter(self.loader)


class ValidationSets(BaseLoop):
    """What hooks look at for validation; the method validates."""

    def __init__(self, runner: Any, loaders: list[DataLoader]) -> None:
        super().__init__(runner, [batch for loader in loaders for batch in range(len(loader))])
        self.loaders = loaders

    def run(self) -> Any:
        """Refused: validation is a step of training."""
        raise RuntimeError("Runner.val() is not supported; test checkpoints with `dcpt test` (docs/MMENGINE.md)")


@LOOPS.register_module()
class MethodLoop(BaseLoop):
    """Trains a `MethodModel` for `train:total_iter` iterations, to the bit as `basicsr/train.py` does.

    Its own are the position in the stream, accumulation, precision, the moving average, the guard against NaN,
    validation with its records, and checkpoints (`models/net_g_N.pth`, `training_states/N.state` in work_dir).
    `resume=True` goes on from the newest complete one, also of a run that `basicsr/train.py` has begun, and that one
    from ours.

    Args:
        runner: The Runner.
        dataloader: `train_dataloader` of the config, an empty dict: data are the option file's.

    Raises:
        OptionError: If the config says what the option file has to say, or what cannot be done.
        DataError: If data are missing.
    """

    def __init__(self, runner: Any, dataloader: Any = None) -> None:
        _refuse(runner, dataloader)
        self.stop_training = False  # which EarlyStoppingHook sets
        method = runner.model.method
        opt = self.opt = method.opt
        opt["auto_resume"] = runner._resume
        opt["path"].update(run_folder(Path(runner.work_dir).absolute()))
        check_folders(opt["datasets"], opt.get("degradations"))
        self.folder = RunnerFolder(opt)
        self._iter = self.folder.start
        run = self.folder
        loader = build_train_loader(opt["datasets"]["train"], run.rank, run.world_size, run.start, run.samples)
        self.val_loaders = build_val_loaders(opt["datasets"], opt["rank"], opt["world_size"])
        super().__init__(runner, Stream(loader, self.max_iters))
        _suit(runner, opt)
        if self.val_loaders:
            runner._val_loop = ValidationSets(runner, self.val_loaders)

    @property
    def max_iters(self) -> int:
        """Iterations of the whole run."""
        return int(self.opt["train"]["total_iter"])

    @property
    def max_epochs(self) -> int:
        """One: the stream has no end."""
        return 1

    @property
    def iter(self) -> int:
        """Iterations that are done."""
        return self._iter

    @property
    def epoch(self) -> int:
        """How often the data set has been read from end to end."""
        stream: Any = self.dataloader.sampler
        return int(stream.samples_until(self._iter) // len(self.dataloader.dataset))

    def run(self) -> Any:
        """Train; returns the model.

        Raises:
            Stopped: If the run was asked to stop, by a signal. Its state is saved.
        """
        runner, method = self.runner, self.runner.model.method
        with self.folder:
            runner.call_hook("before_train")
            runner.call_hook("before_train_epoch")
            stream: Any = self.dataloader
            try:
                train(self.folder, stream.loader, self.val_loaders, method, _Hooks(self))
            except Stopped:
                if not self.stop_training:
                    raise
            runner.call_hook("after_train_epoch")
            runner.call_hook("after_train")
        return runner.model


class _Hooks(Watcher):
    """Calls the hooks of the Runner."""

    reports = True  # LoggerHook does

    def __init__(self, loop: MethodLoop) -> None:
        self.loop, self.runner = loop, loop.runner
        self.batch: Any = None

    def before_iteration(self, batch: dict[str, Any]) -> None:
        self.batch = batch
        self.runner.call_hook("before_train_iter", batch_idx=self.loop._iter, data_batch=batch)

    def after_iteration(self, scalars: dict[str, float]) -> bool:
        # Rates, time and memory are reported by mmengine's hooks.
        of_method = ("losses/", "train/")
        outputs = {name.partition("/")[2]: v for name, v in scalars.items() if name.startswith(of_method)}
        self.runner.call_hook(
            "after_train_iter", batch_idx=self.loop._iter, data_batch=self.batch, outputs=outputs or None
        )
        self.loop._iter += 1
        return self.loop.stop_training

    def before_validation(self) -> None:
        self.runner.call_hook("before_val")
        self.runner.call_hook("before_val_epoch")

    def after_validation(self, results: Results) -> bool:
        metrics = {f"{name}/{key}": value for name, values in results.items() for key, value in values.items()}
        self.runner.call_hook("after_val_epoch", metrics=metrics)
        self.runner.call_hook("after_val")
        return self.loop.stop_training


def _refuse(runner: Any, dataloader: Any) -> None:
    """Refuse what would be done twice, or not at all."""
    if not isinstance(runner.model, MethodModel):
        raise OptionError(
            f"train_cfg: MethodLoop trains methods of this project, not {type(runner.model).__name__}; write "
            'model=dict(type="MethodModel", options="FILE.yml"), or train_cfg=dict(type="IterBasedTrainLoop", ...)'
        )
    changes = "model=dict(changes=dict(...))"
    if dataloader:
        raise OptionError(f"train_dataloader: data are the option file's ({changes} with datasets); write dict()")
    if runner.param_schedulers:
        raise OptionError(f"param_scheduler: the schedule is the option file's train:scheduler ({changes}); remove it")
    if runner._load_from:
        raise OptionError(
            "load_from: name networks to start from as path:pretrain_network_g of the option file, a training state as "
            f"path:resume_state ({changes}); resume=True goes on with the run in work_dir"
        )
    if runner.cfg.get("compile"):
        raise OptionError(f"compile: mmengine would compile what is not called; set train:compile ({changes})")
    if any(isinstance(hook, EMAHook) for hook in runner.hooks):
        raise OptionError(f"EMAHook: the moving average is the option file's train:ema_decay ({changes}); remove it")


def _suit(runner: Any, opt: dict[str, Any]) -> None:
    """Make what the Runner has built go with an endless stream and with our checkpoints."""
    runner.log_processor.by_epoch = False
    runner._has_loaded = True  # by `MethodLoop`
    for hook in list(runner.hooks):
        if isinstance(hook, CheckpointHook):
            runner._hooks.remove(hook)
            runner.logger.info("CheckpointHook is left out: logger:save_checkpoint_freq, keep_last and keep_best hold")
        elif isinstance(hook, LoggerHook):
            hook.interval, hook.log_metric_by_epoch = opt["logger"]["print_freq"], False
