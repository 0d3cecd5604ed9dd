"""Option files: what is read, how files compose, what is refused and in which words, and that nothing ever runs."""

from __future__ import annotations

import datetime
import math
import os
import random
from pathlib import Path

import pytest
import yaml

from dcpt_common import closest, nearest
from dcpt_models.errors import OptionError
from dcpt_models.options.files import FORCED, dump_options, read_options


@pytest.fixture
def write(tmp_path):
    def write_file(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write_file


def values_of(path, *force):
    return read_options(path, force).values


def refusal(path, *force):
    with pytest.raises(OptionError) as caught:
        read_options(path, force)
    return str(caught.value)


# Values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3e-4", 3e-4),
        ("1e5", 100000),
        ("!!float 5e3", 5000),
        ("1E-3", 1e-3),
        (".5e-3", 5e-4),
        ("-2e+3", -2000.0),
        ("1.e2", 100.0),
        ("-.5", -0.5),
        ("1_0e2", 1000.0),
        ("0.1", 0.1),
        (".inf", math.inf),
        ("12", 12),
        ("-3", -3),
        ("'3e-4'", "3e-4"),
        ("e5", "e5"),
        ("1e", "1e"),
        ("1e5x", "1e5x"),
        ("009", "009"),
        ("v1.2e3", "v1.2e3"),
        ("2024-01-31", "2024-01-31"),
        ("=", "="),
        ("true", True),
        ("~", None),
        ("", None),
        ("None", "None"),
        ("ü°", "ü°"),
        ("[1, 2e-1, a]", [1, 0.2, "a"]),
        ("{a: {b: [~]}}", {"a": {"b": [None]}}),
    ],
)
def test_values_are_read_as_meant(write, text, value):
    read = values_of(write("a.yml", f"key: {text}\n"))["key"]
    assert read == value
    assert type(read) is type(value)


def test_order_and_integer_keys_are_kept(write):
    assert list(values_of(write("a.yml", "z: 1\na: 2\n3: x\nm: 4\n"))) == ["z", "a", 3, "m"]


def test_merge_keys_and_anchors_work_as_in_plain_yaml(write):
    text = (
        "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc:\n  <<: *a\n  y: 5\nd:\n  <<: [*a, *b]\n"
        "e:\n  <<: *a\n  <<: *b\nf: *a\ng:\n  <<: {q: 1}\n  q: 2\n"
    )
    assert values_of(write("a.yml", text)) == yaml.safe_load(text)


def test_aliased_values_do_not_stay_joined(write):
    values = values_of(write("a.yml", "a: &a {x: [1]}\nb: *a\nc: [*a, *a]\n"), "a:x:0=9", "c:0:x=7")
    assert values == {"a": {"x": [9]}, "b": {"x": [1]}, "c": [{"x": 7}, {"x": [1]}]}
    assert values_of(write("a.yml", "a: 1\n"), "a=[&x {k: 1}, *x]", "a:0:k=2") == {"a": [{"k": 2}, {"k": 1}]}


def test_only_plain_containers_come_back(write):
    values = values_of(write("a.yml", "a: {b: [{c: 1}]}\n"))
    assert type(values) is dict and type(values["a"]) is dict and type(values["a"]["b"][0]) is dict


# Refusals


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.system ['touch {0}']",
        "!!python/object/new:os.system ['touch {0}']",
        "!!python/object/apply:subprocess.check_output [[touch, '{0}']]",
        "!!python/name:os.system ''",
        "!!python/tuple [1, 2]",
        "!mine 3",
        "!!set {{a, b}}",
        "!!binary aGk=",
    ],
)
@pytest.mark.parametrize("through", ["file", "force", "key"])
def test_tags_are_refused_and_run_nothing(write, tmp_path, tag, through):
    witness = tmp_path / "ran"
    value = tag.format(witness)
    if through == "force":
        entry = f"train:x={value}"
        message = refusal(write("a.yml", "a: 1\n"), entry)
        assert f"--force_yml {entry!r}: " in message
    else:
        text = f"a: 1\nb:\n  c: {value}\n" if through == "file" else f"a: 1\nb:\n  ? {value}\n  : 1\n"
        path = write("a.yml", text)
        message = refusal(path)
        assert f"{path}, line 3: key 'b" in message
    assert "the tag !" in message and "refused" in message
    assert not witness.exists()


