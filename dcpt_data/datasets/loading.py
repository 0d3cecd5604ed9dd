"""Data loaders from the `datasets` section of an option file."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from basicsr.data import build_dataset
from basicsr.utils.registry import DATASET_REGISTRY
from torch.utils.data import DataLoader, Dataset

from dcpt_common import JOIN, nearest
from dcpt_data.datasets.engine_dataset import EngineDataset
from dcpt_data.datasets.locating import Images, locate
from dcpt_data.datasets.options import LoaderOptions, ReadingOptions, pick
from dcpt_data.datasets.sampling import Shard, ShuffledBatches
from dcpt_data.errors import DataError
from dcpt_data.workers.forking import prepare_to_fork


def _quiet_worker(worker: int) -> None:
    # Ctrl-C and a scheduler's SIGTERM or SIGUSR1 reach the whole process group; the main process alone decides what
    # they mean. A worker ends when its loader does, or when it sees that its parent is gone.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)


def open_dataset(opt: dict[str, Any]) -> Any:
    """A data set from its section of an option file: one of ours, or one of the engine's."""
    ours = hasattr(DATASET_REGISTRY.get(opt["type"]), "Options")
    return build_dataset(opt) if ours else EngineDataset(opt)


def build_train_loader(
    opt: dict[str, Any], rank: int = 0, world_size: int = 1, start: int = 0, position: int | None = None
) -> DataLoader:
    """The endless loader of a training set.

    Args:
        opt: The `train` section: a data set's options and those of `LoaderOptions`.
        rank: This process.
        world_size: Number of processes.
        start: Iterations already done; their samples are not read.
        position: Samples that all processes have read until then; by default as many as such iterations read.

    Returns:
        A loader that never ends.

    Raises:
        DataError: If the data set cannot be opened, or the processes cannot share the batch evenly.
    """
    dataset: Any = open_dataset(opt)
    options = LoaderOptions(**pick(LoaderOptions, opt))
    if options.progressive and isinstance(dataset, EngineDataset):
        raise DataError(f"datasets:train:progressive: {opt['type']} crops to one size; use DegradationMixtureDataset")
    if options.num_worker_per_gpu:
        prepare_to_fork()
    for stage in options.progressive:
        stage.samples_of_process(world_size)
    batches: Any = ShuffledBatches(
        len(dataset),
        options.samples_of_process(world_size),
        opt.get("seed", 0),
        rank,
        world_size,
        start,
        options.progressive,
        position,
    )
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=options.num_worker_per_gpu,
        pin_memory=options.pin_memory,
        worker_init_fn=_quiet_worker,
        generator=torch.Generator(),  # or each pass would draw from the global one, which is the model's
    )


def build_val_loaders(datasets: dict[str, dict[str, Any]], rank: int = 0, world_size: int = 1) -> list[DataLoader]:
    """One loader for each validation or test set, in the order of the option file, one image at a time.

    Each process gets its share of the images. `loader.dataset.opt["name"]` is the set's name, as BasicSR has it.
    """
    loaders = []
    for key, opt in datasets.items():
        if key.split("_")[0] == "train":
            continue
        dataset: Any = open_dataset(opt)
        logging.getLogger("basicsr").info(f"{opt['name']}: {len(dataset)} images")
        shard = Shard(len(dataset), rank, world_size)
        loaders.append(DataLoader(dataset, batch_size=1, sampler=shard, generator=torch.Generator()))
    return loaders


def image_sets_of(datasets: dict[str, dict[str, Any]]) -> Iterator[tuple[str, Images]]:
    for key, opt in datasets.items():
        kind: type[Dataset] = DATASET_REGISTRY.get(opt["type"])
        if hasattr(kind, "image_sets"):
            backend = ReadingOptions(**pick(ReadingOptions, opt)).io_backend
            for name, options in kind.image_sets(opt).items():
                try:
                    yield f"datasets:{key}:{name}", locate(options, backend)
                except ValueError as error:
                    raise DataError(f"datasets:{key}:{name}: {error}") from error


def check_folders(datasets: dict[str, dict[str, Any]], degradations: list[str] | None = None) -> None:
    """Find every folder and LMDB that the `datasets` section needs and that is not there.

    Args:
        datasets: The section.
        degradations: The classes of the option file; a set of another degradation is an error too.

    Raises:
        DataError: Naming all of them, the degradation and data set each is for, where that comes from, and the command
            that makes the LMDB, or a stand-in of the data.
    """
    missing: dict[str, dict[Path, list[str]]] = {"folders of data": {}, "LMDBs": {}}
    commands: list[str] = []
    for name, images in image_sets_of(datasets):
        if degradations and images.degradation not in degradations:
            # A composite is listed as one class, or by its parts.
            parts = images.degradation.split(JOIN)
            if unlisted := [part for part in parts if part not in degradations]:
                part = f", nor is its part '{unlisted[0]}'" if len(parts) > 1 else ""
                raise DataError(
                    f"{name}: its degradation '{images.degradation}' is not among `degradations`{part}"
                    f"{nearest(unlisted[0], degradations)}"
                )
        kind = "folders of data" if images.lmdb is None else "LMDBs"
        for root in images.lmdb, images.root_gt, images.root_lq:
            reason = f"{images.degradation}: {images.about}"
            if root is not None and not root.is_dir() and reason not in missing[kind].setdefault(root, []):
                missing[kind][root].append(reason)
                if images.lmdb is not None:
                    commands.append(images.how_to_make_lmdb())
    parts = []
    for kind, roots in missing.items():
        lines = ["\n      ".join([f"  {root}", *reasons]) for root, reasons in roots.items() if reasons]
        if lines:
            parts.append("\n".join([f"{len(lines)} {kind} are missing:", *lines, _advice(kind, commands)]))
    if parts:
        raise DataError("\n".join(parts))


def _advice(kind: str, commands: list[str]) -> str:
    if kind == "LMDBs":
        how = "\n".join(f"  {command}" for command in dict.fromkeys(commands))
        return f"Make them from the folders, or read the folders with io_backend: {{type: disk}}:\n{how}"
    return (
        "Bring published data there, set `path:datasets_root`, or make a stand-in from any photographs:\n"
        "  dcpt prepare NAME --from UNPACKED_ARCHIVE --root datasets\n"
        "  dcpt synthesize --gt FOLDER_OF_PHOTOGRAPHS --setting 5d --out datasets"
    )
