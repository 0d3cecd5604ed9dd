"""Checks option values against what the code declares: the fields of a dataclass or the parameters of a callable.

Problems are all collected before any is raised, so that a user fixes an option file once, not once per mistake.
"""

from __future__ import annotations

import collections.abc
import contextlib
import dataclasses
import inspect
import os
import sys
import types
import typing
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from dcpt_common import Range, closest, nearest
from dcpt_models.errors import OptionError
from dcpt_models.options.files import Options

_UNIONS = (typing.Union, types.UnionType)
_LISTS = (list, tuple, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)
_MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
_PATHS = (Path, os.PathLike)
_SCALARS = {bool: "bool", int: "int", float: "float", str: "str", types.NoneType: "null"}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: the keys that lead to it from the top of the options, and what is wrong with it."""

    path: tuple[str, ...]
    message: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", tuple(map(str, self.path)))  # a file may have a number for a key


@dataclass(frozen=True)
class Declaration:
    """The keys that a section of options may have.

    `annotations` maps each key to its type, in the order declared; `required` are those without a default; `open` says
    that any other key is fine too.
    """

    annotations: dict[str, Any]
    required: frozenset[str] = frozenset()
    open: bool = False


def declared_by(obj: Callable[..., Any], skip: Collection[str] = ()) -> Declaration:
    """Declare the options that a dataclass, another class or a function takes by name.

    Args:
        obj: A dataclass, another class (what its constructor takes, without self) or a function.
        skip: Parameters that the code fills in itself: neither required nor allowed in an option file.

    Returns:
        The declaration. A parameter takes anything if it has no annotation or one that only a type checker can
        resolve; a default of None allows null; a `**kwargs` parameter allows any other key.
    """
    resolved = _resolved_annotations(obj)
    annotations: dict[str, Any] = {}
    required = set()
    open_ = False
    for name, parameter in inspect.signature(obj).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            open_ = True
        elif parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY) and name not in skip:
            annotation = resolved.get(name, Any)
            annotations[name] = typing.Union[annotation, None] if parameter.default is None else annotation  # noqa: UP007
            if parameter.default is parameter.empty:
                required.add(name)
    return Declaration(annotations, frozenset(required), open_)


def check_mapping(values: Any, declared: Declaration, path: tuple[str, ...] = ()) -> list[Problem]:
    """Check a section of options.

    Args:
        values: The section, as read from YAML.
        declared: The keys it may have.
        path: The keys that lead to the section.

    Returns:
        A problem for each unknown key, each missing key and each value of a wrong type, at any depth.
    """
    if not isinstance(values, dict):
        return [Problem(path, f"expected a section, got {_shown(values)}")]
    problems = []
    for key, value in values.items():
        if key in declared.annotations:
            problems += check_value(value, declared.annotations[key], (*path, key))
        elif not declared.open:
            hint = nearest(str(key), declared.annotations)
            problems.append(Problem((*path, str(key)), f"unknown key {str(key)!r}{hint}"))
    missing = [key for key in declared.annotations if key in declared.required and key not in values]
    return problems + [Problem((*path, key), f"required key {key!r} is missing") for key in missing]


def check_value(value: Any, annotation: Any, path: tuple[str, ...] = ()) -> list[Problem]:
    """Check one value, with all that is in it, against a type.

    Args:
        value: A value as read from YAML.
        annotation: bool, int (no bool), float (or an int), str, None, Literal, a union, a list, tuple, Sequence or
            dict of these, a dataclass (a section), or a path (a str); `Annotated` with a `Range` of numbers. Every
            other annotation accepts anything.
        path: The keys that lead to the value.

    Returns:
        The problems found; none if the value is right.
    """
    annotation = getattr(annotation, "__value__", annotation)  # what Python 3.12's `type X = ...` stands for
    origin, args = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
    if not isinstance(origin, Hashable):  # no type; which Python 3.13 lets pass as one
        return []
    if origin is Annotated:
        problems = check_value(value, args[0], path)
        refusals = (each.refusal(value) for each in args[1:] if isinstance(each, Range) and not problems)
        return problems + [Problem(path, refusal) for refusal in refusals if refusal]
    if origin in _UNIONS:
        return _check_union(value, annotation, path)
    if dataclasses.is_dataclass(origin) and isinstance(value, dict):
        return check_mapping(value, declared_by(typing.cast(Any, origin)), path)
    if origin in _LISTS and isinstance(value, (list, tuple)):
        fixed = origin is tuple and bool(args) and args[-1] is not Ellipsis
        if not fixed:
            args = args[:1] * len(value)
        elif len(args) != len(value):
            return [Problem(path, _mismatch(value, annotation))]
        pairs = enumerate(zip(value, args, strict=False))  # a bare `list` has no args, and any items
        return [p for index, (item, each) in pairs for p in check_value(item, each, (*path, str(index)))]
    if origin in _MAPPINGS and isinstance(value, dict):
        key_type, value_type = args or (Any, Any)
        problems = [p for key in value for p in check_value(key, key_type, (*path, str(key)))]
        return problems + [p for key in value for p in check_value(value[key], value_type, (*path, str(key)))]
    return [] if _fits(value, origin, args) else [Problem(path, _mismatch(value, annotation))]


def raise_problems(problems: Sequence[Problem], options: Options) -> None:
    """Raise one error that lists all problems, each with its file and key; do nothing if there are none.

    Args:
        problems: What `check_mapping` found.
        options: The options that were checked, which know the file of each key.

    Raises:
        OptionError: There is a problem.
    """
    lines = []
    for problem in problems:
        key = f"key {':'.join(problem.path)!r}: " if problem.path else ""
        lines.append(f"{options.file_of(problem.path)}: {key}{problem.message}")
    if len(lines) > 1:
        lines.insert(0, f"{len(lines)} problems in the options:")
    if lines:
        raise OptionError("\n  ".join(lines))


def _resolved_annotations(obj: Callable[..., Any]) -> dict[str, Any]:
    """Resolve annotations one by one, so that one which exists for type checkers only leaves the others checked."""
    owners: list[Any]
    if isinstance(obj, type) and dataclasses.is_dataclass(obj):
        owners = list(reversed(obj.__mro__))
    else:
        owners = [obj.__init__ if isinstance(obj, type) else obj]  # type: ignore[misc]
    resolved: dict[str, Any] = {}
    for owner in owners:
        for name, annotation in inspect.get_annotations(owner).items():
            holder: Any = types.SimpleNamespace(__annotations__={name: annotation})
            resolved.pop(name, None)
            with contextlib.suppress(NameError, AttributeError, SyntaxError, TypeError):
                hint = typing.get_type_hints(holder, vars(sys.modules[owner.__module__]), include_extras=True)[name]
                typing.Optional[hint]  # noqa: UP045 - raises TypeError where an annotation is no type, but text or a list
                resolved[name] = hint
    return resolved


def _check_union(value: Any, annotation: Any, path: tuple[str, ...]) -> list[Problem]:
    """Check against each member; a value of the right shape is judged by what is wrong in it, not as a whole."""
    inner: list[Problem] = []
    for member in _members(annotation):
        problems = check_value(value, member, path)
        if not problems:
            return []
        out_of_range = member is not (bare := _bare(member)) and not check_value(value, bare, path)
        if not inner and (out_of_range or all(problem.path != path for problem in problems)):
            inner = problems
    return inner or [Problem(path, _mismatch(value, annotation))]


def _bare(annotation: Any) -> Any:
    """A type without its range."""
    return typing.get_args(annotation)[0] if typing.get_origin(annotation) is Annotated else annotation


def _members(union: Any) -> tuple[Any, ...]:
    """The types that a union lets an option file choose from: `float | Tensor` asks for a float."""
    members = typing.get_args(union)
    plain = tuple(member for member in members if not _is_opaque(member))
    return members if set(plain) <= {types.NoneType} else plain


def _is_opaque(annotation: Any) -> bool:
    """Whether a type is a class that no value read from YAML is an instance of."""
    annotation = _bare(annotation)
    origin = typing.get_origin(annotation) or annotation
    plain = origin in (*_LISTS, *_MAPPINGS, *_PATHS, *_SCALARS, object) or dataclasses.is_dataclass(origin)
    return isinstance(origin, type) and not plain


def _fits(value: Any, origin: Any, args: tuple[Any, ...]) -> bool:
    """Say whether a value is one of the plain types; mappings and lists that fit were looked into before."""
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in args)
    if origin in (int, float):
        return isinstance(value, (int, origin)) and not isinstance(value, bool)
    if origin in _SCALARS:
        return isinstance(value, origin)
    if origin is None:
        return value is None
    if origin in _PATHS:
        return isinstance(value, str)
    return not (origin in _LISTS or origin in _MAPPINGS or dataclasses.is_dataclass(origin))


def _mismatch(value: Any, annotation: Any) -> str:
    """Say what was expected and what was found, with the value that was probably meant."""
    annotation = _bare(annotation)
    choices = _choices(annotation)
    message = f"expected {_named(annotation)}{'; got ' + repr(value) if choices else ', got ' + _shown(value)}"
    members = [_bare(each) for each in typing.get_args(annotation)] if _is_union(annotation) else [annotation]
    if isinstance(value, str):
        if (meant := closest(value, [choice for choice in choices if isinstance(choice, str)])) is not None:
            return f"{message}; did you mean {meant!r}?"
        if types.NoneType in members and value.lower() == "none":
            return f"{message}; write null or ~ for no value"
    elif isinstance(value, float) and value.is_integer() and int in members:
        return f"{message}; write {int(value)}"
    elif isinstance(value, (bool, int, float)) and str in members:
        return f"{message}; put it in quotes"
    return message


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in _UNIONS


def _choices(annotation: Any) -> list[Any]:
    """Give what a Literal, or the Literals in a union, allow."""
    args = typing.get_args(annotation)
    if typing.get_origin(annotation) is Literal:
        return list(args)
    return [choice for member in args for choice in _choices(member)] if _is_union(annotation) else []


def _named(annotation: Any) -> str:
    """Name a type in the words of an option file."""
    annotation = _bare(getattr(annotation, "__value__", annotation))
    origin, args = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
    if origin in _UNIONS:
        return " or ".join(_named(member) for member in _members(annotation))
    if origin is Literal:
        return f"one of {', '.join(repr(choice) for choice in args)}"
    if origin is tuple and args and args[-1] is not Ellipsis:
        return f"a list of {len(args)} ({', '.join(_named(member) for member in args)})"
    if origin in _LISTS:
        return f"a list of {_named(args[0])}" if args and args[0] is not Any else "a list"
    if origin in _MAPPINGS or dataclasses.is_dataclass(origin):
        return "a section"
    if origin in _PATHS:
        return "a path (str)"
    return _SCALARS.get(origin, "null" if origin is None else "anything")


def _shown(value: Any) -> str:
    """Show a value with its type, cut where it is long."""
    if value is None:
        return "null"
    text = repr(value)
    kind = {dict: "section"}.get(type(value), type(value).__name__)
    return f"{kind} {text if len(text) <= 60 else text[:57] + '...'}"