def test_forced_python_is_text_and_runs_nothing(write, tmp_path):
    witness = tmp_path / "ran"
    code = f"__import__('os').system('touch {witness}')"
    values = values_of(write("a.yml", "a: 1\n"), f"a={code}")
    assert values["a"] == code
    message = refusal(write("a.yml", "a: 1\n"), f'a["x"]=0;{code}#:b:c={code}', "nothing")
    assert "--force_yml 'nothing'" in message
    values_of(write("a.yml", "l: 1\n"), f'l=["{code}"]')
    assert not witness.exists()


def test_doubled_key_names_file_lines_and_path(write):
    path = write("a.yml", "train:\n  optim:\n    lr: 1\n    betas: [1]\n    'lr': 2\n")
    assert refusal(path) == f"{path}, line 5: key 'train:optim:lr': given twice, first in line 3. Keep one of the two."


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("a: 1\na: 2\n", "'a'"),
        ("l:\n- {x: 1}\n- {x: 1, x: 2}\n", "'l:1:x'"),
        ("1: a\n0x1: b\n", "'1'"),
        ("a: &a {x: 1, x: 2}\nb: *a\n", "'a:x'"),
        ("b:\n  <<: {x: 1, x: 2}\n", "'b:x'"),
        ("b:\n  <<: {x: 1}\n  y: 1\n  y: 2\n", "'b:y'"),
    ],
)
def test_doubled_keys_are_found_everywhere(write, text, key):
    assert f"key {key}: given twice" in refusal(write("a.yml", text))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["the file is empty"]),
        ("# only a comment\n", ["the file is empty"]),
        ("- a\n- b\n", ["holds a single list, not a mapping", "key: value"]),
        ("hello\n", ["holds a single str"]),
        ("a: 1\nb: [1, 2\nc: 3\n", ["line 3", "not valid YAML"]),
        ("a: 1\n\tb: 2\n", ["line 2", "not valid YAML", "indent with spaces"]),
        ("a: b: c\n", ["line 1", "not valid YAML"]),
        ("a: *nothing\n", ["line 1", "undefined alias"]),
        ("a: 1\n---\nb: 2\n", ["line 2", "another document"]),
        ("a:\n  <<: 3\n", ["line 2", "not valid YAML"]),
        ("a: !!int x\n", ["line 1", "key 'a'", "'x' is not of type int"]),
        ("!!int x: 1\n", ["line 1", "'x' is not of type int"]),
        ("a: !!bool maybe\n", ["'maybe' is not of type bool"]),
        ("a: !!float ''\n", ["not of type float"]),
        ("a: &a\n  b: *a\n", ["line 1", "key 'a:b'", "contains itself"]),
        ("a: &a [*a]\n", ["contains itself"]),
        ("a:\n  on: 1\n", ["line 2", "key 'a'", "'on' cannot be a key", "quotes"]),
        ("~: 1\n", ["'~' cannot be a key"]),
        ("? [a, b]\n: 1\n", ["a list or mapping cannot be a key"]),
        (b"a: \xff\xfe\n", ["not text in UTF-8"]),
        (b"a: \x00\n", ["not text in UTF-8"]),
        ("a: " + "[" * 5000, ["nested too deeply"]),
    ],
)
def test_bad_files_are_refused_in_clear_words(write, text, parts):
    path = write("a.yml", text)
    message = refusal(path)
    assert message.startswith(str(path))
    assert message.count("\n") == 0
    for part in parts:
        assert part in message


@pytest.mark.parametrize("form", ["[*l{0}, *l{0}, *l{0}]", "{{a: *l{0}, b: *l{0}, c: *l{0}}}"])
def test_nested_aliases_may_not_fill_the_memory(write, form):
    levels = [f"l{n}: &l{n} {form.format(n - 1)}" for n in range(1, 30)]
    few, many = "\n".join(["l0: &l0 1", *levels[:6]]), "\n".join(["l0: &l0 1", *levels])
    assert len(values_of(write("few.yml", few))) == 7
    assert "the aliases make more than" in refusal(write("many.yml", many))


def test_missing_file_suggests_the_nearest(write, tmp_path):
    write("options/train.yml", "a: 1")
    path = tmp_path / "options" / "trian.yml"
    assert refusal(path) == f"{path}: no 'trian.yml' in {path.parent}; did you mean 'train.yml'?"
    message = refusal(tmp_path / "optoins" / "train.yml")
    assert f"no 'optoins' in {tmp_path}; did you mean 'options'?" in message


