"""Stand-ins for the published data sets: what is made, what is kept, what is refused, and the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
import yaml
from basicsr.data import build_dataset

from dcpt_data import DataError, check_folders
from dcpt_data.images.pixels import list_images, read_image, to_float, to_uint8, write_image
from dcpt_data.preparation.stand_ins import MANIFEST, plan, split, stand_ins, synthesise
from dcpt_data.sources.published import get_source, known_settings
from dcpt_tools.data.synthesize import parser

ROOT = Path(__file__).parents[2]
COMMAND = ROOT / "tools" / "synthesize.py"
SHARE = 0.34  # two of the six photographs
SINGLE = {"name": "single", "type": "DegradationDataset", "phase": "val", "scale": 1}
NAMES = [name for part in ("train", "test") for name in known_settings()["5d"][part]]


def silent(done, total, name):
    pass


def make(photographs, out, seed=0, report=silent):
    return synthesise(plan(photographs, "5d", seed=0, test_share=SHARE), out, seed, report)


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.fixture(scope="module")
def made(crop_folder, tmp_path_factory):
    """All stand-ins of the 5D setting, to be read only."""
    out = tmp_path_factory.mktemp("datasets")
    assert make(crop_folder, out) == []
    return out


def sections(out):
    """The data sets of the option files, below another root."""
    found = {}
    for name in ("data/5d_train.yml", "data/5d_test.yml"):
        text = (ROOT / "options" / "_base_" / name).read_text(encoding="utf-8")
        for key, opt in yaml.safe_load(text)["datasets"].items():
            found[key] = {**opt, "phase": key.split("_")[0], "scale": 1, "datasets_root": str(out)}
    return found


def image_sets(dataset):
    return dataset.parts if hasattr(dataset, "parts") else [dataset.images]


# What is made


def test_option_files_read_all_that_is_made_and_nothing_else(made):
    check_folders(sections(made))
    read = set()
    for opt in sections(made).values():
        for images in image_sets(build_dataset(opt)):
            assert len(images) == (4 if opt["phase"] == "train" else 2)
            read |= {path for pair in images.pairs for path in pair if path is not None}
    assert read == set(list_images(made))
    others = {path for path in made.rglob("*") if path.is_file()} - read
    assert others == {made / get_source(name).folder / MANIFEST for name in NAMES}


def test_every_data_set_of_the_option_files_gives_samples(made):
    seen = {}
    for key, opt in sections(made).items():
        dataset = build_dataset({**opt, "gt_size": 48} if key == "train" else opt)
        starts = [0, *accumulate(dataset.lengths)][:-1] if key == "train" else [0]
        for sample in (dataset[start] for start in starts):
            assert not np.array_equal(sample["lq"], sample["gt"])
            seen.setdefault(opt["phase"], set()).add(sample["degradation"])
    assert seen["train"] == seen["val"] == {"haze", "rain", "noise", "motion_blur", "low_light"}


def test_photographs_for_training_and_test_are_disjoint(made, crops):
    pixels = {"train": set(), "val": set()}
    for opt in sections(made).values():
        for images in image_sets(build_dataset(opt)):
            found = {read_image(gt).tobytes() for _, gt in images.pairs}
            assert len(found) == len(images)
            pixels[opt["phase"]] |= found
    assert not pixels["train"] & pixels["val"]
    assert pixels["train"] | pixels["val"] == {image.tobytes() for image in crops.values()}


def test_equal_seeds_give_equal_bytes(made, crop_folder, tmp_path):
    make(crop_folder, tmp_path)
    assert content(tmp_path) == content(made)


def test_other_seeds_degrade_differently(made, crop_folder, tmp_path):
    make(crop_folder, tmp_path, seed=1)
    first, second = content(made), content(tmp_path)
    assert first.keys() == second.keys()
    degraded = set()
    for name in NAMES:
        source = get_source(name)
        for lq, _ in image_sets(build_dataset({**SINGLE, "source": name, "datasets_root": str(made)}))[0].pairs:
            if source.lq is not None:
                degraded.add(lq.relative_to(made).as_posix())
    assert degraded
    for file in first:
        if not file.endswith(MANIFEST):
            assert (first[file] != second[file]) == (file in degraded), file


def test_photographs_of_confusable_names_keep_their_own_files(tmp_path, crops):
    # Equal stems far apart, underscores, and a name that is another's number: all must keep their own file.
    names = ["x/a.png", "y/a.png", "z/a-2.png", "z/b_1.png", "z/b-1.png"]
    for name, image in zip(names, crops.values(), strict=False):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(tmp_path / "in" / name, image)
    (tmp_path / "test").mkdir()
    write_image(tmp_path / "test" / "t.png", crops["tower"])
    plans = plan(tmp_path / "in", "5d", seed=0, test_folder=tmp_path / "test")
    synthesise(plans, tmp_path / "out", 0, silent)
    expected = {image.tobytes() for image in list(crops.values())[:5]}
    for name in known_settings()["5d"]["train"]:
        dataset = build_dataset({**SINGLE, "source": name, "datasets_root": str(tmp_path / "out")})
        assert {read_image(gt).tobytes() for _, gt in dataset.images.pairs} == expected
    for name in known_settings()["5d"]["test"]:
        dataset = build_dataset({**SINGLE, "source": name, "datasets_root": str(tmp_path / "out")})
        assert [read_image(gt).tobytes() for _, gt in dataset.images.pairs] == [crops["tower"].tobytes()]


def test_16_bit_photographs_become_8_bit_ones(tmp_path, crops):
    (tmp_path / "in").mkdir()
    for name, image in list(crops.items())[:2]:
        write_image(tmp_path / "in" / f"{name}.png", image.astype(np.uint16) * 257 - (image == 255))
    make(tmp_path / "in", tmp_path / "out")
    for path in list_images(tmp_path / "out"):
        assert read_image(path).dtype == np.uint8
    bsd = read_image(next((tmp_path / "out/BSD400").glob("*.png")))
    assert any(np.array_equal(bsd, to_uint8(to_float(image))) for image in crops.values())


def test_progress_counts_every_image_once(crop_folder, tmp_path):
    calls = []
    make(crop_folder, tmp_path, report=lambda *call: calls.append(call))
    total = 6 * 4 + 5 * 2
    assert [call[:2] for call in calls] == [(i + 1, total) for i in range(total)]
    assert list(dict.fromkeys(call[2] for call in calls)) == [get_source(name).folder for name in NAMES]


@pytest.mark.parametrize("setting", [name for name in known_settings() if name != "5d"])
def test_every_setting_can_be_made_and_read(setting, crops, tmp_path):
    for name, image in list(crops.items())[:2]:
        (tmp_path / "in").mkdir(exist_ok=True)
        write_image(tmp_path / "in" / f"{name}.png", image[:40, :48])
    plans = plan(tmp_path / "in", setting, seed=0, test_share=0.5)
    assert synthesise(plans, tmp_path / "out", 0, silent) == []
    read = set()
    for part, names in known_settings()[setting].items():
        for name in names:
            dataset = build_dataset({**SINGLE, "source": name, "datasets_root": str(tmp_path / "out")})
            # With nothing to train on, all photographs are for testing.
            assert len(dataset) == (1 if known_settings()[setting]["train"] else 2), part
            sample = dataset[0]
            assert sample["degradation"] == get_source(name).degradation
            assert not np.array_equal(sample["lq"], sample["gt"])
            read |= {path for pair in dataset.images.pairs for path in pair if path is not None}
    assert read == set(list_images(tmp_path / "out"))


def test_a_mixture_is_degraded_by_all_its_parts(crops, tmp_path):
    write_image(tmp_path / "grey.png", np.full((32, 32, 3), 60, np.uint8))
    write_image(tmp_path / "other.png", crops["cat"])
    synthesise(plan(tmp_path, "cdd11", seed=0, test_share=0.5), tmp_path / "out", 0, silent)
    home = next(folder for folder in (tmp_path / "out/CDD-11").iterdir() if (folder / "clear/grey.png").exists())
    mean = {name: read_image(home / name / "grey.png").mean() for name in ("low", "haze", "low_haze", "low_haze_snow")}
    assert mean["low"] < 60 < mean["haze"]
    assert mean["low"] < mean["low_haze"]
    assert not np.array_equal(read_image(home / "low_haze/grey.png"), read_image(home / "low_haze_snow/grey.png"))
    assert len(list_images(home)) == 12


# Calling again


def test_a_second_call_keeps_what_is_there(made, crop_folder):
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*")}
    calls = []
    assert make(crop_folder, made, report=lambda *call: calls.append(call)) == NAMES
    assert calls == []
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*")} == before


def test_an_interrupted_call_is_completed(made, crop_folder, tmp_path):
    def interrupt(done, total, name):
        if name == get_source("BSD400").folder:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(crop_folder, tmp_path, report=interrupt)
    # What is not whole has no name that option files know.
    assert (tmp_path / ".BSD400.partial").is_dir() and not (tmp_path / "BSD400").exists()
    (tmp_path / ".BSD400.partial" / "cut.png").write_bytes(b"half a file")
    assert make(crop_folder, tmp_path) == ["RESIDE-OTS", "Rain100L-train"]
    assert content(tmp_path) == content(made)


def test_a_removed_data_set_alone_is_made_again(made, crop_folder, tmp_path):
    make(crop_folder, tmp_path)
    for path in (tmp_path / "WED").iterdir():
        path.unlink()
    (tmp_path / "WED").rmdir()
    assert make(crop_folder, tmp_path) == [name for name in NAMES if name != "WED"]
    assert content(tmp_path) == content(made)


def refusal(function, *args, **kwargs):
    with pytest.raises(DataError) as caught:
        function(*args, **kwargs)
    return str(caught.value)


def test_data_of_another_seed_is_not_overwritten(made, crop_folder):
    before = content(made)
    message = refusal(make, crop_folder, made, seed=1)
    assert str(made / "RESIDE/OTS") in message and "another seed" in message and "--out" in message
    assert content(made) == before


def test_data_of_other_photographs_is_not_overwritten(made, crops, tmp_path):
    for name, image in list(crops.items())[:3]:
        write_image(tmp_path / f"{name}.png", image)
    assert "from other photographs" in refusal(make, tmp_path, made)


@pytest.mark.parametrize("content_of_it", [[], ["photo.png"]], ids=["empty", "filled"])
def test_a_folder_of_something_else_is_not_touched(crop_folder, tmp_path, content_of_it):
    (tmp_path / "LOL-v1/eval15").mkdir(parents=True)
    for name in content_of_it:
        (tmp_path / "LOL-v1/eval15" / name).touch()
    before = sorted(tmp_path.rglob("*"))
    message = refusal(make, crop_folder, tmp_path)
    assert str(tmp_path / "LOL-v1/eval15") in message and "made by something else" in message
    # The last set of all is refused before the first is made.
    assert sorted(tmp_path.rglob("*")) == before


def test_stand_ins_are_told_from_published_data(made, tmp_path):
    tests = {key: opt for key, opt in sections(made).items() if key != "train"}
    assert stand_ins(tests) == [opt["name"] for opt in tests.values()]
    assert stand_ins({key: {**opt, "datasets_root": str(tmp_path)} for key, opt in tests.items()}) == []
    own = {"name": "own", "type": "DegradationDataset", "degradation": "rain", "dataroot_gt": "x"}
    assert stand_ins({"val": own}) == []
    # Of a mixture, one part is enough.
    train = {"train": sections(made)["train"]}
    assert stand_ins(train) == ["5D"]


# What is refused


def test_an_unreadable_photograph_is_named_and_its_set_does_not_appear(crop_folder, crops, tmp_path):
    (tmp_path / "in").mkdir()
    for name, image in crops.items():
        write_image(tmp_path / "in" / f"{name}.png", image)
    damaged = plan(tmp_path / "in", "5d", 0, SHARE)[0].photographs[1]
    damaged.write_bytes(damaged.read_bytes()[:900])
    assert str(damaged) in refusal(make, tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out/RESIDE/OTS").exists()


def test_an_unknown_setting_is_refused(crop_folder):
    message = refusal(plan, crop_folder, "6d", 0)
    assert message.startswith("no setting '6d'; known: 3d, 5d, 10d, cdd11, transfer")


def test_one_photograph_is_too_few(crops, tmp_path):
    write_image(tmp_path / "a.png", crops["cat"])
    assert "need two photographs or more" in refusal(plan, tmp_path, "5d", 0)


@pytest.mark.parametrize("share", [0, 1, -0.5, 2, float("nan")])
def test_a_share_outside_0_to_1_is_refused(crop_folder, share):
    assert "a test share in (0, 1)" in refusal(plan, crop_folder, "5d", 0, share)


@pytest.mark.parametrize("nested", [False, True])
def test_test_photographs_among_the_training_ones_are_refused(crops, tmp_path, nested):
    (tmp_path / "test").mkdir()
    write_image(tmp_path / "a.png", crops["cat"])
    write_image(tmp_path / "test" / "b.png", crops["cup"])
    train = tmp_path if nested else tmp_path / "test"
    message = refusal(plan, train, "5d", 0, test_folder=tmp_path / "test")
    assert "1 test photographs lie in" in message and "b.png" in message


# The split


@pytest.mark.parametrize(
    ("count", "share", "tests"), [(2, 0.01, 1), (2, 0.99, 1), (10, 0.1, 1), (10, 0.34, 3), (3, 0.9, 2)]
)
def test_a_split_leaves_at_least_one_on_each_side(count, share, tests):
    photographs = [Path(f"{i}.png") for i in range(count)]
    train, test = split(photographs, share, 0)
    assert len(test) == tests
    assert sorted(train + test) == sorted(photographs)
    assert not set(train) & set(test)


def test_a_split_follows_the_seed():
    photographs = [Path(f"{i:02}.png") for i in range(40)]
    assert split(photographs, 0.5, 1) == split(photographs, 0.5, 1)
    assert split(photographs, 0.5, 1) != split(photographs, 0.5, 2)
    assert split(photographs, 0.5, 1)[1] != photographs[:20]


# The command


def run(*arguments, cwd):
    return subprocess.run(
        [sys.executable, str(COMMAND), *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )


def test_the_command_prints_one_json_object_from_any_directory(made, crop_folder, tmp_path):
    done = run("--gt", crop_folder, "--out", "data", "--test-share", SHARE, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert set(answer) == {"sets", "seconds"}
    assert list(answer["sets"]) == NAMES
    for name, entry in answer["sets"].items():
        source = get_source(name)
        images = 4 if name in known_settings()["5d"]["train"] else 2
        folder = str(Path("data", source.folder))
        assert entry == {"degradation": source.degradation, "folder": folder, "images": images, "kept": False}
    assert content(tmp_path / "data") == content(made)


def test_the_command_ends_with_1_and_one_message_where_a_folder_is_missing(tmp_path):
    done = run("--gt", tmp_path / "nowhere", "--json", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: {tmp_path / 'nowhere'}: no such folder\n"
    assert not list(tmp_path.iterdir())


def test_the_command_ends_with_2_where_it_is_given_wrong_arguments(tmp_path):
    done = run("--gt", tmp_path, "--sed", "x", "--setting", "6d", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: synthesize.py") and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--gt"),
        (["--gt", "x", "--setting", "6d"], "invalid choice: '6d'"),
        (["--gt", "x", "--seed", "-1"], "whole number from 0, not '-1'"),
        (["--gt", "x", "--seed", "1.5"], "whole number from 0, not '1.5'"),
        (["--gt", "x", "--test-share", "a tenth"], "invalid float value"),
        (["--gt", "x", "--unknown"], "unrecognized arguments: --unknown"),
    ],
)
def test_wrong_arguments_are_told(arguments, words, capsys):
    # In this process, as each start of the command takes seconds.
    with pytest.raises(SystemExit) as caught:
        parser().parse_args(arguments)
    assert caught.value.code == 2
    assert words in capsys.readouterr().err
