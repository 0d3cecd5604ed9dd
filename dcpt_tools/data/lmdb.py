"""Make LMDBs, from which training reads crops at the speed of memory; check some, or copy them to a local disk.

  dcpt lmdb --source Rain200L WED --root datasets
  dcpt lmdb -opt options/dcpt_promptir_5d.yml
  dcpt lmdb --gt clear --lq hazy --pairing prefix --degradation haze --out haze.lmdb
  dcpt lmdb --source RESIDE-OTS --shards 16
  dcpt lmdb --verify datasets/lmdb/*.lmdb
  dcpt lmdb --stage s3://bucket/sets/RESIDE-OTS.lmdb --to /scratch/lmdb

One that was interrupted or killed, or ran out of disk, is resumed when the same command is given again.
docs/LMDB.md tells what is in an LMDB, and what each form costs in disk and time.
"""

import argparse
import time
from pathlib import Path
from typing import Any

from dcpt_common import to_json
from dcpt_common.arguments import filled
from dcpt_common.progress import ProgressBar
from dcpt_data import DataError
from dcpt_data.datasets.locating import locate, open_images
from dcpt_data.datasets.options import SetOptions
from dcpt_data.preparation.lmdb_creation import create_lmdb
from dcpt_data.preparation.lmdb_plans import Plan, plan_for_basicsr, plan_lmdb, plan_source, sources_read
from dcpt_data.preparation.lmdb_sharding import create_shards
from dcpt_data.preparation.lmdb_verification import verify_lmdb
from dcpt_data.sources.published import expand
from dcpt_data.stores.lmdb_format import FORMS
from dcpt_data.stores.staging import stage
from dcpt_models.options.command_line import datasets_of
from dcpt_models.runtime.command import add_import, run_command
from dcpt_tools.places import ROOT, option_file


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_import(parser)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--source", nargs="+", type=filled, metavar="NAME", help="published data sets, by name in sources.yml"
    )
    what.add_argument("-opt", type=filled, metavar="FILE", help="all published data sets that an option file reads")
    what.add_argument(
        "--gt", type=filled, metavar="FOLDER", help="ground truth, or photographs to degrade, of your own"
    )
    what.add_argument("--verify", nargs="+", type=Path, metavar="FILE", help="read LMDBs again; 1 if any image is bad")
    what.add_argument("--stage", nargs="+", metavar="PLACE", help="copy LMDBs, from folders or URLs, to a local disk")
    parser.add_argument("--to", metavar="DIR", help="where --stage copies to: the option file's stage_to")
    parser.add_argument("--shards", type=int, metavar="N", help="make N LMDBs at the same time that are read as one")
    parser.add_argument("--root", help="root of the data sets (default: datasets, or the option file's)")
    parser.add_argument("--lq", type=filled, metavar="FOLDER", help="degraded images of your own")
    parser.add_argument(
        "--pairing",
        nargs="+",
        default=["same"],
        metavar="RULE",
        help="same (default), prefix, or two templates, for degraded images and ground truth: rain-{} norain-{}",
    )
    parser.add_argument("--degradation", type=filled, metavar="NAME", help="class label of your own images")
    parser.add_argument("--out", type=Path, metavar="FILE", help="LMDB of your own images, *.lmdb")
    parser.add_argument("--form", choices=FORMS, help="how images are stored (default: raw)")
    parser.add_argument(
        "--for-basicsr",
        action="store_true",
        help="make NAME_lq.lmdb and NAME_gt.lmdb, which BasicSR reads too (default form: original)",
    )
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: as many as there are cores)")
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output, nothing else")
    arguments = parser.parse_args()
    own = [name for name in ("lq", "degradation", "out") if getattr(arguments, name) is not None]
    if not arguments.gt and own:
        parser.error(f"--{own[0]} is for images of your own, named by --gt")
    if arguments.gt and (not arguments.out or not arguments.degradation):
        parser.error("--gt needs --out, the LMDB to make, and --degradation, the class label of the images")
    if len(arguments.pairing) > 2:
        parser.error("--pairing takes a rule's name or two templates")
    if bool(arguments.stage) != bool(arguments.to):
        parser.error("--stage and --to belong together: which LMDBs, and where to")
    if arguments.shards is not None and (arguments.shards < 1 or arguments.for_basicsr):
        parser.error("--shards must be 1 or more, and BasicSR cannot read shards")
    if arguments.workers is not None and arguments.workers < 1:
        parser.error("--workers must be 1 or more")
    arguments.form = arguments.form or ("original" if arguments.for_basicsr else "raw")
    return arguments


