"""The catalogue of published data sets, and the message for those that are not there."""

from __future__ import annotations

import re

import pytest

from dcpt_data import check_folders
from dcpt_data.degradations import DEGRADATIONS
from dcpt_data.errors import DataError
from dcpt_data.pairing import find_pairs, lq_name
from dcpt_data.sources import get_source, known_settings, known_sources

every_source = pytest.mark.parametrize("source", known_sources().values(), ids=lambda source: source.name)


# The catalogue


@every_source
def test_a_source_is_of_a_known_degradation(source):
    assert source.degradation in DEGRADATIONS


@every_source
def test_a_source_says_what_it_is_and_where_it_comes_from(source):
    assert re.search(r"\(\w+ et al\., .+ 20\d\d\)", source.about)
    assert source.where.startswith("https://")
    assert source.count > 0


@every_source
def test_a_source_stays_below_the_data_sets_root(source):
    for folder in filter(None, (source.folder, source.gt, source.lq)):
        assert not folder.startswith("/") and ".." not in folder.split("/")


@every_source
def test_a_source_has_a_rule_that_pairs_its_own_folders(source, tmp_path):
    if source.lq is None:
        assert source.pairing == "same"  # nothing to pair
        return
    name = source.pairing["gt"].format("s", "1") if isinstance(source.pairing, dict) else "1"
    gt, lq = tmp_path / source.gt / f"{name}.png", tmp_path / source.lq / f"{lq_name(source.pairing, name)}.png"
    for path in (gt, lq):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert find_pairs(tmp_path / source.lq, tmp_path / source.gt, source.pairing) == [(lq, gt)]


def test_no_two_sources_lie_in_one_another():
    # A stand-in of one would count as images of the other.
    folders = [f"{source.folder}/" for source in known_sources().values()]
    assert not [(a, b) for a in folders for b in folders if a is not b and a.startswith(b)]


@pytest.mark.parametrize("setting", known_settings())
def test_a_setting_names_known_sources_for_training_and_test_of_the_same_degradations(setting):
    parts = known_settings()[setting]
    assert set(parts) == {"train", "test"}
    degradations = {}
    for part, names in parts.items():
        assert len(set(names)) == len(names)
        degradations[part] = {get_source(name).degradation for name in names}
    assert degradations["train"] == degradations["test"]
    assert not set(parts["train"]) & set(parts["test"])


def test_the_5d_setting_has_the_papers_five_degradations():
    names = known_settings()["5d"]["train"]
    assert {get_source(name).degradation for name in names} == {"haze", "rain", "noise", "motion_blur", "low_light"}


def test_an_unknown_source_gets_the_nearest_name():
    with pytest.raises(DataError, match=r"no data set named 'Rain100l'.*did you mean 'Rain100L'\?"):
        get_source("Rain100l")


def test_a_source_that_is_like_no_other_gets_all_names():
    with pytest.raises(DataError) as caught:
        get_source("xyz")
    assert all(name in str(caught.value) for name in known_sources())


# Folders


def mixture(root, **sets):
    return {"name": "5D", "type": "DegradationMixtureDataset", "datasets_root": str(root), "sets": sets}


def single(root, **options):
    return {"name": "val", "type": "DegradationDataset", "datasets_root": str(root), **options}


def missing(datasets):
    with pytest.raises(DataError) as caught:
        check_folders(datasets)
    return str(caught.value)


def test_every_missing_folder_is_listed_at_once(tmp_path):
    (tmp_path / "Rain200L/train/norain").mkdir(parents=True)
    message = missing(
        {
            "train": mixture(tmp_path, haze={"source": "RESIDE-OTS"}, rain={"source": "Rain200L"}),
            "val_blur": single(tmp_path, source="GoPro-test"),
            "val_own": single(tmp_path, degradation="noise", dataroot_gt=str(tmp_path / "own")),
        }
    )
    lines = message.splitlines()
    folders = ["RESIDE/OTS/clear", "RESIDE/OTS/hazy", "Rain200L/train/rain", "GoPro/test", "own"]
    assert lines[0] == "5 folders of data are missing:"
    assert lines[1:-2:2] == [f"  {tmp_path / folder}" for folder in folders]
    for line, degradation, source in zip(
        lines[2:-2:2],
        ["haze", "haze", "rain", "motion_blur", "noise"],
        ["RESIDE-OTS", "RESIDE-OTS", "Rain200L", "GoPro-test", None],
        strict=True,
    ):
        about = f"{get_source(source).about}; {get_source(source).where}" if source else "your own folder"
        assert line.strip() == f"{degradation}: {about}"
    assert "path:datasets_root" in lines[-2]
    assert lines[-1].strip().startswith("python tools/synthesize.py --gt FOLDER_OF_PHOTOGRAPHS --setting 5d --out")


def test_a_folder_that_several_sets_miss_is_listed_once_with_all_of_them(tmp_path):
    own = {"dataroot_gt": str(tmp_path / "own")}
    message = missing({"train": mixture("x", a={"degradation": "rain", **own}, b={"degradation": "haze", **own})})
    assert message.startswith("1 folders")
    assert message.count(str(tmp_path / "own")) == 1
    assert "rain: your own folder" in message and "haze: your own folder" in message


def test_nothing_is_said_where_all_folders_are_there(tmp_path):
    for folder in ("RESIDE/SOTS/outdoor/gt", "RESIDE/SOTS/outdoor/hazy"):
        (tmp_path / folder).mkdir(parents=True)
    datasets = {"val_haze": single(tmp_path, source="SOTS-outdoor")}
    check_folders(datasets)
    (tmp_path / "RESIDE/SOTS/outdoor/hazy").rmdir()
    assert "1 folders" in missing(datasets)


def test_sets_of_another_package_are_not_judged(tmp_path):
    check_folders({"val": {"name": "x", "type": "PairedImageDataset", "dataroot_gt": str(tmp_path / "nowhere")}})


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"source": "RESIDE-OTC"}, "did you mean 'RESIDE-OTS'"),
        ({"degradation": "nois", "dataroot_gt": "x"}, "did you mean 'noise'"),
        ({"source": "WED", "parameters": {"sigm": 15}}, "did you mean 'sigma'"),
        ({"source": "WED", "repeat_ratio": 0}, "repeat_ratio of 'part' must be 1 or more"),
    ],
)
def test_what_is_wrong_in_a_part_is_told_before_folders_are(tmp_path, part, words):
    assert words in missing({"train": mixture(tmp_path, part=part)})
