"""Compare ways of training over several seeds: train, test and study them all, and write one page about it.

  dcpt study options/mini/study_cpu.yml --jobs 2
  dcpt study options/mini/study_window.yml --minutes 8

A study file names the arms of the comparison, the runs of each, and the test; dcpt_models/analysis/study/arms.py says
what it may say. Every run is `dcpt train` with an option file; those that arms have in common are trained once. The
test images are looked at by `dcpt test` once all arms of a seed are trained. To --out (default:
experiments/studies/NAME) are written: the runs, ARM/seed_S/RUN, with a log beside each; page.md with its figures;
results.json. Ctrl-C saves what runs; the same command resumes from there.

With --minutes whole arms are trained, one after the other, as far as they fit; each is tested at once, and to --out
(default: docs/studies/NAME) go values of images, validations and times, but no weights. It resumes from what is there,
on whatever machine, and the page says how much that is.
"""

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import torch

from dcpt_common import to_json
from dcpt_common.arguments import whole
from dcpt_data import DataError
from dcpt_data.images.pixels import list_images
from dcpt_data.images.sample_photographs import TEST, TRAIN, write_photographs
from dcpt_data.preparation.stand_ins import split
from dcpt_models.analysis.features.probes import check_study
from dcpt_models.analysis.study.arms import PhotographOptions, StudyOptions, plan_runs, read_study
from dcpt_models.analysis.study.jobs import Job, run_jobs, settle, starter
from dcpt_models.analysis.study.page import PAGE, write_page
from dcpt_models.analysis.study.plan import Runs, study_jobs
from dcpt_models.analysis.study.results import collect
from dcpt_models.analysis.study.window import (
    comparable,
    jobs_of,
    partial_page,
    record_of,
    units_of,
    work_through,
)
from dcpt_models.errors import OptionError
from dcpt_models.options.command_line import add_force_yml, resolve
from dcpt_models.runtime.command import run_command
from dcpt_models.runtime.folder_lock import FolderLock
from dcpt_tools.option_folder import HOME
from dcpt_tools.places import ROOT, option_file

FOLDER, PARTS = "photographs", "photographs.json"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", metavar="STUDY.yml", help="the study file")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="of the study (default: experiments/studies/NAME)")
    parser.add_argument("--minutes", type=float, metavar="N", help="train whole arms that fit so many minutes")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="for the runs of --minutes (default: as without)")
    parser.add_argument("--jobs", type=whole(1), default=1, metavar="N", help="run so many at a time (default: 1)")
    add_force_yml(parser, "replace entries of the study file, e.g. photographs:folder=mine seeds=[0]")
    parser.add_argument("--dry-run", action="store_true", help="check everything and print what would be run")
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output, nothing else")
    return parser.parse_args()


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def part(given: PhotographOptions, out: Path) -> None:
    """Make photographs/{train,val,test} of links; those that are there already must be of the same photographs."""
    train, val = split(list_images(source(given.folder)), given.validation_share, given.seed)
    parts = {"train": train, "val": val}
    if given.test:
        parts["test"] = list_images(source(given.test))
        own = {path.resolve() for path in parts["test"]} & {path.resolve() for path in [*train, *val]}
        if own:
            raise DataError(f"{min(own)} is a photograph of the test and of {given.folder} too; keep the two apart")
    taken = {name: {path.name: path.stat().st_size for path in paths} for name, paths in parts.items()}
    if double := next((name for name, paths in parts.items() if len(taken[name]) < len(paths)), None):
        raise DataError(f"photographs:{'test' if double == 'test' else 'folder'}: two photographs have one name")
    record = out / PARTS
    if record.exists():
        if json.loads(record.read_text(encoding="utf-8")) != taken:
            raise OptionError(f"{out / FOLDER} is of other photographs; choose another --out, or go back to them")
        return
    for name, paths in parts.items():
        (out / FOLDER / name).mkdir(parents=True, exist_ok=True)
        for path in paths:
            link = out / FOLDER / name / path.name
            link.unlink(missing_ok=True)
            link.symlink_to(path.resolve())
    if not given.test:
        write_photographs(out / FOLDER / "test", {**TRAIN, **TEST})
    record.write_text(to_json(taken, indent=1), encoding="utf-8")


