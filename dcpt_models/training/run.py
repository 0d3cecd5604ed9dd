"""The folder of a training run: made, archived or resumed, never overwritten, never shared."""

from __future__ import annotations

import json
import shlex
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from dcpt_arch.checkpoints.loading import CheckpointError, read_checkpoint
from dcpt_common import to_json
from dcpt_models.errors import OptionError
from dcpt_models.options.files import dump_options
from dcpt_models.runtime.checkpoint_files import newest_state, read_state, remove_partial, saved_iterations
from dcpt_models.runtime.distributed import from_first
from dcpt_models.runtime.folder_lock import FolderLock
from dcpt_models.runtime.logs import start_logger, start_scalars
from dcpt_models.runtime.scalars import HEADER, keep_lines
from dcpt_models.training.folders import is_a_run, is_unused, may_be_moved


class Run:
    """An open run: its folder, its logs, and the state it resumes from. Use it in a `with` statement.

    Args:
        opt: Completed options; see `dcpt_models.options.command_line.load_options`.

    Attributes:
        resume_state: The training state to resume from, or None.
        resume_models: The folder of the networks saved with it.
        start: Iterations already done.
        samples: Samples read until then by all processes, or None if the state does not say so.
        events: What takes the run's curves, as TensorBoard's writer does; None but on the first process.

    Raises:
        OptionError: If the folder is no run's, holds checkpoints and the run was not told to resume from them, or newer
            ones than the one to resume from, or if another run is writing into it.
        CheckpointError: If the state to resume from cannot be read, or is not of a complete checkpoint.
    """

    RESUME, ELSEWHERE = "--auto_resume", "name (--force_yml name=NAME)"  # how a user says so, for messages

    def __init__(self, opt: dict[str, Any]) -> None:
        self.opt = opt
        self.folder = Path(opt["path"]["experiments_root"])
        self.states, self.models = Path(opt["path"]["training_states"]), Path(opt["path"]["models"])
        self.rank, self.world_size = opt["rank"], opt["world_size"]
        self.resume_state: dict[str, Any] | None = None
        self.resume_models: Path | None = None
        self._lock: FolderLock | None = None
        given = None if opt["auto_resume"] else opt["path"]["resume_state"]
        if given:
            self._go_on_from(Path(given))
        try:
            moved = from_first(self._make_folder)
            stamp = time.strftime("%Y%m%d_%H%M%S")
            self.logger = start_logger(self.folder / f"train_{opt['name']}_{stamp}.log", self.rank)
            if moved:
                self.logger.info(f"What was in that folder was moved to {moved}")
            self.logger.info(f"Run '{opt['name']}' in {self.folder}")
            for line in opt["without_effect"]:
                self.logger.info(line)
            if opt["auto_resume"] and (newest := from_first(self._newest)):
                self._go_on_from(newest)
            self.start: int = self.resume_state["iter"] if self.resume_state else 0
            self.samples: int | None = self.resume_state.get("samples") if self.resume_state else None
            if self.rank == 0:
                self._forget_what_comes_again()
            self.events = start_scalars(opt, self.start)
        except Exception:
            self._unlock()
            raise

    def _go_on_from(self, file: Path) -> None:
        self.resume_models = file.parent.parent / "models"
        # The first process has made sure already that an automatically found one is complete.
        complete = self.opt["auto_resume"]
        self.resume_state = read_checkpoint(file) if complete else read_state(file, self.resume_models)

    def _newest(self) -> Path | None:
        found = newest_state(self.states, self.models)
        if found is None and saved_iterations(self.states):
            raise CheckpointError(f"{self.states}: no checkpoint is complete; remove the folder to start anew")
        return found[0] if found else None

    def _make_folder(self) -> Path | None:
        """Make the folder, lock it and archive the options in it; returns where what was in it was moved, if it was."""
        moved = self._claim()
        for key in ("experiments_root", "models", "training_states", "visualization"):
            Path(self.opt["path"][key]).mkdir(parents=True, exist_ok=True)
        self._lock = self._lock or FolderLock(self.folder)
        if self.resume_state and self._goes_on_here():
            self._refuse_newer(self.resume_state["iter"])
        remove_partial(self.folder, self.models, self.states)
        header = f"{time.strftime('%Y-%m-%d %H:%M:%S')}\n{sys.argv[0]} {shlex.join(sys.argv[1:])}"
        archive = self.folder / Path(self.opt["option_file"]).name
        if archive.exists():  # of the run that this one resumes
            archive = archive.with_stem(f"{archive.stem}_{time.strftime('%Y%m%d_%H%M%S')}")
        dump_options(self.opt["resolved"], archive, header)
        return moved

    def _goes_on_here(self) -> bool:
        return bool(self.opt["auto_resume"] or self.resume_models == self.models)

    def _claim(self) -> Path | None:
        """Lock the folder if it is there, and move what another run has left; returns where to."""
        moved = None
        goes_on_here = self._goes_on_here()
        if self.folder.exists():
            used = not is_unused(self.folder)
            if used and not (is_a_run if goes_on_here else may_be_moved)(self.folder):
                raise OptionError(
                    f"key 'path:experiments_root': {self.folder} is there and is not the folder of a run, so nothing "
                    "is moved or written there. Name a folder that is not there yet, or one inside it: "
                    f"{self.folder / self.opt['name']}"
                )
            self._lock = FolderLock(self.folder)
            if used and not goes_on_here:
                self._refuse_checkpoints()
                moved = self.folder.with_name(f"{self.folder.name}_archived_{time.strftime('%Y%m%d_%H%M%S')}")
                self.folder.rename(moved)
                self._unlock()
        return moved

    def _refuse_checkpoints(self) -> None:
        if any(self.folder.glob("models/*")) and not self.opt["debug"]:
            raise OptionError(
                f"{self.folder} holds the checkpoints of an earlier run. Add {self.RESUME} to resume it, "
                f"choose another {self.ELSEWHERE}, or remove the folder"
            )

    def _refuse_newer(self, iteration: int) -> None:
        newer = [saved for saved in saved_iterations(self.states) if saved > iteration]
        if newer:
            raise OptionError(
                f"{self.folder} holds checkpoints after iteration {iteration}, up to {newer[0]}, which --auto_resume "
                "would later take for this run's. Remove their training states to go back, or choose another name "
                "(--force_yml name=NAME)"
            )

    def _forget_what_comes_again(self) -> None:
        """Remove from the records what an interrupted run has written after the state to resume from."""
        validated = self.resume_state["validated"] if self.resume_state else -1
        keep_lines(self.folder / "validation.jsonl", lambda line: json.loads(line)["iteration"] <= validated)

        def keep(row: str) -> bool:
            iteration, name, _ = row.split(",", 2)
            return iteration == HEADER[0] or int(iteration) <= (
                validated if name.startswith("metrics/") else self.start
            )

        keep_lines(self.folder / "metrics.csv", keep)

    def record(self, iteration: int, results: dict[str, dict[str, float]]) -> None:
        """Append the results of a validation to validation.jsonl."""
        if self.rank == 0:
            with (self.folder / "validation.jsonl").open("a", encoding="utf-8") as file:
                file.write(to_json({"iteration": iteration, "results": results}) + "\n")

    def _unlock(self) -> None:
        if self._lock:
            self._lock.close()
        self._lock = None

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.events:
            self.events.close()
        self._unlock()
