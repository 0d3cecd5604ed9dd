"""The command line of training and testing, and its options resolved, checked and with absolute paths."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from basicsr.utils.registry import DATASET_REGISTRY

from dcpt_common import nearest
from dcpt_models.errors import OptionError
from dcpt_models.options.adapted import locate, put_back, write_out
from dcpt_models.options.check import declared_by
from dcpt_models.options.engine import take_out
from dcpt_models.options.files import Options, read_options
from dcpt_models.options.schema import check_options
from dcpt_models.options.sections import LoggerOptions, ValOptions, path_defaults
from dcpt_models.runtime.command import add_import
from dcpt_models.runtime.distributed import start_processes

DEBUG_FREQ = 8
Launcher = Literal["none", "pytorch", "slurm"]


def argument_parser(description: str, several: bool = False) -> argparse.ArgumentParser:
    """The command line that BasicSR's users know.

    Args:
        description: What --help begins with.
        several: Whether -opt takes several files.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    files: dict[str, Any] = {"nargs": "+", "help": "option files (YAML)"} if several else {"help": "option file (YAML)"}
    add_import(parser)
    parser.add_argument("-opt", required=True, metavar="FILE", **files)
    parser.add_argument("--launcher", choices=get_args(Launcher), default="none", help="how processes were started")
    parser.add_argument(
        "--auto_resume", action="store_true", help="resume from the newest checkpoint of this run, if there is one"
    )
    parser.add_argument(
        "--debug", action="store_true", help=f"name the run debug_*, log every iteration, validate every {DEBUG_FREQ}"
    )
    parser.add_argument("--local_rank", type=int, default=0, help=argparse.SUPPRESS)
    add_force_yml(parser, "replace options, e.g. train:total_iter=1000")
    return parser


def add_force_yml(parser: argparse.ArgumentParser, text: str) -> None:
    """Add `--force_yml`, which replaces entries of a YAML file; `text` is its help, with an example."""
    parser.add_argument("--force_yml", nargs="+", action="extend", default=[], metavar="KEY:SUB=VALUE", help=text)


def given_options(arguments: argparse.Namespace, root: Path, is_train: bool) -> dict[str, Any]:
    """`load_options` of what `argument_parser` parsed, for a single option file."""
    return load_options(
        arguments.opt,
        root,
        is_train,
        force=arguments.force_yml,
        launcher=arguments.launcher,
        auto_resume=arguments.auto_resume,
        debug=arguments.debug,
    )


def load_options(
    file: str | Path,
    root: Path,
    is_train: bool,
    force: Sequence[str] = (),
    launcher: Launcher = "none",
    auto_resume: bool = False,
    debug: bool = False,
) -> dict[str, Any]:
    """Read, check and complete an option file.

    Args:
        file: The option file, looked for in the current folder, then in `root`.
        root: The repository: where `experiments`, `results` and relative paths without a match lie.
        is_train: For training or for testing.
        force: Entries that replace options, `key:sub=value`.
        launcher: How processes were started.
        auto_resume: Whether a run resumes from its newest checkpoint.
        debug: Whether a run is named debug_*, logs every iteration and validates often.

    Returns:
        The options, with absolute paths, defaults, and BasicSR's own entries (`rank`, `world_size`, `dist`,
        `is_train`, `auto_resume`). Under "resolved" stand the options as the files say them, to be archived.

    Raises:
        OptionError: See `check_options`.
    """
    options = read_options(find_option_file(str(file), root), force)
    without_effect = take_out(options.values)
    said = locate(options.values, partial(resolve_existing, root=root))
    check_options(options, is_train)
    write_out(options.values)
    opt = _complete(options, put_back(options.values, said), root, is_train, launcher, auto_resume, debug)
    return {**opt, "without_effect": without_effect}


def datasets_of(file: str, root: Path) -> dict[str, Any]:
    """The `datasets` section of an option file, completed as for a run, but on a machine without GPU too.

    Raises:
        OptionError: See `check_options`.
    """
    is_train = "train" in read_options(find_option_file(file, root)).values.get("datasets", {})
    return load_options(file, root, is_train, force=["num_gpu=0"])["datasets"]


def find_option_file(given: str, root: Path) -> Path:
    """An option file is looked for in the current folder, then in `root`, then in its options/ by its name alone."""
    path = Path(given).expanduser()
    if path.exists():
        return path
    if (root / path).exists():
        return root / path
    by_name = path.suffix in ("", ".yml") and path.parent in (Path(), Path("options"))
    named = [file for file in (root / "options").rglob(f"{path.stem}.yml") if "_base_" not in file.parts]
    if by_name and len(named) == 1:
        return named[0]
    if path.parent == Path() and not path.suffix and not named:  # a name, and no file of any folder
        known = sorted({file.stem for file in (root / "options").rglob("*.yml") if "_base_" not in file.parts})
        raise OptionError(f"no option file '{given}'{nearest(given, known)} (all: dcpt options)")
    return path


