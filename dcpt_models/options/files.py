"""Reads option files: safe YAML, composed with `_base_`, changed by `--force_yml`, written back resolved.

`_base_` names one file or a list of files, relative to the file that says it. Bases are merged from left to right, then
the file itself: mappings key by key, all else is replaced, and `_delete_: true` in a mapping drops what was merged into
it before. Bases may share keys (mmengine refuses that at the top level), so that `_base_: [network.yml, data.yml]` may
fill the same sections. A file named twice counts at its first place: bases that share a base do not undo each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dcpt_common import nearest, write_atomically
from dcpt_models.errors import OptionError
from dcpt_models.options.yaml_loader import Dumper, ForceLoader, KeyPath, Loader, load_yaml

Origin = dict[KeyPath, Path]
Section = dict[Any, Any]
Files = dict[Path, tuple[Path, Section]]  # resolved path -> path as named, what the file says

BASE, DELETE = "_base_", "_delete_"
FORCED = Path("--force_yml")  # the origin of forced values, printed where other messages name a file


@dataclass(frozen=True)
class Options:
    """Resolved options, and which file said each of them.

    `values` holds plain dict, list, str, int, float, bool and None. `origin` maps the path of a key to the file that
    gave it last, and `()` to the file that was asked for. Items of a list have the origin of the list.
    """

    values: dict[str, Any]
    origin: Origin

    def file_of(self, path: Sequence[str]) -> Path:
        """Give the file that said `path`, or for a missing key the file of the innermost known section around it."""
        known = (self.origin.get(tuple(path[:end])) for end in range(len(path), -1, -1))
        return next(file for file in known if file is not None)


def read_options(path: str | Path, force: Sequence[str] = ()) -> Options:
    """Read an option file with its bases, then apply forced values.

    Args:
        path: The option file.
        force: Entries `key:sub=value`, applied last. The value is read as YAML, with none and None as null, and
            replaces what was there. Missing and empty sections are made; an index addresses an item of a list.

    Returns:
        The resolved options, without `_base_` and `_delete_`.

    Raises:
        OptionError: A file is missing, empty, not plain YAML or not a mapping; a key is given twice; bases form a
            circle; a forced entry is malformed or leads through something that is not a section.
    """
    path = Path(path).expanduser()
    files: Files = {}
    _collect(path, (), files)
    values: Section = {}
    origin: Origin = {}
    for file, said in files.values():
        values = _merge(values, said, file, (), origin)
    origin[()] = path
    for entry in force:
        _force(values, entry, origin)
    return Options(values, origin)


def dump_options(values: dict[str, Any], path: str | Path, header: str) -> None:
    """Write options as YAML that `read_options` reads back to the same values in the same order.

    Args:
        values: Plain dict, list, str, int, float, bool and None; a tuple is written as a list.
        path: The file to write or to replace; no reader ever sees it half written.
        header: The comment at the top, of any number of lines.

    Raises:
        OptionError: A value is of another type.
        OSError: The file cannot be written; what was there before is untouched.
    """
    path = Path(path)
    try:
        text = yaml.dump(values, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=120)
    except yaml.representer.RepresenterError as error:
        kind = type(error.args[-1]).__name__
        raise OptionError(f"{path}: cannot write a value of type {kind}. Make it a plain value first.") from error
    # Control characters, which a command line in the header may hold, would make the whole file unreadable.
    lines = ["".join(c if c.isprintable() else ascii(c)[1:-1] for c in line) for line in header.splitlines()]
    comment = "".join(f"# {line}".rstrip() + "\n" for line in lines)
    with write_atomically(path, durable=True) as file:
        file.write_text(f"{comment}\n{text}", encoding="utf-8", newline="\n")


def _collect(path: Path, chain: tuple[Path, ...], files: Files) -> None:
    """Read `path` and its bases into `files`, bases first; `chain` are the files whose bases led here."""
    if path.resolve() in [file.resolve() for file in chain]:
        circle = " -> ".join(str(file) for file in (*chain, path))
        raise OptionError(f"{chain[-1]}: key '{BASE}': the bases form a circle: {circle}. Remove one of these bases.")
    if path.resolve() in files:
        return
    try:
        said = load_yaml(path.read_bytes(), str(path), Loader)
    except OSError as error:
        asked = f"{chain[-1]}: key '{BASE}'" if chain else str(path)
        raise OptionError(f"{asked}: {_unreadable(path, error)}") from error
    if said is None:
        raise OptionError(f"{path}: the file is empty. Write options into it, or name another file.")
    if not isinstance(said, dict):
        kind = type(said).__name__
        raise OptionError(f"{path}: holds a single {kind}, not a mapping. Write lines of the form 'key: value'.")
    bases = said.pop(BASE, [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise OptionError(f"{path}: key '{BASE}': expected a file name or a list of them, got {bases!r}.")
    for base in bases:
        _collect(path.parent / Path(base).expanduser(), (*chain, path), files)
    files[path.resolve()] = (path, said)


def _unreadable(path: Path, error: OSError) -> str:
    """Say why a file cannot be read; for a missing one, at which folder or name the path goes wrong."""
    if not isinstance(error, FileNotFoundError):
        return f"cannot read {path}: {error.strerror}. Name an option file that you may read."
    wrong = path
    while not wrong.parent.is_dir():
        wrong = wrong.parent
    return f"no {wrong.name!r} in {wrong.parent}{nearest(wrong.name, sorted(p.name for p in wrong.parent.iterdir()))}"


# Not mmengine's Config.merge_from_dict: tried with 0.10.7, it splits keys at dots, fails on keys that are numbers or
# called `text` or `filename`, cannot merge a mapping over an empty section (null), leaves `_delete_` in results where
# the base has no such key, and says nothing about which file a value came from.
def _merge(below: Section, above: Section, file: Path, path: KeyPath, origin: Origin) -> Section:
    """Merge what `file` says in section `path` into `below`, which is changed, and note the origin of each key."""
    drop = above.get(DELETE, False)
    if not isinstance(drop, bool):
        raise OptionError(f"{file}: key {':'.join((*path, DELETE))!r}: expected true or false, got {drop!r}.")
    if drop:
        _forget(path, origin)
        below = {}
    for key, value in above.items():
        if key == DELETE:
            continue
        here = (*path, str(key))
        old = below.get(key)
        if isinstance(value, dict):
            below[key] = _merge(old if isinstance(old, dict) else {}, value, file, here, origin)
        else:
            if isinstance(old, dict):
                _forget(here, origin)
            below[key] = _copy(value)
        origin[here] = file
    return below


def _forget(path: KeyPath, origin: Origin) -> None:
    for known in [known for known in origin if known[: len(path)] == path]:
        del origin[known]


def _copy(value: Any) -> Any:
    """Copy lists and mappings; deepcopy would keep those joined that YAML aliases made one."""
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _force(values: Section, entry: str, origin: Origin) -> None:
    """Apply one entry `key:sub=value` to `values`."""
    source = f"{FORCED} {entry!r}"
    names, equals, text = entry.partition("=")
    parts = [part.strip() for part in names.split(":")]
    if not equals or not all(parts):
        raise OptionError(f"{source}: expected key:sub=value, for example train:ema_decay=0.999.")
    value = load_yaml(text, source, ForceLoader)
    inside: Any = values
    path: KeyPath = ()
    for part in parts[:-1]:
        key = _key_in(inside, part, path, source)
        path = (*path, str(key))
        if isinstance(inside, dict) and inside.get(key) is None:
            inside[key] = {}
            origin[path] = FORCED
        inside = inside[key]
    key = _key_in(inside, parts[-1], path, source)
    path = (*path, str(key))
    inside[key] = _copy(value)
    _forget(path, origin)
    origin[path] = FORCED


def _key_in(inside: Any, part: str, path: KeyPath, source: str) -> str | int:
    """Give the key or index in a section or list that `part` of an entry means."""
    if isinstance(inside, dict):
        return next((key for key in inside if str(key) == part), part)
    if not isinstance(inside, list):
        raise OptionError(
            f"{source}: {':'.join(path)!r} is {inside!r}, not a section. Name a key that is in a section."
        )
    if not part.isdecimal() or int(part) >= len(inside):
        indices = f"an index below {len(inside)}" if inside else "a list, for it is empty"
        raise OptionError(f"{source}: {':'.join(path)!r} is a list and has no {part!r}. Write {indices}.")
    return int(part)