def source(folder: str) -> Path:
    """A folder of photographs, looked for in the current folder, then as option files' paths are."""
    found = Path(resolve(folder, ROOT))
    if not found.is_dir():
        raise DataError(f"{found}: no such folder of photographs; name yours: --force_yml photographs:folder=FOLDER")
    return found


def show(jobs: list[Job], out: Path, as_json: bool) -> None:
    """Print what would be run."""
    if as_json:
        keys = ("name", "command", "arguments", "after")
        planned = [{key: getattr(job, key) for key in keys} | {"done": job.is_done(out)} for job in jobs]
        print(to_json({"out": str(out), "jobs": planned}))
        return
    print(f"In {out}:")
    for job in jobs:
        print(f"{'done' if job.is_done(out) else 'todo'}  dcpt {job.command} {shlex.join(job.arguments)}")


def work() -> None:
    arguments = parse()
    study = read_study(Path(option_file(arguments.study)), arguments.force_yml)
    out = (arguments.out or ROOT / "experiments" / "studies" / study.name).absolute()
    last = plan_runs(study, HOME)
    if arguments.minutes is not None:
        in_a_window(arguments, study, last)
        return
    jobs = study_jobs(study, last, HOME)
    settle(jobs, out, change=not arguments.dry_run)
    if arguments.dry_run:
        show(jobs, out, arguments.json)
        return
    check_study(Path("figures.svg"))
    out.mkdir(parents=True, exist_ok=True)
    lock = FolderLock(out)
    try:
        if study.photographs:
            part(study.photographs, out)
        run_jobs(jobs, out, starter([sys.executable, "-m", "dcpt_tools"], study.threads), arguments.jobs, say)
        page, record = write_page(study, collect(study, last, out), out, command(arguments))
    finally:
        lock.close()
    print(to_json(record) if arguments.json else page.read_text(encoding="utf-8"))
    say(f"Written: {page}")


def in_a_window(arguments: argparse.Namespace, study: StudyOptions, last: Runs) -> None:
    """Add to a study what fits so many minutes; see --minutes."""
    if not arguments.minutes > 0:
        raise OptionError(f"--minutes must be above 0, not {arguments.minutes:g}")
    kept = (arguments.out or ROOT / "docs" / "studies" / study.name).absolute()
    work = (arguments.work or ROOT / "experiments" / "studies" / study.name).absolute()
    jobs = [job for unit in units_of(study) for job in jobs_of(study, unit, last[unit], HOME)]
    for folder in (kept, work):
        settle(jobs, folder, change=False)
    if arguments.dry_run:
        show(jobs, work, arguments.json)
        return
    check_study(Path("figures.svg"))
    for folder in (kept, work):
        folder.mkdir(parents=True, exist_ok=True)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    lock = FolderLock(work)
    try:
        if study.photographs:
            part(study.photographs, work)
            same_photographs(work / PARTS, kept / PARTS)
        start = starter([sys.executable, "-m", "dcpt_tools"], study.threads)
        work_through(study, last, HOME, work, kept, start, arguments.minutes, device, say)
        chosen, made_by = comparable(study, kept), f"{command(arguments)} --minutes N"
        record: dict[str, Any] = {}
        page, written = kept / PAGE, None
        if chosen:
            page, record = write_page(chosen, collect(chosen, last, kept), kept, made_by)
            written = page.read_text(encoding="utf-8")
        page.write_text(partial_page(study, kept, written, made_by), encoding="utf-8")
    finally:
        lock.close()
    print(to_json({**record, **record_of(study, kept)}) if arguments.json else page.read_text(encoding="utf-8"))
    say(f"Written: {page}")


def same_photographs(now: Path, kept: Path) -> None:
    """Make sure that arms which are compared have seen the same photographs, by the records of both."""
    if not kept.exists():
        kept.write_bytes(now.read_bytes())
    elif kept.read_bytes() != now.read_bytes():
        raise OptionError(f"{kept.parent} is of other photographs; choose another --out, or go back to those")


def command(arguments: argparse.Namespace) -> str:
    """What the page says that it was made by: no more of the command line than what the outcome depends on."""
    force = f" --force_yml {shlex.join(arguments.force_yml)}" if arguments.force_yml else ""
    return f"dcpt study {arguments.study}{force}"


def main() -> int:
    return run_command(work, DataError)
