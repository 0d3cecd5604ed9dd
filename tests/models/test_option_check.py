"""Checking options: every kind of annotation, the words of the problems, and one error that lists them all."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Optional, Union

import pytest

from dcpt_models.errors import OptionError
from dcpt_models.options.check import Declaration, Problem, check_mapping, check_value, declared_by, raise_problems
from dcpt_models.options.files import read_options

if TYPE_CHECKING:
    from nowhere import OnlyForTypeCheckers  # type: ignore[import-not-found]

Number = Union[int, float]  # noqa: UP007 - the older spelling is under test
Steps = list[int]


@dataclass
class Optim:
    lr: float
    betas: tuple[float, float] = (0.9, 0.999)
    type: Literal["Adam", "AdamW"] = "AdamW"


@dataclass
class Train:
    total_iter: int
    optim_g: Optim
    ema_decay: float = 0.0
    scheme: Literal["alternate", "joint"] | None = None
    steps: Steps = field(default_factory=list)
    resume: Path | None = None
    cached: int = field(default=0, init=False)


@dataclass
class Longer(Train):
    extra: bool = False
    ema_decay: str = "off"  # type: ignore[assignment]
    steps: OnlyForTypeCheckers = 1


class Network:
    depth: str  # of no concern: only the constructor counts

    def __init__(self, width: int, blocks: Sequence[int] = (1, 1), act=None, scale: float = None):  # noqa: RUF013
        pass


class Inherits(Network):
    pass


class WithoutConstructor:
    pass


def degrade(image, rng, /, sigma: Number = 25, *, clip: bool = True, **kwargs):
    pass


def odd(a: OnlyForTypeCheckers, b: int, c: [1, 2] = 3, d: "some words" = 4):  # noqa: F722
    pass


@functools.wraps(degrade)
def wrapped(*args, **kwargs):
    pass


def messages(value, annotation):
    return [problem.message for problem in check_value(value, annotation)]


# Values


@pytest.mark.parametrize(
    ("annotation", "right", "wrong"),
    [
        (bool, [True, False], [0, 1, "true", None, 1.0]),
        (int, [0, -3], [True, 1.0, "1", None, [1]]),
        (float, [0.5, 1], [True, "1e-3", None]),
        (str, ["", "x"], [1, None, True, ["x"], {}]),
        (None, [None], [0, "", False]),
        (type(None), [None], [0]),
        (int | None, [1, None], ["1", 1.5, True]),
        (Optional[int], [1, None], ["1", 1.5]),  # noqa: UP045
        (Number, [1, 1.5], ["1", None, True]),
        (Number | str, [1, 1.5, "x"], [None, True, []]),
        (bool | str, [True, "x"], [1]),
        (Literal["a", "b"], ["a", "b"], ["c", "A", None, 1, ["a"]]),
        (Literal[1, "auto"], [1, "auto"], [True, 1.0, 2, "1"]),
        (Literal[True], [True], [1]),
        (list, [[], [1, "x"]], ["ab", {}, None, 1]),
        (list[int], [[], [1, 2]], [["a"], [True], 1, "12", {}, [1, None]]),
        (list[list[int]], [[[1], []]], [[1], [["a"]]]),
        (Steps, [[1]], [["a"]]),
        (tuple, [[], [1, "x"]], ["ab"]),
        (tuple[int, ...], [[], [1, 2, 3]], [[1.5], 1]),
        (tuple[int, str], [[1, "a"], (1, "a")], [[1], [1, "a", 2], ["a", 1], []]),
        (Sequence[float], [[1, 2.5]], ["ab", ["a"]]),
        (int | Sequence[int], [1, [1, 2]], ["a", ["a"], [1.5]]),
        (dict, [{}, {"a": 1}], [[], None, "a"]),
        (dict[str, int], [{}, {"a": 1}], [{"a": "b"}, {1: 1}, []]),
        (Mapping[str, Any], [{"a": [1]}], [{1: 1}, 1]),
        (dict[str, list[int]], [{"a": [1]}], [{"a": ["x"]}, {"a": 1}]),
        (Optim, [{"lr": 1}], [None, [], "x", {}, {"lr": "x"}, {"lr": 1, "z": 1}]),
        (Optim | None, [{"lr": 1}, None], [{}, 3]),
        (list[Optim], [[], [{"lr": 1}]], [[{}], {"lr": 1}]),
        (Path, ["a/b", ""], [1, None, ["a"]]),
        (pathlib.Path | None, ["a", None], [1]),
        (Any, [None, 1, {"a": []}], []),
        (Callable[[int], int], [1, "x", None], []),
        (Network, [1, "x", None], []),
        (list[Any], [[1, "a", None]], [1]),
    ],
)
def test_values_against_annotations(annotation, right, wrong):
    for value in right:
        assert check_value(value, annotation) == [], value
    for value in wrong:
        assert check_value(value, annotation) != [], value


def test_an_alias_of_python_312_is_followed():
    alias = type("TypeAliasType", (), {"__value__": list[int]})()
    assert check_value([1], alias) == []
    assert messages("a", alias) == ["expected a list of int, got str 'a'"]


@pytest.mark.parametrize(
    ("value", "annotation", "message"),
    [
        ("1e-3x", float, "expected float, got str '1e-3x'"),
        (True, int, "expected int, got bool True"),
        (None, str, "expected str, got null"),
        ({"a": 1}, int, "expected int, got section {'a': 1}"),
        ("x" * 100, int, f"expected int, got str '{'x' * 56}..."),
        (1e5, int, "expected int, got float 100000.0; write 100000"),
        (1.5, int, "expected int, got float 1.5"),
        (3, str, "expected str, got int 3; put it in quotes"),
        (True, str | None, "expected str or null, got bool True; put it in quotes"),
        ("x", float | None, "expected float or null, got str 'x'"),
        ("None", float | None, "expected float or null, got str 'None'; write null or ~ for no value"),
        ("None", float, "expected float, got str 'None'"),
        (
            "alternat",
            Literal["alternate", "joint"],
            "expected one of 'alternate', 'joint'; got 'alternat'; did you mean 'alternate'?",
        ),
        ("zzz", Literal["alternate", "joint"], "expected one of 'alternate', 'joint'; got 'zzz'"),
        (3, Literal["a", 1], "expected one of 'a', 1; got 3"),
        (
            "Join",
            Literal["alternate", "joint"] | None,
            "expected one of 'alternate', 'joint' or null; got 'Join'; did you mean 'joint'?",
        ),
        ("a", int | list[int], "expected int or a list of int, got str 'a'"),
        ([1], tuple[int, float], "expected a list of 2 (int, float), got list [1]"),
        (1, tuple[int, ...], "expected a list of int, got int 1"),
        (1, list, "expected a list, got int 1"),
        (1, dict[str, int], "expected a section, got int 1"),
        (1, Optim, "expected a section, got int 1"),
        (1, Path, "expected a path (str), got int 1"),
        (1, None, "expected null, got int 1"),
    ],
)
def test_messages(value, annotation, message):
    assert messages(value, annotation) == [message]


def test_problems_point_at_the_item():
    assert check_value([1, "a"], list[int], ("steps",)) == [Problem(("steps", "1"), "expected int, got str 'a'")]
    assert check_value([1, ["a"]], int | list[int | list[int]])[0].path == ("1", "0")
    assert check_value({"a": {"b": "x"}}, dict[str, dict[str, int]])[0].path == ("a", "b")
    assert check_value({"lr": "x"}, Optim | None, ("o",)) == [Problem(("o", "lr"), "expected float, got str 'x'")]
    assert check_value({3: "x"}, dict[str, str]) == [Problem(("3",), "expected str, got int 3; put it in quotes")]


# Declarations


def test_a_dataclass_declares_its_fields():
    declared = declared_by(Train)
    assert list(declared.annotations) == ["total_iter", "optim_g", "ema_decay", "scheme", "steps", "resume"]
    assert declared.required == {"total_iter", "optim_g"}
    assert not declared.open
    assert declared.annotations["optim_g"] is Optim
    assert declared_by(Longer).annotations["extra"] is bool
    assert declared_by(Longer).annotations["total_iter"] is int
    assert declared_by(Longer).annotations["ema_decay"] is str
    assert declared_by(Longer).annotations["steps"] is Any


def test_a_class_declares_its_constructor():
    for network in (Network, Inherits):
        declared = declared_by(network)
        assert list(declared.annotations) == ["width", "blocks", "act", "scale"]
        assert declared.required == {"width"}
        assert check_mapping({"width": 3, "act": object, "scale": None}, declared) == []
        assert len(check_mapping({"width": "3", "blocks": ["x"], "scale": "y"}, declared)) == 3
    assert declared_by(WithoutConstructor) == Declaration({})


def test_a_function_declares_what_it_takes_by_name():
    declared = declared_by(degrade)
    assert list(declared.annotations) == ["sigma", "clip"]
    assert declared.open
    assert check_mapping({"anything": 1}, declared) == []
    assert check_mapping({"sigma": "x"}, declared)[0].path == ("sigma",)
    assert declared_by(wrapped) == declared


def test_skipped_parameters_are_neither_required_nor_allowed():
    declared = declared_by(Network, skip=("width",))
    assert check_mapping({}, declared) == []
    assert check_mapping({"width": 3}, declared) == [
        Problem(("width",), "unknown key 'width'; known: blocks, act, scale")
    ]


def test_annotations_that_cannot_be_resolved_leave_the_others_checked():
    declared = declared_by(odd)
    assert check_mapping({"a": object(), "b": 1, "c": "x", "d": None}, declared) == []
    assert [p.path for p in check_mapping({"a": 1, "b": "x"}, declared)] == [("b",)]
    assert check_value("x", [1, 2]) == []


def test_fields_made_at_run_time_work():
    made = dataclasses.make_dataclass("Made", [("x", int), ("y", "list[int]", field(default_factory=list))])
    assert [p.path for p in check_mapping({"x": "a"}, declared_by(made))] == [("x",)]


# Sections


def test_unknown_missing_and_nested_keys():
    values = {"ema_decya": 0.9, "optim_g": {"lr": "x", "betas": [1, "b"], "typ": "Adam"}, 7: 1}
    assert check_mapping(values, declared_by(Train), ("train",)) == [
        Problem(("train", "ema_decya"), "unknown key 'ema_decya'; did you mean 'ema_decay'?"),
        Problem(("train", "optim_g", "lr"), "expected float, got str 'x'"),
        Problem(("train", "optim_g", "betas", "1"), "expected float, got str 'b'"),
        Problem(("train", "optim_g", "typ"), "unknown key 'typ'; did you mean 'type'?"),
        Problem(("train", "7"), "unknown key '7'; known: total_iter, optim_g, ema_decay, scheme, steps, resume"),
        Problem(("train", "total_iter"), "required key 'total_iter' is missing"),
    ]


def test_a_section_must_be_a_mapping():
    assert check_mapping(None, declared_by(Optim), ("o",)) == [Problem(("o",), "expected a section, got null")]


def test_right_options_have_no_problems():
    values = {"total_iter": 10, "optim_g": {"lr": 1, "betas": [0.9, 0.99]}, "scheme": "joint", "resume": "a"}
    assert check_mapping(values, declared_by(Train)) == []


# Raising


def test_all_problems_are_raised_at_once_with_their_files(tmp_path):
    base, run = tmp_path / "base.yml", tmp_path / "run.yml"
    base.write_text("optim_g: {lr: 1e-3x}\nema_decya: 1\n")
    run.write_text("_base_: base.yml\nsteps: [1, a]\n")
    options = read_options(run, ["scheme=alternat"])
    with pytest.raises(OptionError) as caught:
        raise_problems(check_mapping(options.values, declared_by(Train)), options)
    assert str(caught.value).split("\n  ") == [
        "5 problems in the options:",
        f"{base}: key 'optim_g:lr': expected float, got str '1e-3x'",
        f"{base}: key 'ema_decya': unknown key 'ema_decya'; did you mean 'ema_decay'?",
        f"{run}: key 'steps:1': expected int, got str 'a'",
        "--force_yml: key 'scheme': expected one of 'alternate', 'joint' or null; got 'alternat'; "
        "did you mean 'alternate'?",
        f"{run}: key 'total_iter': required key 'total_iter' is missing",
    ]


def test_one_problem_takes_one_line_and_none_raises_nothing(tmp_path):
    path = tmp_path / "a.yml"
    path.write_text("lr: 1\n")
    options = read_options(path)
    raise_problems([], options)
    with pytest.raises(OptionError) as caught:
        raise_problems([Problem((), "nothing is trained")], options)
    assert str(caught.value) == f"{path}: nothing is trained"
