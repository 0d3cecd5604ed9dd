"""The folder of a training run: made, archived or gone on with, never overwritten."""

from __future__ import annotations

import json
import shlex
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import torch.distributed as dist

from dcpt_arch.checkpoints import CheckpointError, read_checkpoint
from dcpt_models.checkpointing import newest_state, saved_iterations
from dcpt_models.logs import start_event_writer, start_logger
from dcpt_models.option_files import OptionError, dump_options


class Run:
    """An open run: its folder, its logs, and the state it goes on from. Use it in a `with` statement.

    Args:
        opt: Completed options; see `dcpt_models.settings.load_options`.

    Attributes:
        resume_state: The training state to go on from, or None.
        resume_models: The folder of the networks saved with it.
        start: Iterations already done.

    Raises:
        OptionError: If the folder holds checkpoints and the run was not told to go on with them.
        CheckpointError: If `resume_state` cannot be read.
    """

    def __init__(self, opt: dict[str, Any]) -> None:
        self.opt = opt
        self.folder = Path(opt["path"]["experiments_root"])
        self.rank, self.world_size = opt["rank"], opt["world_size"]
        self.resume_state, state_file = self._find_state()
        self.resume_models = state_file.parent.parent / "models" if state_file else None
        self.start: int = self.resume_state["iter"] if self.resume_state else 0
        moved = self._make_folder() if self.rank == 0 else None
        if opt["dist"]:
            dist.barrier()
        stamp = time.strftime("%Y%m%d_%H%M%S")
        self.logger = start_logger(self.folder / f"train_{opt['name']}_{stamp}.log", self.rank)
        if moved:
            self.logger.info(f"What was in that folder was moved to {moved}")
        self.logger.info(f"Run '{opt['name']}' in {self.folder}")
        self.events = start_event_writer(opt)

    def _find_state(self) -> tuple[dict[str, Any] | None, Path | None]:
        states = Path(self.opt["path"]["training_states"])
        if self.opt["auto_resume"]:
            found = newest_state(states)
            if found is None and saved_iterations(states):
                raise CheckpointError(f"{states}: no training state can be read; remove the folder to start anew")
            return (found[1], found[0]) if found else (None, None)
        if self.opt["path"]["resume_state"]:
            file = Path(self.opt["path"]["resume_state"])
            return read_checkpoint(file), file
        return None, None

    def _make_folder(self) -> Path | None:
        """Make the folder and archive the options in it; returns where an earlier run's folder was moved, if it was."""
        moved = None
        goes_on_here = self.opt["auto_resume"] or self.resume_models == Path(self.opt["path"]["models"])
        if self.folder.exists() and not goes_on_here:
            if any(self.folder.glob("models/*")) and not self.opt["debug"]:
                raise OptionError(
                    f"{self.folder} holds the checkpoints of an earlier run. Add --auto_resume to go on with it, "
                    "choose another name (--force_yml name=NAME), or remove the folder"
                )
            moved = self.folder.with_name(f"{self.folder.name}_archived_{time.strftime('%Y%m%d_%H%M%S')}")
            self.folder.rename(moved)
        for key in ("experiments_root", "models", "training_states", "visualization"):
            Path(self.opt["path"][key]).mkdir(parents=True, exist_ok=True)
        header = f"{time.strftime('%Y-%m-%d %H:%M:%S')}\n{shlex.join(sys.argv)}"
        archive = self.folder / Path(self.opt["option_file"]).name
        if archive.exists():  # of the run that this one goes on with
            archive = archive.with_stem(f"{archive.stem}_{time.strftime('%Y%m%d_%H%M%S')}")
        dump_options(self.opt["resolved"], archive, header)
        return moved

    def record(self, iteration: int, results: dict[str, dict[str, float]]) -> None:
        """Append the results of a validation to validation.jsonl."""
        if self.rank == 0:
            with (self.folder / "validation.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps({"iteration": iteration, "results": results}) + "\n")

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.events:
            self.events.close()
