"""The schema of option files, gathered from the declarations of each part, and the check against it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from basicsr.utils.registry import (
    ARCH_REGISTRY,
    DATASET_REGISTRY,
    LOSS_REGISTRY,
    MODEL_REGISTRY,
    Registry,
)

from dcpt_common import Count, Natural, Range, Seed, nearest
from dcpt_models.metrics.by_name import find_metric
from dcpt_models.optim.optimizers import optimizer_class, scheduler_class
from dcpt_models.options.argument_ranges import with_range
from dcpt_models.options.check import Declaration, Problem, check_mapping, declared_by, raise_problems
from dcpt_models.options.engine import contradictions
from dcpt_models.options.files import Options
from dcpt_models.options.names import check_names
from dcpt_models.options.rehearsal import rehearse


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
        published: Name of a file in dcpt_models/published.
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


def _path_section() -> Declaration:
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


def _top_level() -> Declaration:
    """What an option file may say at its top; `path` is checked apart."""
    declared = declared_by(FileOptions)
    networks = {f"network_{label}": dict[str, Any] | None for label in network_labels()}
    return Declaration({**declared.annotations, **networks, "path": Any}, declared.required | {"network_g"})


def _check_finite(section: Any, path: tuple[str, ...] = ()) -> list[Problem]:
    """NaN and infinity, wherever they stand: no option means anything with them."""
    if isinstance(section, dict):
        return [found for key, value in section.items() for found in _check_finite(value, (*path, str(key)))]
    if isinstance(section, list):
        return [found for index, value in enumerate(section) for found in _check_finite(value, (*path, str(index)))]
    refusal = Range().refusal(section)
    return [Problem(path, refusal)] if refusal else []


def _find(registry: Registry) -> Callable[[str], Any]:
    def find(name: str) -> Any:
        if name not in registry and f"{name}_basicsr" not in registry:
            raise ValueError(f"no '{name}' among the registered{nearest(name, registry.keys())}")
        return registry.get(name)

    return find


def _check_typed(
    section: Any,
    path: tuple[str, ...],
    find: Callable[[str], Any],
    skip: tuple[str, ...],
    extra: dict[str, Any] | None = None,
    closed: bool = False,
) -> list[Problem]:
    """Check a section that names a `type`, and the arguments of that type.

    Args:
        section: The section.
        path: Its path.
        find: Name of a type -> class or function; raises ValueError.
        skip: Arguments that code gives, not the option file.
        extra: Further keys and their annotations.
        closed: Refuse unknown keys even if the type takes `**kwargs`.
    """
    if not isinstance(section, dict):
        return [Problem(path, "must be a section with a `type`")]
    if "type" not in section:
        return [Problem(path, "has no `type`")]
    try:
        kind = find(str(section["type"]))
    except ValueError as error:
        return [Problem((*path, "type"), str(error))]
    declared = declared_by(kind, skip=(*skip, "type"))
    annotations = {key: with_range(kind, key, annotation) for key, annotation in declared.annotations.items()}
    declared = Declaration(
        {**annotations, **(extra or {}), "type": str}, declared.required, declared.open and not closed
    )
    return check_mapping(section, declared, path)


def _check_model(values: dict[str, Any], model: Any) -> list[Problem]:
    if model is None or hasattr(model, "TrainOptions"):
        return []
    why = (
        f"'{values['model_type']}' is a model for BasicSR's own loop; run it by basicsr.train.train_pipeline "
        "(docs/BASICSR.md), or train the same network by RestorationModel"
    )
    return [Problem(("model_type",), why)]


def _check_datasets(datasets: Any, labels: Sequence[str]) -> list[Problem]:
    problems: list[Problem] = []
    names: dict[str, str] = {"average": "the table", "accuracy by class": "the table", "average precision": "the table"}
    for key, section in datasets.items() if isinstance(datasets, dict) else ():
        phase = str(key).split("_")[0]
        if key != "train" and phase not in ("val", "test"):
            hint = nearest(str(key), ["train", "val_NAME", "test_NAME"])
            problems.append(Problem(("datasets", str(key)), f"is neither `train` nor begins with val or test{hint}"))
            continue
        problems += _check_dataset(key, section, labels)
        name = str(section.get("name", key)) if isinstance(section, dict) else str(key)
        if key != "train" and name in names:
            problems.append(
                Problem(("datasets", key, "name"), f"'{name}' is taken by {names[name]}; results need another")
            )
        elif key != "train":
            names[name] = f"datasets:{key}"
    return problems


def _check_dataset(key: str, section: Any, labels: Sequence[str]) -> list[Problem]:
    path = ("datasets", key)
    if not isinstance(section, dict) or "type" not in section:
        return [Problem(path, "has no `type`")]
    try:
        kind = _find(DATASET_REGISTRY)(str(section["type"]))
    except ValueError as error:
        return [Problem((*path, "type"), str(error))]
    if not hasattr(kind, "Options"):  # one of the engine's, which declares nothing that could be checked
        if "dc" not in labels or section.get("degradation"):
            return []
        ours = [name for name, other in DATASET_REGISTRY if hasattr(other, "Options")]
        why = f"'{section['type']}' gives no degradation, which this method needs; use {' or '.join(ours)}, or say"
        return [Problem((*path, "type"), f"{why} `degradation: NAME` beside it")]
    return check_mapping(section, declared_by(kind.Options, skip=("phase", "scale")), path)


def _check_train(section: dict[str, Any], model: Any, is_train: bool) -> list[Problem]:
    if not hasattr(model, "TrainOptions"):
        return []
    declared = declared_by(model.TrainOptions)
    if not is_train:  # a test may say no more than what its method needs for testing
        declared = Declaration(declared.annotations)
    problems = check_mapping(section, declared, ("train",))
    for key, value in section.items():
        if key.startswith("optim_"):
            problems += _check_typed(value, ("train", key), optimizer_class, ("params",))
        elif key == "scheduler" and value is not None:
            problems += _check_typed(value, ("train", key), scheduler_class, ("optimizer",))
        elif key.endswith("_opt"):
            problems += _check_typed(value, ("train", key), _find(LOSS_REGISTRY), ())
    return problems


def check_options(options: Options, is_train: bool) -> None:
    """Check a whole option file before anything starts.

    Args:
        options: What `read_options` returned.
        is_train: Whether it is to train; a test file needs no `train` section.

    Raises:
        OptionError: Listing every unknown key, wrong type and unknown name, each with its file and path.
    """
    values = options.values
    problems = contradictions(values)
    if problems:
        raise_problems(problems, options)
    problems = check_mapping(values, _top_level()) + check_mapping(values.get("path", {}), _path_section(), ("path",))
    model = None
    try:
        model = _find(MODEL_REGISTRY)(str(values.get("model_type")))
    except ValueError as error:
        problems.append(Problem(("model_type",), str(error)))
    for key in (f"network_{label}" for label in network_labels()):
        if values.get(key) is not None:
            problems += _check_typed(values[key], (key,), _find(ARCH_REGISTRY), ("feature_info", "classes"))
    problems += _check_model(values, model)
    problems += _check_datasets(values.get("datasets"), getattr(model, "labels", ("g",))) + check_names(values)
    problems += _check_finite(values)
    if is_train:
        problems += _needs_of_training(values, model)
    elif isinstance(values.get("train"), dict):
        problems += _check_train(values["train"], model, is_train=False)
    val = values.get("val")
    metrics = val.get("metrics") if isinstance(val, dict) else None
    for name, section in (metrics if isinstance(metrics, dict) else {}).items():
        better = {"better": Literal["higher", "lower"]}
        path = ("val", "metrics", name)
        given = ("images", "target", "img", "img2")
        problems += _check_typed(section, path, find_metric, given, better, closed=True)
    if not problems and is_train:
        problems += _check_together(values) + rehearse(values["train"])
    if not problems and model is not None and hasattr(model, "problems"):
        problems += model.problems(values, is_train)
    raise_problems(_distinct(problems), options)


def _needs_of_training(values: dict[str, Any], model: Any) -> list[Problem]:
    problems = []
    if not isinstance(values.get("train"), dict):
        problems.append(Problem(("train",), "is needed for training"))
    elif model is not None:
        problems += _check_train(values["train"], model, is_train=True)
    if not isinstance(values.get("datasets"), dict) or "train" not in values["datasets"]:
        problems.append(Problem(("datasets",), "has no `train` data set"))
    return problems


def _check_together(values: dict[str, Any]) -> list[Problem]:
    """What does not go together for training, whatever the method."""
    problems = []
    parts, data = values["train"].get("accumulate", 1), values["datasets"]["train"]
    for section in (*data.get("progressive", ()), {"batch_size_per_gpu": 1, **data}):
        batch = section["batch_size_per_gpu"]
        if batch % parts:
            even = ", ".join(str(n) for n in range(1, batch + 1) if batch % n == 0)
            problems.append(Problem(("train", "accumulate"), f"must divide batch_size_per_gpu, {batch}: {even}"))
    best = (values.get("logger") or {}).get("keep_best")
    known = [*((values.get("val") or {}).get("metrics") or {}), *(["accuracy"] if values.get("network_dc") else [])]
    if best is not None and best not in known:
        problems.append(
            Problem(("logger", "keep_best"), f"'{best}' is not measured in validation{nearest(best, known)}")
        )
    elif best is not None and len(values["datasets"]) == 1:
        problems.append(Problem(("logger", "keep_best"), "needs a validation set: datasets:val_NAME"))
    return problems


def _distinct(problems: list[Problem]) -> list[Problem]:
    return list(dict.fromkeys(problems))
