"""The catalogue of published data sets, and the message for those that are not there."""

from __future__ import annotations

import re

import pytest

from dcpt_data import check_folders
from dcpt_data.degradations import check_parameters
from dcpt_data.errors import DataError
from dcpt_data.sources.pairing import find_pairs, lq_name
from dcpt_data.sources.published import Crops, expand, get_source, known_groups, known_settings, known_sources, sharing

every_source = pytest.mark.parametrize("source", known_sources().values(), ids=lambda source: source.name)


# The catalogue


@every_source
def test_a_source_is_of_a_degradation_that_its_stand_in_can_be_made_by(source):
    check_parameters(source.stand_in or source.degradation, {})
    if source.stand_in:
        with pytest.raises(ValueError, match="unknown degradation"):
            check_parameters(source.degradation, {})


@every_source
def test_a_source_says_what_it_is_and_where_it_comes_from(source):
    assert re.search(r"\((as collected by )?\w+( et al\.| and \w+)?,( \w+)? (19|20)\d\d\)", source.about)
    assert source.where.startswith("https://")
    assert source.count is None or source.count > 0
    assert None in (source.size, source.size_about)
    assert source.part in ("train", "test")
    assert source.layouts
    assert all((layout.lq is None) == (source.lq is None) for layout in source.layouts)


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
    shared = sharing(known_sources().values())
    folders = [f"{folder}/" for folder in shared]
    assert not [(a, b) for a in folders for b in folders if a is not b and a.startswith(b)]
    for sources in shared.values():
        # What shares a folder shares its ground truth, and is prepared and made as one.
        assert len({(source.gt, str(source.pairing), source.part, source.crops) for source in sources}) == 1
        assert len({source.lq for source in sources}) == len(sources)


def test_the_papers_data_sets_are_there():
    counts = {
        "RESIDE-OTS": 72135, "SOTS-outdoor": 500, "Rain100L-train": 200, "Rain100L": 100, "BSD400": 400, "WED": 4744,
        "GoPro-train": 2103, "GoPro-test": 1111, "LOL-train": 485, "LOL-test": 15, "CBSD68": 68, "Kodak24": 24,
        "Urban100": 100, "DPDD-test": 76, "Snow100K-train": 50000, "UIEB": 890,
    }  # fmt: skip
    assert {name: known_sources()[name].count for name in counts} == counts
    assert sum(source.count for source in expand(["CDD-11-train"])) == 13013
    assert sum(source.count for source in expand(["CDD-11-test"])) == 2200


def test_crops_are_those_of_the_field():
    assert get_source("GoPro-train-crops").crops == Crops(512, 256)
    assert get_source("GoPro-train-crops").layouts == get_source("GoPro-train").layouts


# Groups


def test_members_share_an_entry_and_have_names_folders_and_degradations_of_their_own():
    low, haze_snow = get_source("CDD-11-train-low"), get_source("CDD-11-train-haze_snow")
    assert (low.degradation, haze_snow.degradation) == ("low_light", "haze+snow")
    assert (low.gt, low.lq, haze_snow.gt, haze_snow.lq) == ("clear", "low", "clear", "haze_snow")
    assert haze_snow.layouts[0].lq == "haze_snow/{}" and haze_snow.layouts[0].gt == "clear/{}"
    assert len(known_groups()["CDD-11-train"]) == 11


def test_a_group_stands_for_its_members_each_once():
    assert [source.name for source in expand(["WED", "DFWB"])] == ["WED", "DIV2K", "Flickr2K", "BSD400"]
    assert all(name in known_sources() for members in known_groups().values() for name in members)
    with pytest.raises(DataError, match="'DF2K' is a group of data sets; name them one by one: DIV2K, Flickr2K"):
        get_source("DF2K")
    with pytest.raises(DataError, match=r"no data set named 'DFBW'.*did you mean 'DFWB'\?"):
        expand(["DFBW"])


# Settings


@pytest.mark.parametrize("setting", known_settings())
def test_a_setting_names_known_sources_for_training_and_test_of_the_same_degradations(setting):
    parts = known_settings()[setting]
    assert set(parts) == {"train", "test"}
    degradations = {}
    for part, names in parts.items():
        assert len(set(names)) == len(names)
        degradations[part] = {get_source(name).degradation for name in names}
        assert all(get_source(name).part == part for name in names)
    assert degradations["train"] == degradations["test"] or not parts["train"]


@pytest.mark.parametrize(
    ("setting", "degradations"),
    [
        ("3d", {"haze", "rain", "noise"}),
        ("5d", {"haze", "rain", "noise", "motion_blur", "low_light"}),
        # JPEG, demosaicing and inpainting are made from the photographs that noise is added to.
        ("10d", {"haze", "rain", "noise", "motion_blur", "low_light", "defocus_blur", "snow"}),
        ("transfer", {"rain", "noise", "motion_blur"}),
        ("gopro", {"motion_blur"}),
    ],
)
def test_a_setting_has_the_papers_degradations(setting, degradations):
    assert {get_source(name).degradation for name in known_settings()[setting]["train"]} == degradations


def test_the_mixed_setting_has_all_members():
    parts = known_settings()["cdd11"]
    assert parts == {part: known_groups()[f"CDD-11-{part}"] for part in ("train", "test")}


# Names


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
    assert lines[1:-3:2] == [f"  {tmp_path / folder}" for folder in folders]
    for line, degradation, source in zip(
        lines[2:-3:2],
        ["haze", "haze", "rain", "motion_blur", "noise"],
        ["RESIDE-OTS", "RESIDE-OTS", "Rain200L", "GoPro-test", None],
        strict=True,
    ):
        about = f"{get_source(source).about}; {get_source(source).where}" if source else "your own folder"
        assert line.strip() == f"{degradation}: {about}"
    assert "path:datasets_root" in lines[-3]
    assert lines[-2].strip() == "dcpt prepare NAME --from UNPACKED_ARCHIVE --root datasets"
    assert lines[-1].strip().startswith("dcpt synthesize --gt FOLDER_OF_PHOTOGRAPHS --setting 5d --out")


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
