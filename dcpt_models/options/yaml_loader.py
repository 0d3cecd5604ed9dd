"""Safe YAML for option files: `1e-4` is a float, and duplicate keys are errors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml

from dcpt_models.errors import OptionError

KeyPath = tuple[str, ...]

_YAML = "tag:yaml.org,2002:"
_PLAIN = {_YAML + kind for kind in ("str", "int", "float", "bool", "null", "map", "seq")}
_WRITTEN = (str, int, float, bool, type(None), dict, None)  # None stands for what reports any other type
_MOST_VALUES = 100_000
# YAML 1.1 takes a float with an exponent only if it has a point before it and a sign in it: 3e-4 would be text.
_FLOAT = re.compile(
    r"[-+]?(?:(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+)$"
)
_COUNT = re.compile(r"[0-9]+[eE]\+?[0-9]{1,2}")  # a whole number with an exponent


class Loader(yaml.SafeLoader):
    """SafeLoader that reads 3e-4 as a float, a date as text, and refuses doubled keys and tags that are not plain."""

    yaml_implicit_resolvers = {
        first: [(tag, form) for tag, form in forms if tag not in (_YAML + "timestamp", _YAML + "value")]
        for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: bytes | str, source: str):
        self.source = source
        self.checked = 0
        super().__init__(text)

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        # BasicSR's files write counts as `!!float 5e3`; they stay counts. An int is accepted wherever a float is.
        if _COUNT.fullmatch(node.value):
            return int(float(node.value))
        return super().construct_yaml_float(node)

    def place(self, mark: yaml.Mark | None) -> str:
        return self.source if mark is None else f"{self.source}, line {mark.line + 1}"

    def refuse(self, node: yaml.Node, path: KeyPath, why: str) -> OptionError:
        key = f"key {':'.join(path)!r}: " if path else ""
        return OptionError(f"{self.place(node.start_mark)}: {key}{why}")

    def check(self, node: yaml.Node, path: KeyPath = (), inside: tuple[yaml.Node, ...] = ()) -> None:
        """Refuse what option files may not hold, before anything is built, when lines and doubled keys are known."""
        if node in inside:
            raise self.refuse(node, path, "the section contains itself. Remove the alias (*name) in it.")
        self.checked += 1  # with what aliases repeat: nested, they would fill the memory when they are written out
        if self.checked > _MOST_VALUES:
            raise self.refuse(node, path, f"the aliases make more than {_MOST_VALUES} values. Use fewer of them.")
        inside = (*inside, node)
        if node.tag not in _PLAIN:
            tag = node.tag.replace(_YAML, "!!")
            raise self.refuse(node, path, f"the tag {tag} is refused: options are plain values, never code. Remove it.")
        if isinstance(node, yaml.ScalarNode):
            try:
                self.construct_object(node)
            except (ValueError, LookupError) as error:
                kind = node.tag.replace(_YAML, "")
                raise self.refuse(node, path, f"{node.value!r} is not of type {kind}. Correct it.") from error
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self.check(item, (*path, str(index)), inside)
        else:
            self.check_mapping(node, path, inside)

    def check_mapping(self, node: yaml.MappingNode, path: KeyPath, inside: tuple[yaml.Node, ...]) -> None:
        lines: dict[Any, int] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _YAML + "merge":
                parts = value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
                for part in parts:  # keys in it are defaults for those of this mapping, not doubles of them
                    self.check(part, path, inside)
                continue
            self.check(key_node, path, inside)
            key = self.construct_object(key_node) if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, (str, int)) or isinstance(key, bool):
                shown = repr(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "a list or mapping"
                raise self.refuse(key_node, path, f"{shown} cannot be a key. Write a name, or put it in quotes.")
            if key in lines:
                why = f"given twice, first in line {lines[key]}. Keep one of the two."
                raise self.refuse(key_node, (*path, str(key)), why)
            lines[key] = key_node.start_mark.line + 1
            self.check(value_node, (*path, str(key)), inside)


class ForceLoader(Loader):
    """Reads the value of a forced entry: it has no line numbers, and BasicSR's users write None for null."""

    def place(self, mark: yaml.Mark | None) -> str:
        return self.source


class Dumper(yaml.SafeDumper):
    """SafeDumper that quotes what either Loader or a plain YAML reader would misread, and writes no anchors."""

    yaml_representers = {kind: yaml.SafeDumper.yaml_representers[kind] for kind in _WRITTEN}

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> yaml.Node:
        # Only in double quotes does pyyaml escape the line breaks that it would read back as others.
        style = '"' if any(mark in data for mark in "\x85\u2028\u2029") else None
        return self.represent_scalar(_YAML + "str", data, style)

    def represent_list(self, data: Sequence[Any]) -> yaml.Node:
        nested = any(isinstance(item, (dict, list, tuple)) for item in data)
        return self.represent_sequence(_YAML + "seq", data, flow_style=not nested)


Loader.add_constructor(_YAML + "float", Loader.construct_yaml_float)
Loader.add_implicit_resolver(_YAML + "float", _FLOAT, list("-+.0123456789"))
Dumper.add_implicit_resolver(_YAML + "float", _FLOAT, list("-+.0123456789"))
ForceLoader.add_implicit_resolver(_YAML + "null", re.compile("(?:none|None|NONE)$"), ["n", "N"])
Dumper.add_representer(str, Dumper.represent_str)
Dumper.add_representer(list, Dumper.represent_list)
Dumper.add_representer(tuple, Dumper.represent_list)


def load_yaml(text: bytes | str, source: str, loader_type: type[Loader]) -> Any:
    """Read one YAML document.

    Args:
        text: The document.
        source: What messages call it.
        loader_type: `Loader` for files, `ForceLoader` for forced values.

    Returns:
        Plain values, or None where there is no document.

    Raises:
        OptionError: The document is no YAML, has a doubled key or a tag that could run code.
    """
    loader = None
    try:
        loader = loader_type(text, source)
        if (node := loader.get_single_node()) is None:
            return None
        loader.check(node)
        return loader.construct_document(node)
    except yaml.reader.ReaderError as error:
        raise OptionError(f"{source}: not text in UTF-8: {error.reason}. Save it as UTF-8 text.") from error
    except yaml.MarkedYAMLError as error:
        place = loader.place(error.problem_mark) if loader else source
        hint = "Check quotes, brackets and colons, and indent with spaces."
        raise OptionError(f"{place}: not valid YAML: {error.problem}. {hint}") from error
    except RecursionError as error:
        raise OptionError(f"{source}: nested too deeply to be read. Remove levels of brackets.") from error
