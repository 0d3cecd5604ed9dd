"""Finding data sets in unpacked archives: every layout that is known, the tricky ones by hand, and what is refused."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from small_archives import every_layout, image, unpack

from dcpt_data.errors import DataError
from dcpt_data.images.pixels import read_image
from dcpt_data.preparation.archives import Unpacked, example, examples
from dcpt_data.sources.published import get_source

EVERY_LAYOUT = list(every_layout())


def place(folder: Path, *names: str) -> Path:
    """Empty files: archives are recognised by names."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def found(name, folder):
    return Unpacked(folder).find(get_source(name))


def sides(recognised):
    """Names in the data set -> paths below the root, of lq and gt."""
    return tuple(
        {name: path.relative_to(recognised.root).as_posix() for name, path in side.items()}
        for side in (recognised.lq, recognised.gt)
    )


def refusal(name, folder):
    with pytest.raises(DataError) as caught:
        found(name, folder)
    return str(caught.value)


# Every layout


def choices(layout):
    """How many alternatives a layout has where it has the most."""
    groups = re.findall(r"\(([^()]*)\)", " ".join(filter(None, (layout.root, layout.lq, layout.gt))))
    return max((len(group.split("|")) for group in groups), default=1)


EVERY_CHOICE = [(s, n, choice) for s, n in EVERY_LAYOUT for choice in range(choices(s.layouts[n]))]


@pytest.mark.parametrize(
    ("source", "number", "choice"), EVERY_CHOICE, ids=[f"{s.name}-{n}-{c}" for s, n, c in EVERY_CHOICE]
)
def test_a_layout_is_recognised_wherever_it_is_nested(source, number, choice, tmp_path):
    root = unpack(tmp_path / "downloads/2024", source, source.layouts[number], choice=choice)
    place(tmp_path, "downloads/other/thumbs/x.png", "downloads/readme.jpg")
    recognised = found(source.name, tmp_path / "downloads")
    assert recognised.layout in source.layouts
    assert recognised.root == (root if recognised.layout.root else tmp_path / "downloads")
    assert (recognised.count, recognised.unpaired, recognised.unused) == (2, [], 0)
    for index, path in enumerate(recognised.gt.values()):
        assert (read_image(path) == image(index)).all()
    assert len(recognised.lq) == (2 if source.lq is not None else 0)


@pytest.mark.parametrize(("source", "number"), EVERY_LAYOUT, ids=[f"{s.name}-{n}" for s, n in EVERY_LAYOUT])
def test_the_root_itself_may_be_given_under_any_name(source, number, tmp_path):
    root = unpack(tmp_path / "a", source, source.layouts[number])
    root.rename(tmp_path / "mine")
    assert found(source.name, tmp_path / "mine").count == 2


# By hand, as people have them


def test_ots_in_four_parts(tmp_path):
    names = ("part1/0001_0.8_0.2.jpg", "part1/0001_1_0.04.jpg", "part2/0530_0.85_0.1.jpg", "part4/8970_1_0.2.jpg")
    place(tmp_path / "OTS", *names, "clear/0001.jpg", "clear/0530.jpg", "clear/8970.jpg", "depth/0001.png")
    lq, gt = sides(found("RESIDE-OTS", tmp_path))
    assert list(lq) == ["0001_0.8_0.2", "0001_1_0.04", "0530_0.85_0.1", "8970_1_0.2"]
    assert lq["0530_0.85_0.1"] == "part2/0530_0.85_0.1.jpg"
    assert gt == {name: f"clear/{name}.jpg" for name in ("0001", "0530", "8970")}


def test_rain100l_with_its_level_folder(tmp_path):
    home = tmp_path / "rain_data_test_Light"
    place(
        home, "rain/X2/norain-001x2.png", "rain/X2/norain-002x2.png", "norain/norain-001.png", "norain/norain-002.png"
    )
    lq, gt = sides(found("Rain100L", tmp_path))
    assert lq == {"001": "rain/X2/norain-001x2.png", "002": "rain/X2/norain-002x2.png"}
    assert gt == {"001": "norain/norain-001.png", "002": "norain/norain-002.png"}


def test_rain100l_with_the_ground_truth_beside_its_folder(tmp_path):
    place(tmp_path / "Rain100L", "rainy/rain-001.png", "norain-001.png", "rainy/rain-002.png", "norain-002.png")
    lq, gt = sides(found("Rain100L", tmp_path))
    assert lq == {"001": "rainy/rain-001.png", "002": "rainy/rain-002.png"}
    assert gt == {"001": "norain-001.png", "002": "norain-002.png"}


def test_rain_in_one_folder(tmp_path):
    place(tmp_path / "RainTrainL", "rain-1.png", "norain-1.png", "rain-12.png", "norain-12.png")
    assert sides(found("Rain100L-train", tmp_path)) == (
        {"1": "rain-1.png", "12": "rain-12.png"},
        {"1": "norain-1.png", "12": "norain-12.png"},
    )


