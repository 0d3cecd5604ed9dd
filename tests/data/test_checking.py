"""What is wrong with data is found: each fault is planted into data that is right."""

from __future__ import annotations

import json
import shutil

import cv2
import numpy as np
import pytest
from PIL import Image
from small_archives import image

from dcpt_data.images.pixels import write_image
from dcpt_data.preparation.checking import check, sets_of_options, sets_of_sources
from dcpt_data.preparation.lmdb_creation import create_lmdb
from dcpt_data.preparation.lmdb_plans import plan_source
from dcpt_data.preparation.preparing import RECORD
from dcpt_data.preparation.stand_ins import MANIFEST, plan, stand_ins, synthesise
from dcpt_data.sources.published import expand, get_source

NAMES = ("LOL-train", "LOL-test")


def photograph(number):
    """A smooth image that no other number gives, 48 x 64 pixels."""
    coarse = np.random.default_rng(number).integers(0, 256, (6, 8, 3), np.uint8)
    return cv2.resize(coarse, (64, 48), interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def root(tmp_path):
    """LOL with 485 pairs where there are 4, of 2 to test on, and a record that says so: nothing is wrong."""
    for name, numbers in zip(NAMES, (range(4), range(10, 12)), strict=True):
        source = get_source(name)
        for number in numbers:
            for folder, pixels in (("high", photograph(number)), ("low", photograph(number) // 3)):
                file = tmp_path / source.folder / folder / f"{number}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                write_image(file, pixels)
    return tmp_path


def judge(root, *names, quick=False, report=lambda done, total: None):
    findings = sets_of_sources(expand(names), str(root))
    for finding in findings:
        if finding.name in NAMES:
            finding.expected = {"LOL-train": 4, "LOL-test": 2}[finding.name]
    check(findings, quick, report)
    return {finding.name: finding for finding in findings}


def faults(root, *names, quick=False):
    """All messages, by set and kind."""
    return {name: one.problems for name, one in judge(root, *(names or NAMES), quick=quick).items() if one.problems}


def test_nothing_is_wrong_with_right_data(root):
    found = judge(root, *NAMES)
    assert [(one.found, one.expected, one.unused, one.problems) for one in found.values()] == [
        (4, 4, 0, {}),
        (2, 2, 0, {}),
    ]
    assert [(one.part, one.stand_in) for one in found.values()] == [("train", False), ("test", False)]


def test_a_missing_folder_is_found(root):
    shutil.rmtree(root / "LOL-v1/eval15/low")
    assert faults(root) == {"LOL-test": {"missing": [f"{root / 'LOL-v1/eval15/low'}: no such folder"]}}


def test_an_empty_folder_is_found(root):
    shutil.rmtree(root / "LOL-v1/eval15/low")
    (root / "LOL-v1/eval15/low").mkdir()
    (message,) = faults(root)["LOL-test"]["missing"]
    assert "no images in this folder" in message


@pytest.mark.parametrize("quick", [False, True])
def test_a_missing_degraded_image_is_found_by_the_count(quick, root):
    (root / "LOL-v1/our485/low/2.png").unlink()
    assert faults(root, quick=quick) == {"LOL-train": {"count": ["3 found, 4 expected"]}}
    assert judge(root, "LOL-train")["LOL-train"].unused == 1


@pytest.mark.parametrize("quick", [False, True])
def test_a_degraded_image_without_ground_truth_is_found(quick, root):
    (root / "LOL-v1/our485/high/2.png").unlink()
    low, high = root / "LOL-v1/our485/low/2.png", root / "LOL-v1/our485/high"
    assert faults(root, quick=quick)["LOL-train"]["unpaired"] == [f"{low}: no ground truth in {high}"]


def test_a_sharp_frame_is_missing_in_a_shared_folder(root):
    for kind in ("blur", "sharp"):
        for number in (1, 2):
            file = root / "GoPro/test/GOPR1" / kind / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            write_image(file, image(number))
    (root / "GoPro/test/GOPR1/sharp/2.png").unlink()
    finding = judge(root, "GoPro-test", quick=True)["GoPro-test"]
    assert (finding.found, finding.unused) == (1, 0)
    (message,) = finding.problems["unpaired"]
    assert "GOPR1/blur/2.png" in message


def test_names_that_are_ambiguous_are_found(root):
    write_image(root / "LOL-v1/our485/high/2.jpg", photograph(2))
    (message,) = faults(root)["LOL-train"]["missing"]
    assert "share one name" in message


def test_unreadable_images_are_found_and_named_once(root):
    damaged = root / "RESIDE/SOTS/outdoor/gt/0001.png"
    for name in ("gt/0001.png", "hazy/0001_0.8_0.2.png", "hazy/0001_1_0.2.png"):
        (root / "RESIDE/SOTS/outdoor" / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(root / "RESIDE/SOTS/outdoor" / name, photograph(len(name)))
    damaged.write_bytes(damaged.read_bytes()[:300])
    (root / "LOL-v1/our485/low/3.png").write_bytes(b"not an image")
    found = faults(root, *NAMES, "SOTS-outdoor")
    (gt,) = found["SOTS-outdoor"]["unreadable"]
    assert str(damaged) in gt
    (lq,) = found["LOL-train"]["unreadable"]
    assert "low/3.png" in lq and "not an image" in lq
    assert "unreadable" not in faults(root, *NAMES, quick=True).get("LOL-train", {})


def test_pairs_of_unequal_sizes_are_found(root):
    write_image(root / "LOL-v1/our485/low/3.png", photograph(3)[:40])
    (message,) = faults(root)["LOL-train"]["sizes"]
    assert "high/3.png" in message and "low/3.png" in message and "64x48 and 64x40" in message


def test_a_pair_that_comes_twice_is_found_whatever_its_format(root):
    for folder in ("high", "low"):
        home = root / "LOL-v1/our485" / folder
        pixels = cv2.imread(str(home / "1.png"))
        (home / "3.png").unlink()
        cv2.imwrite(str(home / "3.bmp"), pixels)
    (message,) = faults(root)["LOL-train"]["duplicates"]
    assert message == f"{root / 'LOL-v1/our485/low/3.bmp'} is {root / 'LOL-v1/our485/low/1.png'} once more"


def test_one_ground_truth_under_several_degradations_is_no_duplicate(root):
    write_image(root / "LOL-v1/our485/high/3.png", photograph(1))
    assert faults(root) == {}


def test_a_photograph_that_comes_twice_is_found(root):
    (root / "WED").mkdir()
    for name, number in (("a.png", 1), ("b.png", 2), ("c.bmp", 1)):
        write_image(root / "WED" / name, photograph(number))
    assert faults(root, "WED")["WED"]["duplicates"] == [f"{root / 'WED/c.bmp'} is {root / 'WED/a.png'} once more"]


@pytest.mark.parametrize(
    ("copy", "words"),
    [
        (lambda pixels: pixels, "has the pixels of"),
        (lambda pixels: cv2.resize(pixels, (32, 24), interpolation=cv2.INTER_AREA), "looks like"),
        (lambda pixels: cv2.imdecode(cv2.imencode(".jpg", pixels)[1], cv2.IMREAD_COLOR), "looks like"),
    ],
    ids=["equal", "half the size", "encoded again"],
)
def test_a_test_photograph_that_is_trained_on_is_found(copy, words, root):
    (root / "BSD400").mkdir()
    write_image(root / "BSD400/x.png", copy(photograph(11)))
    write_image(root / "BSD400/y.png", photograph(55))
    (message,) = faults(root, *NAMES, "BSD400")["LOL-test"]["leakage"]
    test, train = root / "LOL-v1/eval15/high/11.png", root / "BSD400/x.png"
    assert message == f"{test} {words} {train}, trained on in BSD400"


def test_training_sets_may_share_photographs(root):
    (root / "BSD400").mkdir()
    write_image(root / "BSD400/x.png", photograph(1))
    assert "leakage" not in faults(root, "LOL-train", "BSD400")["BSD400"]


# How many are expected


def test_stand_ins_are_expected_as_they_were_made(crop_folder, tmp_path):
    plans = plan(crop_folder, "3d", seed=0, test_share=0.34)
    synthesise(plans, tmp_path, 0, lambda *call: None)
    found = judge(tmp_path, "RESIDE-OTS", "BSD400", "CBSD68")
    assert all(one.stand_in and not one.problems for one in found.values())
    assert [(one.found, one.expected) for one in found.values()] == [(4, 4), (4, 4), (2, 2)]
    next((tmp_path / "BSD400").glob("*.png")).unlink()
    assert faults(tmp_path, "BSD400") == {"BSD400": {"count": ["3 found, 4 expected"]}}


@pytest.mark.parametrize(("crops", "expected"), [([512, 256], 16824), ([16, 8], 3)])
def test_crops_are_expected_as_they_were_cut(crops, expected, root):
    for kind in ("blur", "sharp"):
        file = root / "GoPro/train_crops/GOPR1" / kind / "1_s001.png"
        file.parent.mkdir(parents=True)
        write_image(file, image(1))
    record = {"crops": crops, "counts": {"GoPro-train-crops": 3}}
    (root / "GoPro/train_crops" / RECORD).write_text(json.dumps(record), encoding="utf-8")
    found = judge(root, "GoPro-train-crops", quick=True)["GoPro-train-crops"]
    assert (found.found, found.expected) == (1, expected)


def test_published_data_are_expected_as_published(tmp_path):
    (finding,) = sets_of_sources([get_source("SOTS-outdoor")], str(tmp_path))
    assert (finding.expected, finding.stand_in) == (500, False)
    assert not (tmp_path / MANIFEST).exists()


# Reading


def test_every_image_is_read_once_however_many_sets_it_is_in(root):
    calls = []
    judge(root, *NAMES, "LOL-train", report=lambda *call: calls.append(call))
    assert calls == [(n, 12) for n in range(1, 13)]
    calls.clear()
    judge(root, *NAMES, quick=True, report=lambda *call: calls.append(call))
    assert calls == []


def test_the_sets_of_an_option_file_are_found_each_once(root):
    datasets = {
        "train": {
            "type": "DegradationMixtureDataset",
            "datasets_root": str(root),
            "sets": {
                "low_light": {"source": "LOL-train"},
                "noise": {"degradation": "noise", "dataroot_gt": str(root / "LOL-v1/our485/high")},
                "jpeg": {"degradation": "jpeg", "dataroot_gt": str(root / "LOL-v1/our485/high")},
            },
        },
        "val_low": {"type": "DegradationDataset", "name": "low", "source": "LOL-test", "datasets_root": str(root)},
        "val_own": {"type": "DegradationDataset", "name": "own", "degradation": "noise"}
        | {"dataroot_gt": str(root / "LOL-v1/eval15/high")},
    }
    findings = sets_of_options(datasets)
    assert [(one.name, one.part, one.expected) for one in findings] == [
        ("LOL-train", "train", 485),
        ("train:noise", "train", None),
        ("LOL-test", "test", 15),
        ("val_own:own", "test", None),
    ]
    write_image(root / "LOL-v1/our485/high/0.png", photograph(10))
    check(findings, False, lambda *call: None)
    # The photograph is in two training sets and in two test sets; each test set says so.
    assert [list(one.problems) for one in findings] == [["count"], [], ["count", "leakage"], ["leakage"]]


def test_lmdbs_are_checked_where_they_are_what_is_read(root):
    for name in NAMES:
        for planned in plan_source(name, root, "raw"):
            create_lmdb(planned, workers=1)
    section = {"type": "DegradationDataset", "datasets_root": str(root), "io_backend": {"type": "lmdb"}}
    datasets = {"train": {**section, "source": "LOL-train"}, "val": {**section, "source": "LOL-test"}}
    write_image(root / "LOL-v1/our485/high/0.png", photograph(10))  # in the folders alone
    findings = sets_of_options(datasets)
    check(findings, False, lambda *call: None)
    assert [(one.found, list(one.problems)) for one in findings] == [(4, ["count"]), (2, ["count"])]
    shutil.rmtree(root / "lmdb/LOL-test.lmdb")
    findings = sets_of_options(datasets)
    check(findings, False, lambda *call: None)
    assert list(findings[1].problems) == ["missing"]


def test_an_lmdb_of_a_stand_in_is_told_as_one(crop_folder, tmp_path):
    synthesise(plan(crop_folder, "3d", seed=0, test_share=0.34), tmp_path, 0, lambda *call: None)
    for planned in plan_source("CBSD68", tmp_path, "raw"):
        create_lmdb(planned, workers=1)
    shutil.rmtree(tmp_path / "CBSD68")
    section = {"type": "DegradationDataset", "name": "BSD68", "source": "CBSD68", "datasets_root": str(tmp_path)}
    section["io_backend"] = {"type": "lmdb"}
    (finding,) = sets_of_options({"val": section})
    check([finding], False, lambda *call: None)
    assert (finding.stand_in, finding.found, finding.problems) == (True, 2, {})
    assert stand_ins({"val": section}) == ["BSD68"]


def test_pairs_that_are_stored_in_two_orientations_are_found(root):
    exif = Image.Exif()
    exif[274] = 6
    high, low = (root / get_source("LOL-train").folder / side / "2.png" for side in ("high", "low"))
    Image.fromarray(np.rot90(photograph(2), 1)).save(high, exif=exif)
    assert faults(root) == {
        "LOL-train": {
            "orientations": [
                f"{high} has EXIF orientation 6 and {low} has 1; if one was made of the other's stored pixels, give "
                "both the same"
            ]
        }
    }


def test_photographs_of_one_name_are_found(tmp_path):
    for name in ("a.png", "a.jpg"):
        write_image(tmp_path / name, photograph(1))
    section = {"name": "own", "type": "DegradationDataset", "degradation": "noise", "dataroot_gt": str(tmp_path)}
    findings = sets_of_options({"val_own": section})
    check(findings, True, lambda done, total: None)
    assert "a.jpg and a.png share one name" in findings[0].problems["missing"][0]