def work() -> None:
    arguments = parse()
    begun = time.time()
    if arguments.verify:
        verify(arguments, begun)
        return
    if arguments.stage:
        copies = {place: str(stage(place, arguments.to)) for place in arguments.stage}
        print(to_json(copies) if arguments.json else "\n".join(copies.values()))
        return
    plans = plans_of(arguments)
    there = [plan.out for plan in plans if plan.out.exists()]
    if there and not arguments.opt:
        raise DataError(f"{there[0]} exists; remove it first to make it again, or check it with --verify")
    for plan in plans:
        if plan.out not in there:
            with ProgressBar(desc=plan.out.name, unit="image") as bar:
                if arguments.shards:
                    create_shards(plan, arguments.shards, arguments.workers, bar.report)
                else:
                    create_lmdb(plan, arguments.workers, bar.report)
    made = {str(plan.out): _described(plan, plan.out in there) for plan in plans}
    if arguments.json:
        print(to_json({"lmdbs": made, "seconds": round(time.time() - begun, 1)}))
        return
    for path, entry in made.items():
        images = " and ".join(f"{count:,} {side}" for side, count in entry["images"].items())
        note = ", was there already" if entry["kept"] else ""
        print(f"{path}: {images}, {entry['form']}, {entry['bytes'] / 1e6:,.1f} MB{note}")
    print(f"To train from this, say in the data set's section: {_usage(arguments, plans)}")


def plans_of(arguments: argparse.Namespace) -> list[Plan]:
    if arguments.gt:
        templates = dict(zip(("lq", "gt"), arguments.pairing, strict=False))
        rule = templates if len(arguments.pairing) == 2 else arguments.pairing[0]
        own = SetOptions(
            degradation=arguments.degradation, dataroot_gt=arguments.gt, dataroot_lq=arguments.lq, pairing=rule
        )
        images = locate(own)
        opened = open_images(images)
        if arguments.for_basicsr:
            return plan_for_basicsr(images, opened, arguments.form, arguments.out)
        return [plan_lmdb(images, opened, arguments.form, arguments.out)]
    if arguments.source:
        sources = [(source.name, arguments.root or "datasets") for source in expand(arguments.source)]
    else:
        read = sources_read(datasets_of(option_file(arguments.opt), ROOT))
        sources = list(dict.fromkeys((name, arguments.root or root) for name, root in read))
        if not sources:
            raise DataError(f"{arguments.opt}: reads no published data set; name folders of your own by --gt and --lq")
    return [plan for name, root in sources for plan in plan_source(name, root, arguments.form, arguments.for_basicsr)]


def verify(arguments: argparse.Namespace, begun: float) -> None:
    checked: dict[str, dict[str, Any]] = {}
    for path in arguments.verify:
        with ProgressBar(desc=path.name, unit="image") as bar:
            images, bad = verify_lmdb(path, arguments.workers, bar.report)
        checked[str(path)] = {"images": images, "bad": bad}
    if arguments.json:
        print(to_json({"lmdbs": checked, "seconds": round(time.time() - begun, 1)}))
    else:
        for path, entry in checked.items():
            print("\n  ".join([f"{path}: {len(entry['bad'])} of {entry['images']:,} images are bad", *entry["bad"]]))
    count = sum(len(entry["bad"]) for entry in checked.values())
    if count:
        raise DataError(f"{count} bad images; copy the LMDB again, or remove it and make it again")


def _described(plan: Plan, kept: bool) -> dict:
    return {
        "form": plan.metadata.form,
        "degradation": plan.metadata.degradation,
        "images": plan.metadata.images,
        "bytes": sum(file.stat().st_size for file in plan.out.rglob("data.mdb")),
        "kept": kept,
    }


def _usage(arguments: argparse.Namespace, plans: list[Plan]) -> str:
    if arguments.for_basicsr:
        roots = (f"dataroot_{side}: {plan.out}" for plan in plans[:2] for side in plan.parts)
        return "{" + ", ".join([*roots, "io_backend: {type: lmdb}"]) + "}, here and in BasicSR"
    return "io_backend: {type: lmdb}" if not arguments.gt else f"lmdb: {arguments.out}"


def main() -> int:
    return run_command(work, DataError)
