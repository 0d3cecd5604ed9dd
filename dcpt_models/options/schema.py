"""The check of whole option files against the declarations of each part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from basicsr.utils.registry import (
    ARCH_REGISTRY,
    DATASET_REGISTRY,
    LOSS_REGISTRY,
    MODEL_REGISTRY,
    Registry,
)

from dcpt_arch.adapter.sources import find_class
from dcpt_common import Range, nearest
from dcpt_models.metrics.by_name import find_metric
from dcpt_models.optim.optimizers import optimizer_class, scheduler_class
from dcpt_models.options.adapted import is_adapted
from dcpt_models.options.argument_ranges import with_range
from dcpt_models.options.check import Declaration, Problem, check_mapping, declared_by, raise_problems
from dcpt_models.options.engine import contradictions
from dcpt_models.options.files import Options
from dcpt_models.options.names import check_names
from dcpt_models.options.rehearsal import rehearse
from dcpt_models.options.sections import network_labels, path_section, top_level


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
        if not isinstance(key, str):
            continue  # which `declared` has no name for
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
    problems = check_mapping(values, top_level()) + check_mapping(values.get("path", {}), path_section(), ("path",))
    model = None
    try:
        model = _find(MODEL_REGISTRY)(str(values.get("model_type")))
    except ValueError as error:
        problems.append(Problem(("model_type",), str(error)))
    for key in (f"network_{label}" for label in network_labels()):
        if values.get(key) is not None:
            problems += _check_typed(values[key], (key,), _find(ARCH_REGISTRY), ("feature_info", "classes"))
            inner = values[key].get("network") if is_adapted(values[key]) else None
            if isinstance(inner, dict) and "checkpoint" not in inner:
                problems += _check_typed(inner, (key, "network"), find_class, ())
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
    train, data = values["train"], values["datasets"]["train"]
    parts = train.get("accumulate", 1)
    if parts > 1 and train.get("samples_at_once"):
        why = "says what train:accumulate says too; remove one of them"
        problems.append(Problem(("train", "samples_at_once"), why))
    for section in (*data.get("progressive", ()), data):
        total, batch = section.get("batch_size"), section.get("batch_size_per_gpu")
        if total and batch:
            why = f"is of all processes together, batch_size_per_gpu ({batch}) of one; set one of them to null"
            problems.append(Problem(("datasets", "train", "batch_size"), why))
        elif (total or batch or 1) % parts:
            name, samples = ("batch_size", total) if total else ("batch_size_per_gpu", batch or 1)
            even = ", ".join(str(n) for n in range(1, samples + 1) if samples % n == 0)
            problems.append(Problem(("train", "accumulate"), f"must divide {name}, {samples}: {even}"))
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