def test_missing_file_in_the_working_folder(write, tmp_path, monkeypatch):
    write("a_train.yml", "a: 1")
    monkeypatch.chdir(tmp_path)
    assert "did you mean 'a_train.yml'?" in refusal("a_tran.yml")


def test_a_folder_is_no_option_file(tmp_path):
    assert "Is a directory" in refusal(tmp_path)


# Bases


def test_bases_compose_sections_from_left_to_right(write):
    write("base/network.yml", "network_g: {type: NAFNet, width: 32}\ntrain: {lr: 1}\n")
    write("base/data.yml", "datasets: {train: {gt_size: 128}}\ntrain: {lr: 2, steps: [1, 2]}\n")
    path = write("run.yml", "_base_: [base/network.yml, base/data.yml]\nnetwork_g: {width: 64}\ntrain: {steps: [3]}\n")
    assert values_of(path) == {
        "network_g": {"type": "NAFNet", "width": 64},
        "train": {"lr": 2, "steps": [3]},
        "datasets": {"train": {"gt_size": 128}},
    }


def test_bases_are_relative_to_the_file_that_names_them(write, tmp_path, monkeypatch):
    write("base/deep/a.yml", "a: 1\n")
    write("base/b.yml", "_base_: deep/a.yml\nb: 2\n")
    path = write("run/c.yml", "_base_: ../base/b.yml\nc: 3\n")
    monkeypatch.chdir("/")
    assert values_of(path) == {"a": 1, "b": 2, "c": 3}


@pytest.mark.parametrize(
    ("base", "child", "merged"),
    [
        ("k: {x: 1, y: 2}", "k: {y: 3, z: 4}", {"k": {"x": 1, "y": 3, "z": 4}}),
        ("k: {x: 1}", "k: 5", {"k": 5}),
        ("k: {x: 1}", "k: ~", {"k": None}),
        ("k: {x: 1}", "k: [1]", {"k": [1]}),
        ("k: {x: 1}", "k: {}", {"k": {"x": 1}}),
        ("k: ~", "k: {x: 1}", {"k": {"x": 1}}),
        ("k: 5", "k: {x: 1}", {"k": {"x": 1}}),
        ("k: [1, 2, 3]", "k: [4]", {"k": [4]}),
        ("k: [1, 2, 3]", "k: {0: 4}", {"k": {0: 4}}),
        ("k: {1: a, 2: b}", "k: {2: c}", {"k": {1: "a", 2: "c"}}),
        ("k: 1", "k.x: 2", {"k": 1, "k.x": 2}),
        ("text: 1", "filename: 2", {"text": 1, "filename": 2}),
        ("k: {x: 1}", "k: {_delete_: true, y: 2}", {"k": {"y": 2}}),
        ("k: {x: 1}", "k: {_delete_: false, y: 2}", {"k": {"x": 1, "y": 2}}),
        ("k: {x: 1}", "k: {_delete_: true}", {"k": {}}),
        ("k: 1", "k: {_delete_: true, y: 2}", {"k": {"y": 2}}),
        ("a: 1", "k: {_delete_: true, y: 2}", {"a": 1, "k": {"y": 2}}),
        ("a: 1", "k: {l: {_delete_: true, y: 2}}", {"a": 1, "k": {"l": {"y": 2}}}),
        ("k: {x: {u: 1}}", "k: {_delete_: true, x: {_delete_: true, v: 2}}", {"k": {"x": {"v": 2}}}),
        ("a: 1\nb: 2", "_delete_: true\nc: 3", {"c": 3}),
    ],
)
def test_merging(write, base, child, merged):
    write("base.yml", base)
    path = write("child.yml", f"_base_: base.yml\n{child}\n")
    assert values_of(path) == merged


def test_delete_also_drops_what_earlier_bases_said(write):
    write("one.yml", "k: {x: 1}\n")
    write("two.yml", "k: {_delete_: true, y: 2}\n")
    assert values_of(write("c.yml", "_base_: [one.yml, two.yml]\nk: {z: 3}\n")) == {"k": {"y": 2, "z": 3}}


