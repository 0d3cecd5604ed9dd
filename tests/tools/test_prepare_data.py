"""The command from an archive to an option file, as a user goes, and the documentation of it."""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
import textwrap
from pathlib import Path

import pytest
import yaml
from small_archives import image, unpack

from dcpt_data import DegradationDataset, DegradationMixtureDataset
from dcpt_data.images.pixels import write_image
from dcpt_data.preparation.archives import Unpacked
from dcpt_data.preparation.catalogue import markdown_table
from dcpt_data.preparation.preparing import prepare
from dcpt_data.sources import published as sources
from dcpt_data.sources.published import expand, get_source, known_groups, known_settings, known_sources
from dcpt_models.options.files import Options
from dcpt_models.options.schema import check_options
from dcpt_tools.data.prepare import main

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "DATA.md").read_text(encoding="utf-8")


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Runs the command in a folder of its own, in this process, as each start of Python takes seconds."""

    def command(*arguments):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["prepare_data.py", *map(str, arguments)])
        try:
            code = main()
        except SystemExit as end:
            code = end.code
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return command


def archive(home, *names, count=None):
    for name in names:
        source = get_source(name)
        unpack(home, source, source.layouts[0], count or source.count, first=0 if source.part == "train" else 1000)
    return home


# From an archive to an option file


def test_the_whole_way(run, tmp_path):
    archive(tmp_path / "downloads/LOLdataset", "LOL-test")
    archive(tmp_path / "downloads/LOLdataset", "LOL-train", count=3)
    code, out, err = run("LOL-train", "LOL-test", "--from", "downloads", "--root", "data")
    assert (code, out) == (1, "")
    assert "error: nothing was prepared:\n  count: LOL-train: 3 found in" in err and "485 are expected" in err
    assert "give --accept count to prepare what there is" in err
    assert not (tmp_path / "data").exists()

    code, out, err = run("LOL-train", "LOL-test", "--from", "downloads", "--root", "data", "--accept", "count")
    assert code == 0, err
    assert "LOL-train: 3 pairs in data/LOL-v1/our485, from" in out
    for command in ("check LOL-train LOL-test --root data", "dcpt lmdb --source LOL-train LOL-test --root data"):
        assert command in out

    # What it prints is what an option file says.
    lines = [line.strip() for line in out.splitlines() if "{source:" in line or "{name:" in line]
    train, val = (yaml.safe_load(line) for line in lines)
    mixture = {"type": "DegradationMixtureDataset", "gt_size": 16, "sets": train}
    mixture |= {"name": "t", "phase": "train", "scale": 1, "datasets_root": "data"}
    assert len(DegradationMixtureDataset(mixture)) == 3
    (key,) = val
    assert key == "val_lol_test"
    assert len(DegradationDataset({**val[key], "phase": "val", "scale": 1, "datasets_root": "data"})) == 15

    code, out, err = run("check", "LOL-train", "LOL-test", "--root", "data")
    assert code == 1
    assert "LOL-train (train, low_light): 3 of 485, wrong\n  count: 3 found, 485 expected\n" in out
    assert "LOL-test (test, low_light): 15 of 15, ok\n" in out
    assert "Photographs of 1 test sets were looked for in 1 training sets." in out
    assert "error: found count; see above, and fix it or give --accept count" in err
    code, out, _ = run("check", "LOL-train", "LOL-test", "--root", "data", "--accept", "count")
    assert (code, "count: 3 found" in out) == (0, True)

    code, out, _ = run("LOL-test", "--from", "downloads", "--root", "data")
    assert (code, "15 pairs in data/LOL-v1/eval15, was there already" in out) == (0, True)


def test_an_option_file_is_checked_with_all_its_sets(run, tmp_path):
    archive(tmp_path / "archive", "LOL-test")
    assert run("LOL-test", "--from", "archive", "--root", "data")[0] == 0
    (tmp_path / "photographs").mkdir()
    for name, number in (("a", 0), ("b", 1007)):  # of which one is in the test set too
        write_image(tmp_path / f"photographs/{name}.png", image(number))
    options = {
        "name": "x", "model_type": "RestorationModel", "num_gpu": 4, "degradations": ["noise", "low_light"],
        "path": {"datasets_root": "data"},
        "datasets": {
            "train": {
                "type": "DegradationMixtureDataset", "gt_size": 16,
                "sets": {"mine": {"degradation": "noise", "dataroot_gt": "photographs"}},
            },
            "val_low": {"name": "low", "type": "DegradationDataset", "source": "LOL-test"},
        },
        "network_g": {"type": "NAFNet"}, "train": {"total_iter": 1, "optim_g": {"type": "AdamW", "lr": 1e-3}},
    }  # fmt: skip
    (tmp_path / "x.yml").write_text(yaml.safe_dump(options), encoding="utf-8")
    code, out, err = run("check", "-opt", "x.yml", "--json")
    assert code == 1, err
    answer = json.loads(out)
    assert (answer["ok"], answer["read"]) == (False, True)
    mine, low = answer["sets"]
    assert (mine["name"], mine["part"], mine["found"], mine["problems"]) == ("train:mine", "train", 2, {})
    assert (low["name"], low["found"], low["expected"], list(low["problems"])) == ("LOL-test", 15, 15, ["leakage"])
    assert "high/8.png has the pixels of" in low["problems"]["leakage"][0]
    code, out, _ = run("check", "-opt", "x.yml", "--quick")
    assert code == 0 and "Names and counts only" in out
    code, out, _ = run("check", "-opt", "x.yml", "--accept", "leakage")
    assert code == 0 and "leakage: " in out


def test_many_messages_are_cut_short_but_not_in_json(run, tmp_path):
    archive(tmp_path / "archive", "LOL-test")
    run("LOL-test", "--from", "archive", "--root", "data", "--mode", "copy")
    for number in range(1, 6):
        (tmp_path / f"data/LOL-v1/eval15/high/{number}.png").unlink()
    _, out, _ = run("check", "LOL-test", "--root", "data", "--quick")
    assert out.count("unpaired: ") == 4 and "unpaired: 2 more, all of them with --json" in out
    _, out, _ = run("check", "LOL-test", "--root", "data", "--quick", "--json")
    assert len(json.loads(out)["sets"][0]["problems"]["unpaired"]) == 5


def test_preparing_prints_one_json_object(run, tmp_path):
    archive(tmp_path / "archive", "LOL-test")
    code, out, _ = run("LOL-test", "--from", "archive", "--root", "data", "--json")
    assert code == 0
    home = str(tmp_path / "archive/eval15")
    assert json.loads(out) == {
        "sets": {"LOL-test": {"folder": "data/LOL-v1/eval15", "count": 15, "kept": False, "from": home}},
        "problems": [],
    }


# list


def test_the_list_tells_what_is_there(run, tmp_path):
    archive(tmp_path / "archive", "LOL-test", "LOL-train", count=2)
    run("LOL-train", "LOL-test", "--from", "archive", "--root", "data", "--accept", "count")
    (tmp_path / "data/LOL-v1/our485/low/1.png").unlink()
    (tmp_path / "data/LOL-v1/eval15/high/1.png").unlink()
    _, out, _ = run("list", "--root", "data", "--json")
    answer = json.loads(out)
    assert list(answer["sets"]) == list(known_sources()) and answer["groups"] == known_groups()
    found = {name: entry["found"] for name, entry in answer["sets"].items() if entry["found"] is not None}
    assert found == {"LOL-train": 1}
    _, out, _ = run("list", "--root", "data")
    assert re.search(r"LOL-train +train +low_light +1 of 485 +LOL-v1 \(Wei et al., BMVC 2018\), training set", out)
    assert re.search(r"LOL-test +test +low_light +incomplete: check it", out)
    assert re.search(r"WED +train +noise +- +Waterloo", out)
    assert all(source.where in out for source in known_sources().values())


# Wrong usage


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["LOL-tst", "--from", "."], "did you mean 'LOL-test'"),
        (["WED", "--from", "nowhere"], "no such folder"),
        (["check", "CDD-11"], "did you mean 'CDD-11-t"),
    ],
)
def test_what_is_not_there_ends_with_1(arguments, words, run):
    code, out, err = run(*arguments)
    assert (code, out) == (1, "")
    assert words in err and "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "usage:"),
        (["WED"], "--from"),
        (["WED", "--from", ".", "--crops", "512"], "must be SIZE:STEP in pixels, such as 512:256, not '512'"),
        (["WED", "--from", ".", "--crops", "512:0"], "must be SIZE:STEP"),
        (["WED", "--from", ".", "--crops", "64:32"], "--crops is for data sets of crops"),
        (["WED", "--from", ".", "--mode", "move"], "invalid choice: 'move'"),
        (["check"], "give the names of data sets, or -opt"),
        (["check", "WED", "-opt", "x.yml"], "give the names of data sets, or -opt"),
        (["check", "WED", "--accept", "leak"], "invalid choice: 'leak'"),
        (["list", "WED"], "unrecognized arguments: WED"),
    ],
)
def test_wrong_usage_ends_with_2(arguments, words, run):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert words in err


@pytest.mark.parametrize("which", [[], ["list"], ["check"]])
def test_each_has_a_help_with_an_example(which, run):
    code, out, _ = run(*which, "--help")
    assert code == 0
    assert "  dcpt prepare " in out


# The documentation


def block(word: str) -> str:
    blocks = re.findall(r"(?ms)^ *```yaml\n(.*?)^ *```", TEXT)
    (found,) = [textwrap.dedent(text) for text in blocks if word in text]
    return found


def test_the_documented_table_is_current():
    written = TEXT.split("list --markdown -->\n")[1].split("\n<!-- end")[0]
    assert written == markdown_table(), "put what `dcpt prepare list --markdown` prints into docs/DATA.md"
    for name in [*known_sources(), *known_groups()]:
        assert f"`{name}" in TEXT or f"`-{name.rpartition('-')[2]}`" in TEXT


def test_the_documented_option_file_is_right(tmp_path):
    values = {
        "name": "x",
        "model_type": "RestorationModel",
        "network_g": {"type": "NAFNet"},
        **yaml.safe_load(block("lol_")),
    }
    values["train"] = {"total_iter": 1, "optim_g": {"type": "AdamW", "lr": 1e-3}}
    check_options(Options(values, {(): tmp_path}), is_train=True)


def test_the_documented_entry_works(tmp_path, monkeypatch):
    ((name, entry),) = yaml.safe_load(block("Mine-train")).items()
    (source,) = sources._read(name, entry)
    monkeypatch.setitem(known_sources(), name, source)
    for folder, pixels in (("input/x_rain", image(1) // 2), ("target/x", image(1))):
        file = tmp_path / f"Mine_v1/train/{folder}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        write_image(file, pixels)
    (found,) = (Unpacked(tmp_path).find(one) for one in expand([name]))
    prepare([found], tmp_path / "out", "hardlink", None, lambda *call: None)
    opt = {"name": "x", "type": "DegradationDataset", "phase": "val", "scale": 1, "source": name}
    sample = DegradationDataset({**opt, "datasets_root": str(tmp_path / "out")})[0]
    assert sample["degradation"] == "rain"
    assert ((sample["gt"] * 255).round().numpy().transpose(1, 2, 0) == image(1)).all()


def test_documented_commands_files_and_settings_exist():
    files = [
        *re.findall(r"-opt (options/[\w/]+\.yml)", TEXT),
        *re.findall(r"pytest ((?:tests/\w+\.py ?)+)", TEXT),
    ]
    links = [(ROOT / "docs" / link).resolve() for link in re.findall(r"\]\(((?!http|#)[\w/.]+)\)", TEXT)]
    assert all((ROOT / file).exists() for entry in files for file in entry.split())
    assert all(link.exists() for link in links)
    assert set(re.findall(r"`(\w+)`", TEXT.split("| setting |")[1].split("## ")[0])) == set(known_settings())
    headings = {
        re.sub(r"[^\w -]", "", line).strip().lower().replace(" ", "-") for line in re.findall(r"(?m)^#+ (.*)$", TEXT)
    }
    assert set(re.findall(r"\]\(#([\w-]+)\)", TEXT)) <= headings


def test_documented_names_are_known(run):
    for line in re.findall(r"dcpt (?:prepare|lmdb) (?:check |--source )?([A-Z][\w -]*?) (?:--from|--root)", TEXT):
        assert expand(line.split())
    with contextlib.redirect_stdout(io.StringIO()):
        assert run("list", "--markdown")[0] == 0


def test_a_table_is_no_json(run):
    assert run("list", "--markdown", "--json")[0] == 2