@pytest.mark.parametrize(
    ("rainy", "clean"),
    [
        ("rain/norain-12x2.png", "norain/norain-12.png"),
        ("rain/norain-12.png", "norain/norain-12.png"),
        ("rain/12.png", "norain/12.png"),
        ("rainy/rain-12.png", "gt/norain-12.png"),
        ("input/12.png", "target/12.png"),
    ],
)
def test_rain200l_under_all_its_names(rainy, clean, tmp_path):
    place(tmp_path / "Rain200L/train", rainy, clean)
    place(tmp_path / "Rain200L/test", rainy.replace("12", "7"), clean.replace("12", "7"))
    assert sides(found("Rain200L", tmp_path)) == ({"12": rainy}, {"12": clean})


def test_gopro_takes_blur_and_not_blur_gamma(tmp_path):
    for part, sequence in (("train", "GOPR0372_07_00"), ("test", "GOPR0384_11_00")):
        names = [f"{folder}/000047.png" for folder in ("blur", "blur_gamma", "sharp")]
        place(tmp_path / "GOPRO_Large" / part / sequence, *names, "frames.txt")
    lq, gt = sides(found("GoPro-train", tmp_path))
    assert lq == {"GOPR0372_07_00/blur/000047": "GOPR0372_07_00/blur/000047.png"}
    assert gt == {"GOPR0372_07_00/sharp/000047": "GOPR0372_07_00/sharp/000047.png"}
    assert found("GoPro-test", tmp_path / "GOPRO_Large").root == tmp_path / "GOPRO_Large/test"


def test_gopro_with_the_sequence_in_the_names(tmp_path):
    place(tmp_path / "train/GoPro", "input/GOPR0372_07_00-000047.png", "target/GOPR0372_07_00-000047.png")
    lq, _ = sides(found("GoPro-train", tmp_path))
    assert lq == {"GOPR0372_07_00/blur/000047": "input/GOPR0372_07_00-000047.png"}


def test_hide_leaves_out_ground_truth_of_its_training_set(tmp_path):
    place(tmp_path / "HIDE_dataset", "test/test-close-ups/a.png", "test/test-long-shot/b.png", "train/c.png")
    place(tmp_path / "HIDE_dataset/GT", "a.png", "b.png", "c.png")
    recognised = found("HIDE-test", tmp_path)
    assert (list(recognised.lq), list(recognised.gt), recognised.unused) == (["a", "b"], ["a", "b"], 1)


def test_bsd400_is_the_training_and_test_folders(tmp_path):
    images = tmp_path / "BSR/BSDS500/data/images"
    place(images, "train/100075.jpg", "test/100007.jpg", "val/101085.jpg", "train/Thumbs.db")
    assert sides(found("BSD400", tmp_path))[1] == {"100075": "train/100075.jpg", "100007": "test/100007.jpg"}


def test_sidd_scenes(tmp_path):
    scene = "SIDD_Medium_Srgb/Data/0001_001_S6_00100_00060_3200_L"
    place(tmp_path / scene, *(f"0001_{kind}_SRGB_{n}.PNG" for kind in ("GT", "NOISY") for n in ("010", "011")))
    lq, gt = sides(found("SIDD-train", tmp_path))
    names = ["0001_001_S6_00100_00060_3200_L/010", "0001_001_S6_00100_00060_3200_L/011"]
    assert list(lq) == list(gt) == names
    assert lq[names[1]] == f"{scene}/0001_NOISY_SRGB_011.PNG"


def test_dpdd_pairs_different_names_by_their_order(tmp_path):
    source, target = ("1P0A0917", "1P0A0920", "1P0A0999"), ("1P0A0918", "1P0A0921", "1P0A1000")
    place(tmp_path / "train_c", *(f"source/{n}.png" for n in source), *(f"target/{n}.png" for n in target))
    place(tmp_path / "train_l", *(f"source/{n}.png" for n in source))
    lq, gt = sides(found("DPDD-train", tmp_path))
    assert lq == {name: f"source/{name}.png" for name in source}
    assert gt == {name: f"target/{other}.png" for name, other in zip(source, target, strict=True)}
    (tmp_path / "train_c/target/1P0A1000.png").unlink()
    assert "3 degraded images and 2 of ground truth" in refusal("DPDD-train", tmp_path)


def test_dpdd_pairs_equal_names_by_these(tmp_path):
    place(tmp_path / "test_c", "source/a.png", "source/b.png", "target/b.png", "target/a.png")
    assert sides(found("DPDD-test", tmp_path))[1] == {"a": "target/a.png", "b": "target/b.png"}


def test_cdd11_members_are_told_apart(tmp_path):
    place(
        tmp_path / "CDD-11_train", *(f"{folder}/00001.png" for folder in ("clear", "low", "low_haze", "low_haze_rain"))
    )
    for member in ("low", "low_haze", "low_haze_rain"):
        assert sides(found(f"CDD-11-train-{member}", tmp_path))[0] == {"00001": f"{member}/00001.png"}
    assert "CDD-11-train-snow is not there" in refusal("CDD-11-train-snow", tmp_path)