def test_a_base_may_be_in_the_home_folder(write, tmp_path, monkeypatch):
    write("base.yml", "a: 1\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert values_of(write("x/run.yml", "_base_: ~/base.yml\n")) == values_of("~/base.yml") == {"a": 1}


def test_a_base_shared_by_two_bases_does_not_undo_the_first(write):
    write("runtime.yml", "freq: 100\nseed: 0\n")
    write("network.yml", "_base_: runtime.yml\nfreq: 5\n")
    write("data.yml", "_base_: runtime.yml\nseed: 1\n")
    assert values_of(write("run.yml", "_base_: [network.yml, data.yml]\n")) == {"freq": 5, "seed": 1}


def test_a_circle_of_bases_prints_its_chain(write, tmp_path):
    write("b.yml", "_base_: c.yml\n")
    write("c.yml", "_base_: a.yml\n")
    path = write("a.yml", "_base_: b.yml\n")
    assert f"{path} -> {tmp_path / 'b.yml'} -> {tmp_path / 'c.yml'} -> {path}" in refusal(path)
    alone = write("alone.yml", "_base_: ./alone.yml\n")
    assert "circle" in refusal(alone)


def test_a_missing_base_names_who_asked_and_what_is_near(write, tmp_path):
    write("network.yml", "a: 1\n")
    path = write("run.yml", "_base_: netwrok.yml\n")
    assert refusal(path) == (f"{path}: key '_base_': no 'netwrok.yml' in {tmp_path}; did you mean 'network.yml'?")


@pytest.mark.parametrize("base", ["3", "[a.yml, 3]", "{a: b}", "~"])
def test_a_base_must_be_a_name_or_names(write, base):
    assert "key '_base_': expected a file name or a list of them" in refusal(write("run.yml", f"_base_: {base}\n"))


def test_delete_must_be_a_boolean(write):
    assert "key 'k:_delete_': expected true or false, got 'all'" in refusal(write("a.yml", "k: {_delete_: all}\n"))


def test_an_error_in_a_base_names_the_base(write):
    base = write("base.yml", "a: 1\na: 2\n")
    assert refusal(write("run.yml", "_base_: base.yml\n")).startswith(f"{base}, line 2: ")


# Origins


def test_each_key_knows_its_file(write):
    base = write("base.yml", "train: {lr: 1, optim: {a: 1, b: 2}}\nname: x\nlist: [{a: 1}]\n")
    path = write("run.yml", "_base_: base.yml\ntrain: {optim: {b: 3}, new: 1}\n")
    options = read_options(path, ["train:lr=2", "made:up=1"])
    assert options.file_of(("name",)) == base
    assert options.file_of(("list", "0", "a")) == base
    assert options.file_of(("train", "optim", "a")) == base
    assert options.file_of(("train", "optim", "b")) == path
    assert options.file_of(("train", "new")) == path
    assert options.file_of(("train", "lr")) == FORCED
    assert options.file_of(("made",)) == FORCED
    assert options.file_of(("train", "missing")) == path
    assert options.file_of(("missing",)) == path
    assert options.file_of(()) == path
    assert str(FORCED) == "--force_yml"


@pytest.mark.parametrize("child", ["k: {_delete_: true, y: 1}", "k: 5", "_delete_: true\nk: {y: 1}"])
def test_replaced_keys_leave_no_origin(write, child):
    base = write("base.yml", "k: {x: {u: 1}}\n")
    options = read_options(write("run.yml", f"_base_: base.yml\n{child}\n"))
    assert base not in options.origin.values()


def test_a_forced_section_leaves_no_origin_of_the_old_one(write):
    options = read_options(write("a.yml", "k: {x: {u: 1}}\n"), ["k={x: {u: 2}}"])
    assert options.file_of(("k", "x", "u")) == FORCED


# Forced values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("0.999", 0.999),
        ("7", 7),
        ("-7", -7),
        ("true", True),
        ("False", False),
        ("~", None),
        ("none", None),
        ("None", None),
        ("", None),
        ("'none'", "none"),
        ("nonesuch", "nonesuch"),
        ("a=b=c", "a=b=c"),
        ("/data/x:y", "/data/x:y"),
        ("[a, b]", ["a", "b"]),
        ("[None, 1e3]", [None, 1000.0]),
        ("{a: 1, b: [2]}", {"a": 1, "b": [2]}),
        (" x ", "x"),
    ],
)
def test_forced_values(write, text, value):
    read = values_of(write("a.yml", "train: {x: {old: 1}}\n"), f"train:x={text}")["train"]["x"]
    assert read == value
    assert type(read) is type(value)


