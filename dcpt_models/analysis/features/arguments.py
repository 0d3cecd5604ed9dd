"""The command line that `dcpt knn` and `dcpt tsne` share: which networks, which images, which features."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from basicsr.utils.registry import ARCH_REGISTRY

from dcpt_arch.backbones.base import RestorationBackbone
from dcpt_common import nearest
from dcpt_common.arguments import whole
from dcpt_models.analysis.features.extraction import Level
from dcpt_models.analysis.features.findings import (
    Settings,
    Subject,
    architecture,
    checkpoint,
    name_of,
    random_networks,
)
from dcpt_models.errors import OptionError
from dcpt_models.options.check import check_mapping, declared_by, raise_problems
from dcpt_models.options.command_line import load_options
from dcpt_models.options.files import Options
from dcpt_models.options.yaml_loader import ForceLoader, load_yaml
from dcpt_models.runtime.command import add_import

NOTHING_TO_STUDY = "which network? Give --weights FILE, --network NAFNet, or -opt FILE with its network_g"


def study_parser(description: str) -> argparse.ArgumentParser:
    """The arguments that both commands take; a tool adds its own."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_import(parser)
    networks = parser.add_argument_group("networks, beside which random ones of their kind always stand")
    networks.add_argument("--weights", nargs="+", default=[], type=Path, metavar="FILE", help="checkpoints")
    networks.add_argument(
        "--network",
        nargs="+",
        metavar=("TYPE", "KEY=VALUE"),
        help="only random ones, of this type: --network NAFNet width=32",
    )
    networks.add_argument(
        "--seeds", type=whole(1), default=3, metavar="N", help="random networks of each kind (default: 3)"
    )
    images = parser.add_argument_group("images (default: scikit-image's photographs, cut into tiles and degraded)")
    source = images.add_mutually_exclusive_group()
    source.add_argument("-opt", metavar="FILE", help="the validation and test sets of an option file")
    source.add_argument("--gt", type=Path, metavar="FOLDER", help="clean photographs, to be degraded")
    source.add_argument(
        "--lq", nargs="+", type=_folder, metavar="NAME=FOLDER", help="degraded images: --lq haze=FOLDER rain=FOLDER"
    )
    images.add_argument("--train-sets", action="store_true", help="with -opt: its training sets instead")
    images.add_argument("--degradations", nargs="+", metavar="NAME", help="to be made (default: the five of 5D)")
    images.add_argument("--tiles", action="store_true", help="cut every image into crops, instead of out of its centre")
    images.add_argument("--images", type=whole(3), default=100, metavar="N", help="of each degradation (default: 100)")
    images.add_argument("--crop", type=whole(8), default=128, metavar="PIXELS", help="side of a crop (default: 128)")
    images.add_argument("--seed", type=whole(0), default=0, help="of all that is drawn (default: 0)")
    features = parser.add_argument_group("features")
    features.add_argument(
        "--level",
        type=_level,
        default="head",
        help="head (default): what the restoration head is given; or a level that the classifier reads, 0 for the "
        "highest resolution",
    )
    features.add_argument(
        "--grid", type=whole(1), metavar="N", help="average maps down to N x N values (default: no, as in the paper)"
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output, nothing else")
    return parser


def _folder(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise argparse.ArgumentTypeError(f"must be NAME=FOLDER, such as haze=test/hazy, not '{text}'")
    return name, Path(folder)


def _level(text: str) -> Level:
    if text != "head" and not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be head, or the number of a feature level, not '{text}'")
    return "head" if text == "head" else int(text)


def options_of(arguments: argparse.Namespace, root: Path) -> dict[str, Any] | None:
    """The completed option file, if one was given; only its data sets and its network are of use.

    Raises:
        OptionError: If it is wrong, or switches do not go with it.
    """
    if arguments.train_sets and not arguments.opt:
        raise OptionError("--train-sets goes with -opt FILE")
    if arguments.degradations and (arguments.opt or arguments.lq):
        raise OptionError("--degradations goes with --gt FOLDER, or without a source of images")
    if not arguments.opt:
        return None
    return load_options(arguments.opt, root, is_train=False, force=["num_gpu=0"])


def network_section(words: list[str]) -> dict[str, Any]:
    """What `--network TYPE KEY=VALUE ...` means, as `network_g` of an option file.

    Raises:
        OptionError: If there is no such network, or it takes no such arguments.
    """
    kinds = {name: kind for name, kind in ARCH_REGISTRY if _is_backbone(kind)}
    if words[0] not in kinds:
        raise OptionError(f"--network: no '{words[0]}' among the backbones{nearest(words[0], kinds)}")
    section: dict[str, Any] = {}
    for word in words[1:]:
        key, equals, value = word.partition("=")
        if not equals:
            raise OptionError(f"--network: expected KEY=VALUE, such as width=32, not '{word}'")
        section[key] = load_yaml(value, f"--network {word!r}", ForceLoader)
    raise_problems(check_mapping(section, declared_by(kinds[words[0]])), Options({}, {(): Path("--network")}))
    return {"type": words[0], **section}


def _is_backbone(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, RestorationBackbone)


def subjects_of(arguments: argparse.Namespace, options: dict[str, Any] | None) -> list[Subject]:
    """What is studied: random networks of every kind first, then the checkpoints.

    Raises:
        OptionError: If nothing was named.
        CheckpointError: If a checkpoint is of no known network.
    """
    sections = [architecture(file) for file in arguments.weights]
    if arguments.network:
        sections.append(network_section(arguments.network))
    elif options and not sections:
        sections.append(options["network_g"])
    if not sections:
        raise OptionError(NOTHING_TO_STUDY)
    kinds = [section for i, section in enumerate(sections) if section not in sections[:i]]
    names = [name_of(file) for file in arguments.weights]
    return [
        *(random_networks(section, range(arguments.seeds)) for section in kinds),
        *(
            checkpoint(file, name if names.count(name) == 1 else str(file))
            for file, name in zip(arguments.weights, names, strict=True)
        ),
    ]


def source_of(arguments: argparse.Namespace, options: dict[str, Any] | None) -> dict[str, Any]:
    """What `dcpt_data.datasets.feature_crops.StudySource` is to be made of."""
    result: dict[str, Any] = {"gt": arguments.gt, "train": arguments.train_sets, "tiles": arguments.tiles}
    result["lq"] = dict(arguments.lq) if arguments.lq else None
    result["datasets"] = options["datasets"] if options else None
    return result | ({"degradations": arguments.degradations} if arguments.degradations else {})


def settings_of(arguments: argparse.Namespace) -> Settings:
    """How it is studied; `--states` and `--neighbours` are of `dcpt knn` alone."""
    own = {"neighbours": arguments.neighbours, "states": range(arguments.states)} if "states" in arguments else {}
    return Settings(level=arguments.level, grid=arguments.grid, **own)