def test_urban100_takes_high_resolution_alone(tmp_path):
    names = ("img_001_SRF_2_HR", "img_001_SRF_2_LR", "img_001_SRF_2_bicubic")
    place(tmp_path / "Urban100/image_SRF_2", *(f"{name}.png" for name in names))
    place(tmp_path / "Urban100/image_SRF_4", "img_001_SRF_4_HR.png")
    assert sides(found("Urban100", tmp_path))[1] == {"001": "image_SRF_2/img_001_SRF_2_HR.png"}


def test_capitals_do_not_matter(tmp_path):
    place(tmp_path / "csd/train", "snow/1.TIF", "GT/1.tif")
    assert found("CSD-train", tmp_path).count == 1


# What is not there, or not once


def test_a_missing_data_set_says_what_is_expected(tmp_path):
    message = refusal("LOL-train", place(tmp_path, "our485/low/1.png"))
    assert message.startswith(f"{tmp_path}: LOL-train is not there. Expected is\n")
    assert "our485/low/{}   and   our485/high/{}" in message


def test_a_folder_without_images_or_without_existence_is_told(tmp_path):
    assert "no images in this folder" in refusal("WED", tmp_path)
    assert "no such folder" in refusal("WED", tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("asked", "there"), [("GoPro-train", "GoPro-test"), ("WED", "Kodak24"), ("CSD-test", "CSD-train")]
)
def test_another_data_set_is_not_taken_for_it(asked, there, tmp_path):
    root = unpack(tmp_path, get_source(there), get_source(there).layouts[0])
    message = refusal(asked, root)
    assert f"{asked} is not there. It is {there}." in message


def test_a_data_set_that_is_there_twice_is_refused(tmp_path):
    for home in ("a", "b"):
        unpack(tmp_path / home, get_source("LOL-test"), get_source("LOL-test").layouts[0])
    message = refusal("LOL-test", tmp_path)
    assert "more than once" in message and "a/eval15" in message and "b/eval15" in message
    assert found("LOL-test", tmp_path / "b").root == tmp_path / "b/eval15"


def test_a_root_within_one_of_its_name_is_no_second(tmp_path):
    place(tmp_path / "WED/WED", "00001.bmp", "00002.bmp")
    place(tmp_path / "WED", "cover.png")
    assert found("WED", tmp_path).root == tmp_path / "WED/WED"


def test_two_files_of_one_name_are_refused(tmp_path):
    place(tmp_path / "OTS", "part1/0001_1_1.jpg", "part2/0001_1_1.jpg", "clear/0001.png")
    assert "would both become '0001_1_1'" in refusal("RESIDE-OTS", tmp_path)
    place(tmp_path / "x", "our485/low/1.png", "our485/high/1.png", "our485/high/1.jpg")
    assert "would both become '1'" in refusal("LOL-train", tmp_path / "x")


def test_degraded_images_without_ground_truth_are_listed(tmp_path):
    place(tmp_path / "our485", "low/1.png", "low/2.png", "high/1.png", "high/3.png")
    recognised = found("LOL-train", tmp_path)
    assert [path.name for path in recognised.unpaired] == ["2.png"]
    assert (list(recognised.lq), list(recognised.gt), recognised.unused) == (["1"], ["1"], 1)


def test_pairs_of_which_none_fits_are_refused(tmp_path):
    place(tmp_path / "our485", "low/1.png", "high/2.png")
    assert "no degraded image of LOL-train has its ground truth; one is 1.png" in refusal("LOL-train", tmp_path)


def test_hidden_files_and_other_files_are_no_images(tmp_path):
    place(tmp_path / "our485", "low/1.png", "high/1.png", "low/._1.png", "low/.cache/2.png", "high/Thumbs.db")
    assert found("LOL-train", tmp_path).count == 1


# Patterns


@pytest.mark.parametrize(
    ("pattern", "choice", "shown"),
    [
        ("**/a*/{}", 0, "a*/{}"),
        ("(x|y/(1|2))/{}", 0, "x/{}"),
        ("(x|y/(1|2))/{}", 1, "y/2/{}"),
        ("(|x/){}", 1, "x/{}"),
        ("(a|b|c)", 4, "b"),
    ],
)
def test_examples_of_patterns(pattern, choice, shown):
    assert example(pattern, choice) == shown


def test_examples_of_a_layout_have_the_root():
    assert examples(get_source("LOL-test").layouts[0]) == ["eval15/low/{}", "eval15/high/{}"]
    assert examples(get_source("WED").layouts[0]) == ["pristine_images/{}"]


def test_twenty_thousand_names_are_recognised_quickly(tmp_path):
    unpacked = Unpacked(place(tmp_path / "OTS", "clear/0001.png", "part1/0001_1_1.jpg"))
    unpacked._names = [f"clear/{n:05}.png" for n in range(500)]
    unpacked._names += [f"part1/{n % 500:05}_{n}_1.jpg" for n in range(20_000)]
    begun = time.process_time()
    assert unpacked.find(get_source("RESIDE-OTS")).count == 20_000
    assert time.process_time() - begun < 2