def test_forced_entries_apply_in_order_and_make_sections(write):
    path = write("a.yml", "train: {lr: 1}\npath:\nlist: [{a: 1}, 2]\n5: {x: 1}\n")
    values = values_of(path, "train:lr=2", " train : lr =3", "a:b:c=1", "path:x=y", "list:0:a=9", "list:1=8", "5:x=2")
    assert values == {
        "train": {"lr": 3},
        "path": {"x": "y"},
        "list": [{"a": 9}, 8],
        5: {"x": 2},
        "a": {"b": {"c": 1}},
    }


def test_forced_values_win_over_all_files(write):
    write("base.yml", "a: 1\n")
    assert values_of(write("run.yml", "_base_: base.yml\na: 2\n"), "a=3") == {"a": 3}


@pytest.mark.parametrize(
    ("entry", "part"),
    [
        ("train:lr", "expected key:sub=value, for example"),
        ("=1", "expected key:sub=value"),
        ("train::lr=1", "expected key:sub=value"),
        (":a=1", "expected key:sub=value"),
        ("train:lr:x=1", "'train:lr' is 0.1, not a section"),
        ("train:lr:x:y=1", "'train:lr' is 0.1, not a section"),
        ("list:2=1", "'list' is a list and has no '2'. Write an index below 2."),
        ("list:a:b=1", "'list' is a list and has no 'a'"),
        ("list:-1=1", "has no '-1'"),
        ("none:0=1", "it is empty"),
        ("a=[1", "not valid YAML"),
        ("a={x: 1, x: 2}", "given twice"),
    ],
)
def test_bad_forced_entries_are_named(write, entry, part):
    message = refusal(write("a.yml", "train: {lr: 0.1}\nlist: [1, 2]\nnone: []\n"), entry)
    assert message.startswith(f"--force_yml {entry!r}: ")
    assert part in message


# Writing


STRINGS = [
    "", " ", "a b", "3e-4", "1e5", "1_0", "0x1", "010", "1:30", "1.0", ".5", "+.5e1", "true", "yes", "off", "null",
    "~", "None", "none", "=", "<<", "-", "- a", "a: b", "# c", "a #b", "*a", "&a", "!x", "%x", "@x", "`x", "'", '"',
    "ü°→😀", "日本", "a\nb", "a\n", "\n", "a\r\nb", "\ta", "\x00", "\x1b[0m", "\u2028", "\x85", "\ufeff", " lead",
    "trail ", "2024-01-31", "2024-01-31 10:00:00", "_base_", "[a]", "{a}", "a,b", "x" * 300, "word " * 60, "?", "|",
    "a\u2028b", "a\x85 b", "\n lead", "a\n\n  b \n ", "a: |\n  b\n",
    ">", ".inf", ".nan", "---", "...", "\\n", "C:\\x", "~/data",
]  # fmt: skip


def roundtrip(values, tmp_path, header="made by a test"):
    path = tmp_path / "out.yml"
    dump_options(values, path, header)
    return read_options(path).values


@pytest.mark.parametrize("text", STRINGS, ids=ascii)
def test_every_string_reads_back(tmp_path, text):
    values = {"k": text, "l": [text, [text]], "m": {text or "empty": text}}
    if text == "_base_":
        del values["m"]
    assert roundtrip(values, tmp_path) == values


@pytest.mark.parametrize(
    "value",
    [3e-4, 1e5, 1e-10, 1e300, 5e-324, 0.1 + 0.2, 1.0, -0.0, math.inf, -math.inf, 0, -7, 10**20, True, False, None],
)
def test_every_number_reads_back(tmp_path, value):
    read = roundtrip({"k": value, "l": [value]}, tmp_path)
    assert read == {"k": value, "l": [value]}
    assert type(read["k"]) is type(value)
    assert math.copysign(1, read["k"] or 0.0) == math.copysign(1, value or 0.0)


def test_containers_and_order_read_back(tmp_path):
    shared = {"a": [1]}
    values = {"z": {}, "a": [], "n": [[], {}, [1, [2]], {"x": {"y": []}}], 3: "int key", "s": shared, "t": [shared]}
    read = roundtrip(values, tmp_path)
    assert read == values
    assert list(read) == list(values)
    assert "&" not in (tmp_path / "out.yml").read_text()
    assert list(roundtrip({"z": 1, "a": 2, "m": 3}, tmp_path)) == ["z", "a", "m"]
    assert roundtrip({"nan": [math.nan]}, tmp_path)["nan"][0] != 0
    assert roundtrip({}, tmp_path) == {}
    assert roundtrip({"t": (1, (2,))}, tmp_path) == {"t": [1, [2]]}


