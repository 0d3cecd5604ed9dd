"""The sections of option files as dataclasses, apart from `train`, `datasets` and networks; checked by `schema`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from basicsr.utils.registry import MODEL_REGISTRY

from dcpt_common import Count, Natural, Range, Seed
from dcpt_models.options.check import Declaration, declared_by


@dataclass
class PathOptions:
    """The `path` section.

    Attributes:
        pretrain_network_g: Checkpoint to initialise the restoration network with; in the same way `_dc` for the
            classifier, and so on for every network that a method declares (`labels`).
        pretrain_scope_g: "encoder" leaves the restoration head at its initial values (fine-tuning after DCPT).
        param_key_g: "params" or "params_ema"; by default the averaged weights if the file has them.
        strict_load_g: Whether every tensor must be there and fit.
        resume_state: Training state to resume from.
        datasets_root: Folder that data sets named by `source` lie in.
        experiments_root: Folder of this run; by default `experiments/NAME` in the repository.
        results_root: Folder of test results; by default `results/NAME` in the repository.
    """

    pretrain_scope_g: Literal["all", "encoder"] = "all"
    resume_state: str | None = None
    datasets_root: str = "datasets"
    experiments_root: str | None = None
    results_root: str | None = None


@dataclass
class ValOptions:
    """The `val` section.

    Attributes:
        val_freq: Iterations between validations while training.
        val_first: Validate before the first iteration too.
        save_img: Whether restored images are saved.
        rounded: Whether images are rounded to 8 bit before they are measured (the 5D protocol); otherwise floats.
        measure_input: Whether the degraded images are measured too, as `input_psnr` and so on.
        metrics: Name -> `type` (see dcpt_models/metrics/by_name.py), its arguments, and `better` ("higher" or "lower").
    """

    val_freq: Count = 5000
    val_first: bool = False
    save_img: bool = False
    rounded: bool = True
    measure_input: bool = False
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass
class WandbOptions:
    """The `wandb` section of `logger`: the project to log to, and the id of a run to resume."""

    project: str | None = None
    resume_id: str | None = None


@dataclass
class LoggerOptions:
    """The `logger` section.

    Attributes:
        print_freq: Iterations between log lines.
        save_checkpoint_freq: Iterations between checkpoints.
        keep_last: Keep so many of the last checkpoints and remove older ones; none to keep all.
        keep_best: Metric of `val`, or "accuracy", whose best networks are kept as net_*_best.pth.
        use_tb_logger: Whether TensorBoard events are written, to `tb_logger` in the run's folder.
        wandb: Send them to Weights & Biases too.
    """

    print_freq: Count = 100
    save_checkpoint_freq: Count = 5000
    keep_last: Count | None = None
    keep_best: str | None = None
    use_tb_logger: bool = False
    wandb: WandbOptions | None = None


@dataclass
class TableOptions:
    """The `table` section: which published table a test is compared with, and which of its rows.

    Attributes:
        published: Name of a file in dcpt_models/evaluation/published_tables.
        row: Name of the method.
    """

    published: str
    row: str


@dataclass
class DistOptions:
    """The `dist_params` section.

    Attributes:
        backend: By default "nccl" on GPUs and "gloo" on CPUs.
        port: Port of the first process under Slurm.
        timeout: Seconds that a process waits for the others before it ends.
    """

    backend: Literal["nccl", "gloo"] | None = None
    port: Annotated[int, Range(least=1, most=65535)] = 29500
    timeout: Count = 1800


@dataclass
class FileOptions:
    """The top level of an option file.

    `network_g` is the restoration network, `network_dc` the classifier, and so on for every network that a method
    declares (`labels`).

    Attributes:
        name: Name of the run.
        model_type: Registered model.
        degradations: The classes, by name; a class's index is its place in this list.
        scale: Always 1; BasicSR's key.
        num_gpu: 0 to stay on the CPU; "auto" for a GPU if there is one.
        manual_seed: Seed of everything random.
    """

    name: str
    model_type: str
    datasets: dict[str, dict[str, Any]]
    path: PathOptions = field(default_factory=PathOptions)
    degradations: list[str] | None = None
    train: dict[str, Any] | None = None
    val: ValOptions | None = None
    logger: LoggerOptions = field(default_factory=LoggerOptions)
    dist_params: DistOptions | None = None
    table: TableOptions | None = None
    scale: Literal[1] = 1
    num_gpu: Natural | Literal["auto"] = "auto"
    manual_seed: Seed = 0


def network_labels() -> list[str]:
    """The labels of networks that registered methods declare."""
    found = (label for _, model in MODEL_REGISTRY for label in getattr(model, "labels", ()))
    return list(dict.fromkeys(("g", *found)))


def path_section() -> Declaration:
    """What the `path` section may say, with the keys of every network."""
    declared = declared_by(PathOptions)
    of_networks = {
        key: kind
        for label in network_labels()
        for key, kind in (
            (f"pretrain_network_{label}", str | None),
            (f"param_key_{label}", str | None),
            (f"strict_load_{label}", bool),
        )
    }
    return Declaration({**declared.annotations, **of_networks}, declared.required)


def path_defaults() -> dict[str, Any]:
    """The `path` section of an option file that says nothing."""
    of_networks = {
        key: value
        for label in network_labels()
        for key, value in (
            (f"pretrain_network_{label}", None),
            (f"param_key_{label}", None),
            (f"strict_load_{label}", True),
        )
    }
    return {**vars(PathOptions()), **of_networks}


def top_level() -> Declaration:
    """What an option file may say at its top; `path` is checked apart."""
    declared = declared_by(FileOptions)
    networks = {f"network_{label}": dict[str, Any] | None for label in network_labels()}
    return Declaration({**declared.annotations, **networks, "path": Any}, declared.required | {"network_g"})
