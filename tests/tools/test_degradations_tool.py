"""The command that degrades a photograph, the sheet in the documentation, and its tables."""

from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image

from dcpt_data.degradations import (
    DEGRADATIONS,
    check_parameters,
    degradation_names,
    degrade,
    degrade_for_evaluation,
    evaluation_defaults,
    labels,
)
from dcpt_data.degradations.sheet import WIDTH, contact_sheet
from dcpt_data.images.pixels import read_image, to_float, to_uint8, write_image
from dcpt_data.images.sample_photographs import TEST

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "DEGRADATIONS.md").read_text(encoding="utf-8")


@pytest.fixture
def run(monkeypatch, capsys):
    def call(*arguments):
        """The command in this process: exit code, standard output, standard error."""
        monkeypatch.setattr(sys, "argv", ["degrade.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(ROOT / "tools" / "degrade.py"), run_name="__main__")
        output = capsys.readouterr()
        return ended.value.code, output.out, output.err

    return call


@pytest.fixture
def photograph(crops, tmp_path) -> Path:
    write_image(tmp_path / "cup.png", crops["cup"])
    return tmp_path / "cup.png"


# The command


def test_a_photograph_is_degraded_as_in_training(run, photograph, tmp_path):
    out = tmp_path / "hazy.png"
    code, text, _ = run(photograph, "--name", "haze", "--seed", 3, "--parameters", "beta=1.2", "--out", out)
    assert (code, text) == (0, f"{out}: haze\n")
    expected = degrade("haze", to_float(read_image(photograph)), np.random.default_rng(3), beta=1.2)
    np.testing.assert_array_equal(read_image(out), to_uint8(expected))


def test_a_photograph_that_is_stored_turned_is_degraded_upright(run, crops, photograph, tmp_path):
    exif = Image.Exif()
    exif[274] = 8
    Image.fromarray(np.rot90(crops["cup"], -1)).save(tmp_path / "turned.png", exif=exif)
    for name in ("cup", "turned"):
        assert run(tmp_path / f"{name}.png", "--name", "haze", "--out", tmp_path / f"{name}_hazy.png")[0] == 0
    np.testing.assert_array_equal(read_image(tmp_path / "turned_hazy.png"), read_image(tmp_path / "cup_hazy.png"))


def test_a_photograph_is_degraded_as_in_evaluation(run, photograph, tmp_path):
    out = tmp_path / "lq.png"
    given = {"low_light": {"exposure": [0.1, 0.2]}, "rain": {"density": 0.1}}
    arguments = ["low_light.exposure=[0.1, 0.2]", "rain.density=0.1"]
    code, text, _ = run(
        photograph, "--name", "rain+low_light", "--evaluation", "--out", out, "--json", "--parameters", *arguments
    )
    assert code == 0
    assert json.loads(text) == {"file": str(out), "degradations": ["low_light", "rain"], "parameters": given}
    expected = degrade_for_evaluation("rain+low_light", to_float(read_image(photograph)), "cup.png", **given)
    np.testing.assert_array_equal(read_image(out), to_uint8(expected))


def test_words_and_booleans_can_be_given(run, photograph, tmp_path):
    for name, parameter, values in (
        ("demosaic", "channel_order=released", {"channel_order": "released"}),
        ("noise", "clip=true", {"clip": True}),
    ):
        _, text, _ = run(
            photograph, "--name", name, "--parameters", parameter, "--out", tmp_path / f"{name}.png", "--json"
        )
        assert json.loads(text)["parameters"] == values


def test_a_sheet_has_every_degradation_of_the_photograph(run, photograph, tmp_path):
    out = tmp_path / "sheet.png"
    code, text, _ = run(photograph, "--sheet", out, "--json", "--seed", 1)
    names = json.loads(text)["degradations"]
    assert code == 0 and names[:-1] == degradation_names() and len(labels(names[-1])) == 3
    np.testing.assert_array_equal(read_image(out), contact_sheet(read_image(photograph), names, 1))


def test_what_is_there_is_kept_unless_told_otherwise(run, photograph, tmp_path):
    out = tmp_path / "lq.png"
    arguments = [photograph, "--name", "rain", "--out", out]
    assert run(*arguments)[0] == 0
    before = out.read_bytes()
    code, _, error = run(*arguments, "--seed", 7)
    assert code == 2 and error.endswith("exists; choose another file, or give --overwrite\n")
    assert out.read_bytes() == before
    assert run(*arguments, "--seed", 7, "--overwrite")[0] == 0
    assert out.read_bytes() != before
    before = photograph.read_bytes()
    code, _, error = run(photograph, "--name", "rain", "--out", photograph, "--overwrite")
    assert code == 2 and "is the photograph itself" in error
    assert photograph.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["PHOTO", "--name", "rian", "--out", "OUT"], 2, "unknown degradation 'rian'; did you mean 'rain'?"),
        (["PHOTO", "--name", "rain", "--out", "OUT", "--parameters", "densty=1"], 2, "did you mean 'density'?"),
        (["PHOTO", "--name", "rain", "--out", "OUT", "--parameters", "density=2"], 2, "density must lie in [0, 1]"),
        (["PHOTO", "--name", "rain", "--out", "OUT", "--parameters", "density"], 2, "must be KEY=VALUE, such as"),
        (["PHOTO", "--name", "rain+haze", "--out", "OUT", "--parameters", "density=1"], 2, "must be PART.KEY=VALUE"),
        (["PHOTO", "--name", "rain"], 2, "--name needs a photograph and --out FILE"),
        (["PHOTO", "--name", "", "--out", "OUT"], 2, "unknown degradation ''; known: "),
        (["PHOTO"], 2, "one of the arguments --name --sheet is required"),
        (["--name", "rain", "--out", "OUT"], 2, "--name needs a photograph and --out FILE"),
        (["PHOTO", "--name", "haze", "--out", "OUT", "--restored"], 2, "--restored goes with --sheet FILE"),
        (["--sheet", "OUT", "--evaluation"], 2, "--sheet FILE goes with a photograph and --seed alone"),
        (["PHOTO", "--name", "rain", "--out", "OUT", "--evaluation", "--seed", "1"], 2, "--seed is for training"),
        (["PHOTO", "--name", "rain", "--out", "OUT", "--seed", "-1"], 2, "must be a whole number from 0, not '-1'"),
        (["nowhere.png", "--name", "rain", "--out", "OUT"], 1, "nowhere.png: cannot be read"),
        (["PHOTO", "--name", "rain", "--out", "lq.xyz"], 1, "lq.xyz: uint8 pixels can be written as"),
    ],
)
def test_mistakes_are_told(run, photograph, tmp_path, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    places = {"PHOTO": photograph, "OUT": tmp_path / "out.png"}
    ended, text, error = run(*(places.get(argument, argument) for argument in arguments))
    assert ended == code
    assert message in error and "Traceback" not in error
    assert text == "" and not (tmp_path / "out.png").exists()


# The sheet


def test_the_sheet_in_the_documentation_is_todays():
    """A change of a degradation shows here: make the sheet again with the command in docs/DEGRADATIONS.md."""
    file = ROOT / "docs" / "degradations.jpg"
    assert file.stat().st_size < 400_000
    names = ["clean", *degradation_names(), "low_light+haze+rain"]
    sheet = contact_sheet(TEST["coffee"](), names[1:], 0)
    shown = read_image(file)
    assert shown.shape == sheet.shape and len(names) == 16
    size = sheet.shape[1] // 4, sheet.shape[0] // 4
    # Averaged over 4 x 4 pixels, JPEG changes a picture by 1.2 at most, and another seed most of them by 2.4 and more.
    now, before = (cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(int) for image in (sheet, shown))
    rows = [np.array_split(row, 4, axis=1) for row in np.array_split(np.abs(now - before), 4)]
    changed = dict(zip(names, [picture.mean() for row in rows for picture in row], strict=True))
    assert {name: value for name, value in changed.items() if value > 2} == {}


def test_the_first_picture_of_a_sheet_is_the_photograph_at_the_width_of_a_tile():
    photograph = np.zeros((10, WIDTH, 3), np.uint8)
    photograph[:] = (10, 200, 60)
    sheet = contact_sheet(photograph, ["noise"], 0)
    shown = (sheet == (10, 200, 60)).all(axis=2)
    assert shown.sum() == 10 * WIDTH
    assert shown.any(axis=1).sum() == 10


# The tables of docs/DEGRADATIONS.md


def rows() -> dict[tuple[str, str], dict[str, str]]:
    """The table's rows by degradation and parameter; a row without a name belongs to the degradation above."""
    lines = [line for line in TEXT.splitlines() if line.startswith("|")]
    titles, _, *cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    found: dict[tuple[str, str], dict[str, str]] = {}
    name = ""
    for row in cells:
        name = row[0].strip("`") or name
        found[name, row[1].strip("`")] = dict(zip(titles, row, strict=True))
    return found


def written(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, tuple) and len(value) == 2:
        return f"{value[0]:g} to {value[1]:g}"
    if isinstance(value, tuple):
        return ", ".join(f"{v:g}" for v in value[:-1]) + f" or {value[-1]:g}"
    return str(value).lower() if isinstance(value, bool | str) else f"{value:g}"


def test_the_table_lists_every_parameter_of_every_degradation_in_order():
    assert list(rows()) == [(name, key) for name in degradation_names() for key in evaluation_defaults(name)]


@pytest.mark.parametrize(("name", "key"), list(rows()))
def test_the_table_says_what_the_code_does(name, key):
    row = rows()[name, key]
    assert row["training"] == written(DEGRADATIONS[name].__kwdefaults__[key])
    assert row["evaluation"] == written(evaluation_defaults(name)[key])
    assert row["unit"] and row["source"]
    if " to " in row["allowed"]:
        low, high = map(float, row["allowed"].split(" to "))
        check_parameters(name, {key: low})
        if (name, key) != ("inpainting", "lines"):  # a thousand lines take a while
            check_parameters(name, {key: high})
        for beyond in (low - 1e-3, high + 1e-3):
            with pytest.raises(ValueError, match=rf"{key} must lie in"):
                check_parameters(name, {key: beyond})
    else:
        for word in row["allowed"].split(", "):
            check_parameters(name, {key: {"true": True, "false": False}.get(word, word)})


def test_the_order_in_the_documentation_is_that_of_compositions():
    (listed,) = re.findall(r"(`low_light`, [^.]*)\.", TEXT)
    assert tuple(re.findall(r"`(\w+)`", listed)) == labels("+".join(degradation_names()))


def test_the_examples_run():
    for code in re.findall(r"```python\n(.*?)```", TEXT, re.S):
        exec(code, {})
    (section,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.S)
    options = yaml.safe_load(section)
    check_parameters(options["degradation"], options["parameters"])


def test_a_sheet_shows_what_restores_beside_each_degradation():
    photograph = np.random.default_rng(0).integers(60, 200, (64, WIDTH, 3), np.uint8)
    seen = []

    def restore(image):
        seen.append(image)
        return np.full_like(image, 0.25)

    sheet = contact_sheet(photograph, ["noise", "haze"], 0, restore)
    plain = contact_sheet(photograph, ["noise", "haze"], 0)
    assert len(seen) == 3 and seen[0].shape == (64, WIDTH, 3)
    height, width = plain.shape[0], plain.shape[1] // 4  # of a picture
    assert sheet.shape == (2 * height, 4 * width, 3)
    pictures = [sheet[y : y + height, x : x + width] for y in (0, height) for x in range(0, 4 * width, width)]
    inner = np.s_[30 : 30 + 50, 10:-10]
    for number, place in enumerate((0, 2, 4)):
        np.testing.assert_array_equal(pictures[place][inner], plain[:, number * width : (number + 1) * width][inner])
        assert (pictures[place + 1][inner] == 64).all()


def test_the_included_network_restores_on_a_sheet(run, photograph, tmp_path):
    code, text, _ = run(photograph, "--sheet", tmp_path / "sheet.png", "--restored", "--json")
    assert code == 0
    assert len(json.loads(text)["degradations"]) == 10
    assert read_image(tmp_path / "sheet.png").shape[1] == 4 * (WIDTH + 12)