def test_random_trees_read_back(tmp_path):
    rng = random.Random(0)

    def tree(depth):
        kind = rng.randrange(6 if depth else 4)
        if kind == 4:
            return [tree(depth - 1) for _ in range(rng.randrange(4))]
        if kind == 5:
            return {f"k{rng.randrange(99)}": tree(depth - 1) for _ in range(rng.randrange(4))}
        text = "".join(rng.choices(" \n\t\r\x85\u2028\u2029a:#-'\"\\é\ufeff😀0e.", k=rng.randrange(12)))
        return [text, rng.uniform(-1, 1) * 10 ** rng.randrange(-30, 30), rng.randrange(99), None][kind]

    for _ in range(60):
        values = {f"top{n}": tree(3) for n in range(3)}
        assert roundtrip(values, tmp_path) == values


def test_the_written_file_reads_alike_with_a_plain_reader(tmp_path):
    values = {"lr": 3e-4, "eps": 1e-8, "date": "2024-01-31", "s": "1e5", "t": "3.0e-4"}
    roundtrip(values, tmp_path)
    assert yaml.safe_load((tmp_path / "out.yml").read_text()) == values


def test_the_header_is_a_comment_whatever_it_holds(tmp_path):
    header = "python train.py\n\nkey: value \x1b[0m \udcff\x00 ü\ttab"
    assert roundtrip({"a": 1}, tmp_path, header) == {"a": 1}
    text = (tmp_path / "out.yml").read_text(encoding="utf-8")
    assert text == "# python train.py\n#\n# key: value \\x1b[0m \\udcff\\x00 ü\\ttab\n\na: 1\n"
    assert roundtrip({"a": 1}, tmp_path, "") == {"a": 1}


def test_the_resolved_file_runs_by_itself(write, tmp_path):
    write("base.yml", "k: {x: 1, lr: 3e-4}\n")
    options = read_options(write("run.yml", "_base_: base.yml\nk: {y: None}\n"), ["k:z=[a]"])
    assert roundtrip(options.values, tmp_path) == options.values == {"k": {"x": 1, "lr": 3e-4, "y": "None", "z": ["a"]}}


def test_short_lists_are_written_in_one_line(tmp_path):
    roundtrip({"l": [1, 2], "m": [[1], [2]]}, tmp_path)
    assert "l: [1, 2]\nm:\n- [1]\n- [2]\n" in (tmp_path / "out.yml").read_text()


@pytest.mark.parametrize("value", [Path("x"), {1, 2}, object(), 1j, b"x", datetime.date(2024, 1, 31)])
def test_values_that_are_not_plain_are_refused_and_leave_the_old_file(tmp_path, value):
    roundtrip({"a": 1}, tmp_path)
    with pytest.raises(OptionError, match=f"cannot write a value of type {type(value).__name__}"):
        dump_options({"k": [value]}, tmp_path / "out.yml", "")
    assert read_options(tmp_path / "out.yml").values == {"a": 1}


@pytest.mark.parametrize(("owner", "step"), [(os, "fsync"), (Path, "replace")])
def test_a_failing_disk_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, owner, step):
    roundtrip({"a": 1}, tmp_path)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(owner, step, full)
    with pytest.raises(OSError, match="No space"):
        dump_options({"a": 2}, tmp_path / "out.yml", "")
    assert read_options(tmp_path / "out.yml").values == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["out.yml"]


# Names


def test_nearest_names():
    assert nearest("ema_decya", ["ema_decay", "lr"]) == "; did you mean 'ema_decay'?"
    assert nearest("nafnet", ["NAFNet", "SwinIR"]) == "; did you mean 'NAFNet'?"
    assert nearest("SWINir", ["NAFNet", "SwinIR"]) == "; did you mean 'SwinIR'?"
    assert nearest("zzz", ["a", "b"]) == "; known: a, b"
    assert nearest("zzz", (f"name{n}" for n in range(5)), limit=2) == "; known: name0, name1 and 3 more"
    assert nearest("zzz", []) == ""
    assert closest("zzz", ["a"]) is None