def resolve(given: str, root: Path) -> str:
    """An absolute path: relative ones are taken from the current folder if they exist there, else from `root`.

    A URL stays as it is, such as an address of the Hub, `hf://owner/name`.

    Raises:
        OptionError: If it can be no path: it is too long, or holds a zero byte.
    """
    if "://" in given:
        return given
    try:
        if "\0" in given:
            raise ValueError("it holds a zero byte")
        path = Path(given).expanduser()
        return str(path.absolute() if path.exists() else root / path)
    except (OSError, RuntimeError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise OptionError(f"{given!r:.80} cannot be a path ({why}); name a file or folder") from error


def resolve_existing(given: str, root: Path) -> str:
    """As `resolve`, and as it is given if there is no such file in either place."""
    found = resolve(given, root)
    return found if Path(found).exists() else given


def _complete(
    options: Options,
    resolved: dict[str, Any],
    root: Path,
    is_train: bool,
    launcher: Launcher,
    auto_resume: bool,
    debug: bool,
) -> dict[str, Any]:
    """Fill in defaults, process, device and absolute paths; see `load_options`."""
    values = options.values
    opt: dict[str, Any] = {**values, "resolved": resolved, "option_file": str(options.file_of(()))}
    opt["path"] = {**path_defaults(), **values.get("path", {})}
    opt["val"] = {**vars(ValOptions()), **(values.get("val") or {})}
    opt["logger"] = {**vars(LoggerOptions()), **values.get("logger", {})}
    opt.update(is_train=is_train, auto_resume=auto_resume, debug=debug)
    opt.setdefault("manual_seed", 0)
    if debug:
        opt["name"] = opt["name"] if opt["name"].startswith("debug") else f"debug_{opt['name']}"
        opt["logger"].update(print_freq=1, save_checkpoint_freq=DEBUG_FREQ)
        opt["val"]["val_freq"] = DEBUG_FREQ

    dist_params = values.get("dist_params") or {}
    wanted, found = values.get("num_gpu", "auto"), torch.cuda.device_count()
    if wanted not in ("auto", 0) and not found:
        raise OptionError(f"num_gpu is {wanted}, but PyTorch finds no GPU; set num_gpu: auto, or 0 for the CPU")
    if wanted not in ("auto", 0, 1) and launcher == "none":
        raise OptionError(
            f"num_gpu is {wanted}, but a process drives one GPU; start several with torchrun --nproc_per_node={wanted} "
            "... --launcher pytorch, or set num_gpu: auto"
        )
    opt["num_gpu"] = 0 if wanted == 0 else min(1, found)
    opt["dist"] = launcher != "none"
    opt["rank"], opt["world_size"] = start_processes(launcher, opt["num_gpu"] > 0, **dist_params)

    _check_shares(opt)
    _complete_paths(opt, root)
    opt["datasets"] = {key: _complete_dataset(key, section, opt, root) for key, section in values["datasets"].items()}
    return opt


def _check_shares(opt: dict[str, Any]) -> None:
    """Refuse a batch of all processes together that these processes cannot share."""
    processes, train = opt["world_size"], opt["datasets"].get("train") or {}
    parts = (opt.get("train") or {}).get("accumulate", 1)
    for section in (*train.get("progressive", ()), train):
        total = section.get("batch_size")
        if total and total % (processes * parts):
            even = ", ".join(str(n) for n in range(1, total + 1) if total % (n * parts) == 0)
            each = f" in {parts} parts each (train:accumulate; train:samples_at_once follows)" if parts > 1 else ""
            raise OptionError(
                f"key 'datasets:train:batch_size': {total} samples cannot be shared evenly by {processes} "
                f"processes{each}; start {even} of them"
            )


def _share(section: dict[str, Any], processes: int) -> dict[str, Any]:
    """A training set's section, or a stage of it, with the batch of one process where it says that of all."""
    total = section.get("batch_size")
    if total is None:
        return section
    return {key: value for key, value in section.items() if key != "batch_size"} | {
        "batch_size_per_gpu": total // processes
    }


def _complete_paths(opt: dict[str, Any], root: Path) -> None:
    path = opt["path"]
    for key, value in path.items():
        if value and (key in ("resume_state", "datasets_root") or key.startswith("pretrain_network_")):
            path[key] = resolve(value, root)
    if opt["is_train"]:
        home = Path(path["experiments_root"] or root / "experiments" / opt["name"]).expanduser().absolute()
        if opt["debug"] and not home.name.startswith("debug"):
            home = home.with_name(f"debug_{home.name}")
        path.update(run_folder(home))
    else:
        home = Path(path["results_root"] or root / "results" / opt["name"]).expanduser().absolute()
        path["results_root"] = str(home)
    path.update(log=str(home), visualization=str(home / "visualization"))


def run_folder(home: Path) -> dict[str, str]:
    """The entries of `path` that say where a run in a folder writes."""
    entries = {"experiments_root": home, "log": home}
    entries.update({name: home / name for name in ("models", "training_states", "visualization")})
    return {key: str(place) for key, place in entries.items()}


def _complete_dataset(key: str, section: dict[str, Any], opt: dict[str, Any], root: Path) -> dict[str, Any]:
    kind = DATASET_REGISTRY.get(section["type"])
    section = _resolve_roots(section, root)
    section.update(phase=key.split("_")[0], scale=opt.get("scale", 1))
    section.setdefault("name", key)
    if key == "train":
        section.setdefault("pin_memory", opt["num_gpu"] > 0)
        section = _share(section, opt["world_size"])
        if section.get("progressive"):
            section["progressive"] = [_share(stage, opt["world_size"]) for stage in section["progressive"]]
    if hasattr(kind, "Options"):
        declared = declared_by(kind.Options).annotations
        given = {"seed": opt["manual_seed"], "datasets_root": opt["path"]["datasets_root"]}
        section = {**{name: value for name, value in given.items() if name in declared}, **section}
    return section


def _resolve_roots(section: dict[str, Any], root: Path) -> dict[str, Any]:
    """Make every `dataroot_*`, `datasets_root` and `lmdb` in a section, at any depth, absolute."""
    return {
        key: _resolve_roots(value, root)
        if isinstance(value, dict)
        else resolve(value, root)
        if isinstance(value, str) and (key.startswith("dataroot") or key in ("datasets_root", "lmdb"))
        else value
        for key, value in section.items()
    }
