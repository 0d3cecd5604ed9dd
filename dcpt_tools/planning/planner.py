"""Tries the run of an option file in several ways, each in a process of its own; `dcpt plan` prints what was found."""

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dcpt_arch  # noqa: F401 - registers networks
from dcpt_common import import_extension, to_json
from dcpt_data import build_train_loader, build_val_loaders
from dcpt_data.preparation.trial_data import TrialSet, Usual, trial_data
from dcpt_models.errors import RunError
from dcpt_models.runtime.allocator import keep_freed_memory
from dcpt_models.runtime.apart import ApartError, run_apart
from dcpt_models.training.estimate import Estimate, Section, estimate, largest_batch, sections_of
from dcpt_models.training.run import Run
from dcpt_models.training.switches import turned, usual_switches
from dcpt_models.training.trial import Trial, try_run

Changes = dict[str, dict[str, Any]]  # section of an option file -> key -> value


@dataclass(frozen=True)
class Request:
    """What a process of its own is asked to try."""

    opt: dict[str, Any]
    seconds: float
    whole: bool
    extensions: Sequence[str] = ()


@dataclass
class Planned:
    """What was found of an option file.

    Attributes:
        opt: Its options.
        estimate: What its run takes.
        largest_batch: See `estimate.largest_batch`.
        switches: What each switch changes, or why it does not work.
        sets: Its sets of images.
    """

    opt: dict[str, Any]
    estimate: Estimate
    sets: list[TrialSet]
    largest_batch: int | None = None
    switches: list[dict[str, Any]] = field(default_factory=list)


def try_apart(request: Request) -> Trial:
    """What the other process does."""
    keep_freed_memory()
    for name in request.extensions:
        import_extension(name)
    begun = time.perf_counter()
    opt = request.opt
    with Run(opt) as run:
        train_loader = build_train_loader(opt["datasets"]["train"])
        val_loaders = build_val_loaders(opt["datasets"]) if request.whole else []
        opened = time.perf_counter() - begun
        trial = try_run(run, train_loader, val_loaders, request.seconds, request.whole)
    trial.start += opened
    return trial


class Planner:
    """Tries one option file in several ways, in a folder that is thrown away.

    Args:
        opt: Its completed options.
        folder: Where runs and stand-ins of data lie, on the disk that the run itself would write to.
        arguments: Of the command.
        imports: Seconds that a command needs to import everything.
    """

    def __init__(self, opt: dict[str, Any], folder: Path, arguments: argparse.Namespace, imports: float) -> None:
        self.opt, self.folder, self.arguments, self.imports = opt, folder, arguments, imports
        usual = Usual(arguments.size, arguments.count)
        self.datasets, self.sets = trial_data(opt["datasets"], folder / "data", usual)
        self.tries = 0

    def plan(self) -> Planned:
        """Everything that is asked for.

        Raises:
            RunError: If the options cannot be trained with here.
        """
        tried: list[tuple[Section, Trial]] = []
        for section in sections_of(self.opt):
            what = f"{section.batch} x {section.gt_size}^2"
            try:
                tried.append((section, self.tried(what, section, whole=not tried)))
            except ApartError as error:
                advice = " Try a smaller datasets:train:batch_size_per_gpu" if error.out_of_memory else ""
                raise RunError(
                    f"{self.opt['name']} cannot be trained here with a batch of {section.batch} crops of "
                    f"{section.gt_size} pixels: {error}.{advice}"
                ) from error
        found = Planned(self.opt, self._estimate(tried), self.sets)
        largest = max(tried, key=lambda one: one[1].memory)
        found.largest_batch = self._largest_batch(*largest)
        chosen = self.arguments.switches
        names = usual_switches(self.opt) if chosen is None else chosen
        found.switches = [self._switched(name, *largest) for name in names]
        return found

    def _estimate(self, tried: list[tuple[Section, Trial]]) -> Estimate:
        images = {one.name.split(":")[1]: one for one in self.sets if not one.is_train}
        counts: dict[str, int] = {}
        sizes: dict[str, int] = {}
        for key, section in self.opt["datasets"].items():
            if key in images:
                counts[section["name"]] = images[key].images
                sizes[section["name"]] = images[key].size[0] * images[key].size[1]
        return estimate(self.opt, tried, self.imports, counts, sizes)

    def tried(self, what: str, section: Section, whole: bool = False, changes: Changes | None = None) -> Trial:
        """Try the run with other options.

        Args:
            what: For the line on standard error.
            section: Which crops and batch.
            whole: Whether checkpoints and validation are tried too.
            changes: Sections -> what is changed in them.

        Raises:
            ApartError: If it does not work.
        """
        self.tries += 1
        print(f"{self.opt['name']}: trying {what}", file=sys.stderr)
        opt = copy.deepcopy(self.opt)
        home = self.folder / f"run{self.tries}"
        opt["datasets"] = copy.deepcopy(self.datasets)
        opt["datasets"]["train"].update(gt_size=section.gt_size, batch_size_per_gpu=section.batch)
        opt["datasets"]["train"].pop("progressive", None)  # of which this is one section
        opt["path"] = {key: None if _is_input(key) else value for key, value in opt["path"].items()}
        opt["path"].update(
            experiments_root=str(home),
            models=str(home / "models"),
            training_states=str(home / "training_states"),
            visualization=str(home / "visualization"),
            log=str(home),
        )
        opt["logger"]["wandb"] = None
        for key, values in (changes or {}).items():
            opt[key] = {**opt[key], **values}
        extensions = self.arguments.extensions or []
        seconds = self.arguments.seconds if whole else self.arguments.seconds / 2
        trial: Trial = run_apart(try_apart, Request(opt, seconds, whole, extensions))
        return trial

    def _largest_batch(self, section: Section, trial: Trial) -> int | None:
        parts = self.opt["train"].get("accumulate", 1)
        other = max(parts, section.batch // 2 // parts * parts)
        if other == section.batch:
            other = 2 * section.batch
        try:
            second = self.tried(f"a batch of {other}", Section(1, section.gt_size, other))
        except ApartError:
            return section.batch if other > section.batch else None
        return largest_batch({section.batch: trial.memory, other: second.memory}, trial.free, parts)

    def _switched(self, name: str, section: Section, trial: Trial) -> dict[str, Any]:
        key, option, value = turned(self.opt, name)
        text = f"{key}:{option}={to_json(value)}".replace('"', "")
        if option == "accumulate" and section.batch % value:
            return {"switch": text, "failed": f"a batch of {section.batch} has no {value} equal parts"}
        try:
            found = self.tried(text, section, changes={key: {option: value}})
        except ApartError as error:
            return {"switch": text, "failed": str(error)}
        return {
            "switch": text,
            "seconds_per_iteration": found.iteration,
            "speed": trial.iteration / found.iteration,
            "memory_bytes": found.memory,
            "memory": found.memory / trial.memory,
            "start_seconds": found.start + found.warm_up,
        }


def _is_input(key: str) -> bool:
    """Whether an entry of `path` names something that must be there: the trial begins from random weights."""
    return key == "resume_state" or key.startswith("pretrain_network_")
