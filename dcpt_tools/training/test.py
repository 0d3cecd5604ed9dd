"""Test models on the sets of option files, and print their tables beside the paper's.

  dcpt test -opt options/test_promptir_5d.yml
  dcpt test -opt options/test_promptir_5d.yml --weights scratch.pth dcpt.pth --chart chart.svg

A cell reads `ours (paper)`; docs/EVALUATION.md tells what is measured how. To results/NAME are written: table.md,
table.csv, table.tex, results.json, and per_image.csv. An interrupted evaluation resumes where it was, by the same
command.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import dcpt_arch  # noqa: F401 - registers networks
from dcpt_arch.checkpoints.others import SpandrelNetwork, is_of_others
from dcpt_common import to_json
from dcpt_data import DataError, build_val_loaders, check_folders
from dcpt_data.preparation.stand_ins import stand_ins
from dcpt_data.sources.published import get_source
from dcpt_models.errors import OptionError
from dcpt_models.evaluation.charts import check_chart
from dcpt_models.evaluation.comparison import Evaluation, write_comparison
from dcpt_models.evaluation.published import read_published
from dcpt_models.evaluation.testing import evaluate, sha256, start_test, weight_files
from dcpt_models.options.command_line import argument_parser, load_options
from dcpt_models.runtime.command import run_command
from dcpt_tools.places import ROOT, named_first, option_file


def parse() -> argparse.Namespace:
    parser = argument_parser(str(__doc__), several=True)
    parser.add_argument("--weights", nargs="+", default=[], type=Path, metavar="FILE", help="test these checkpoints")
    parser.add_argument("--out", type=Path, help="folder of the tables (default: results of the first option file)")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="draw a radar chart and bars as .png or .svg")
    parser.add_argument("--again", action="store_true", help="measure anew what was measured before")
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output, nothing else")
    return parser.parse_args(named_first(sys.argv[1:]))


def plan(arguments: argparse.Namespace) -> list[Evaluation]:
    """Every option file with its own checkpoint, or with each that is given; all are checked before any is run."""
    evaluations = []
    for file in arguments.opt:
        for weights in arguments.weights or [None]:
            force = [] if weights is None else [f"path:pretrain_network_g={to_json(str(weights))}"]
            opt = load_options(
                option_file(file),
                ROOT,
                is_train=False,
                force=[*arguments.force_yml, *force],
                launcher=arguments.launcher,
                debug=arguments.debug,
            )
            check_folders(opt["datasets"], opt.get("degradations"))
            take_others(opt)
            label = opt["name"] if weights is None else f"{opt['name']}: {distinct(weights, arguments.weights)}"
            one = Evaluation(label, opt, stand_ins=stand_ins(opt["datasets"]))
            if opt.get("table"):
                one.published, one.row = read_published(opt["table"]["published"]), opt["table"]["row"]
                one.published.row(one.row)
            resolved = weight_files(opt).get("pretrain_network_g")
            if weights and resolved:
                home = one.folder / f"{resolved.stem}-{sha256(resolved)[:8]}"
                opt["path"].update(results_root=str(home), visualization=str(home / "visualization"))
            evaluations.append(one)
    for taken in ([one.label for one in evaluations], [str(one.folder) for one in evaluations]):
        if twice := [item for item in taken if taken.count(item) > 1]:
            raise OptionError(f"two tests would share {twice[0]}; give them different names and path:results_root")
    return evaluations


def take_others(opt: dict[str, Any]) -> None:
    """Put the network of a checkpoint that is of none of our families, and that spandrel opens, into options.

    Raises:
        OptionError: If it enlarges, or its features would be classified.
    """
    file = weight_files(opt).get("pretrain_network_g")
    if file is None or not is_of_others(file):
        return
    network = SpandrelNetwork(str(file))
    if network.scale != 1:
        raise OptionError(f"{file}: {network.architecture} enlarges by {network.scale}; test sets have pairs of a size")
    if opt.get("network_dc"):
        raise OptionError(f"{file}: {network.architecture} has no features for a classifier; test without network_dc")
    opt["network_g"] = {"type": "SpandrelNetwork", "file": str(file)}


def distinct(file: Path, others: list[Path]) -> str:
    """As much of the end of a path, without suffix, as tells it from the others."""
    parts, *paths = (path.absolute().with_suffix("").parts for path in (file, *others))
    lengths = range(1, len(parts) + 1)
    enough = next((n for n in lengths if sum(path[-n:] == parts[-n:] for path in paths) == 1), len(parts))
    return "/".join(parts[-enough:])


def run(one: Evaluation, again: bool) -> None:
    start_test(one.opt)
    loaders = build_val_loaders(one.opt["datasets"], one.opt["rank"], one.opt["world_size"])
    for loader in loaders:
        dataset: Any = loader.dataset
        section: dict[str, Any] = dataset.opt
        name, have = section["name"], len(dataset)
        one.counts[name] = have
        if not section.get("source"):
            one.own.append(name)
        elif have != (get_source(section["source"]).count or have):
            one.incomplete.append(f"{name} has {have} of {get_source(section['source']).count}")
    one.results = evaluate(one.opt, loaders, again)


def work() -> None:
    arguments = parse()
    if arguments.chart:
        check_chart(arguments.chart)
    evaluations = plan(arguments)
    for one in evaluations:
        run(one, arguments.again)
    first = evaluations[0]
    if first.opt["rank"] != 0:
        return
    out = arguments.out or (first.folder.parent if arguments.weights else first.folder)
    text, record = write_comparison(evaluations, out.absolute(), arguments.chart and arguments.chart.absolute())
    print(to_json(record) if arguments.json else text)


def main() -> int:
    return run_command(work, DataError)
