"""Which ground truth belongs to which degraded image, by every rule, and what is refused."""

from __future__ import annotations

import time

import pytest

from dcpt_data.errors import DataError
from dcpt_data.sources.pairing import find_pairs, lq_name, match_names
from dcpt_data.sources.published import known_sources

GOPRO = {"lq": "{}/blur/{}", "gt": "{}/sharp/{}"}


@pytest.fixture
def folders(tmp_path):
    """Makes two folders of empty files; pairing reads names only."""

    def make(lq, gt, roots=("lq", "gt")):
        for root, names in zip(roots, (lq, gt), strict=True):
            for name in names:
                path = tmp_path / root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
        return tmp_path / roots[0], tmp_path / roots[1]

    return make


def pairs_of(roots, rule):
    return [
        (lq.relative_to(roots[0]).as_posix(), gt.relative_to(roots[1]).as_posix())
        for lq, gt in find_pairs(*roots, rule)
    ]


def refusal(roots, rule):
    with pytest.raises(DataError) as caught:
        find_pairs(*roots, rule)
    return str(caught.value)


# Rules


def test_same_pairs_equal_paths_whatever_the_suffixes(folders):
    roots = folders(["b.jpg", "a.png", "deep/er/c.JPG"], ["a.png", "b.png", "deep/er/c.tif", "unused.png"])
    assert pairs_of(roots, "same") == [("a.png", "a.png"), ("b.jpg", "b.png"), ("deep/er/c.JPG", "deep/er/c.tif")]


def test_same_does_not_confuse_equal_names_in_different_folders(folders):
    roots = folders(["x/1.png", "y/1.png"], ["x/1.png", "y/1.png"])
    assert pairs_of(roots, "same") == [("x/1.png", "x/1.png"), ("y/1.png", "y/1.png")]


def test_dots_in_names_are_no_suffixes(folders):
    roots = folders(["a.v1.png", "a.v2.png"], ["a.v1.jpg", "a.v2.jpg"])
    assert pairs_of(roots, "same") == [("a.v1.png", "a.v1.jpg"), ("a.v2.png", "a.v2.jpg")]


def test_prefix_pairs_many_with_one(folders):
    roots = folders(["0001_0.8_0.2.jpg", "0001_1_0.04.jpg", "0002_1_0.2.jpg"], ["0001.png", "0002.jpg"])
    assert pairs_of(roots, "prefix") == [
        ("0001_0.8_0.2.jpg", "0001.png"),
        ("0001_1_0.04.jpg", "0001.png"),
        ("0002_1_0.2.jpg", "0002.jpg"),
    ]


def test_prefix_looks_at_the_name_and_not_at_the_folder(folders):
    roots = folders(["part_1/0001_0.8.jpg"], ["part_1/0001.png"])
    assert pairs_of(roots, "prefix") == [("part_1/0001_0.8.jpg", "part_1/0001.png")]


def test_templates_of_the_rain_data_sets(folders):
    roots = folders(["rain-1.png", "rain-12.png"], ["norain-12.png", "norain-1.png"])
    rule = {"lq": "rain-{}", "gt": "norain-{}"}
    assert pairs_of(roots, rule) == [("rain-1.png", "norain-1.png"), ("rain-12.png", "norain-12.png")]


def test_template_with_text_after_the_number(folders):
    roots = folders(["norain-12x2.png"], ["norain-12.png"])
    assert pairs_of(roots, {"lq": "norain-{}x2", "gt": "norain-{}"}) == [("norain-12x2.png", "norain-12.png")]


def test_templates_tell_degraded_images_from_ground_truth_in_a_shared_folder(folders):
    roots = folders(["rain-1.png"], ["norain-1.png", "norain-2.png"], ("both", "both"))
    assert pairs_of(roots, {"lq": "rain-{}", "gt": "norain-{}"}) == [("rain-1.png", "norain-1.png")]


def test_templates_of_gopros_archive(folders):
    frames = [f"GOPR{s}/{{}}/00{f}.png" for s in (1, 2) for f in (3, 4)]
    blur, gamma, sharp = ([frame.format(kind) for frame in frames] for kind in ("blur", "blur_gamma", "sharp"))
    roots = folders([*blur, *gamma], sharp, (".", "."))
    assert pairs_of(roots, GOPRO) == list(zip(blur, sharp, strict=True))


def test_a_blank_never_crosses_a_folder(folders):
    # Else "{}/blur/{}" would also find what lies deeper, in copies such as blur/backup.
    roots = folders(["s/blur/1.png", "old/s/blur/1.png"], ["s/sharp/1.png", "old/s/sharp/1.png"], (".", "."))
    assert pairs_of(roots, GOPRO) == [("s/blur/1.png", "s/sharp/1.png")]


def test_templates_are_no_regular_expressions(folders):
    rule = {"lq": "a.({})+", "gt": "b[{}]"}
    assert pairs_of(folders(["a.(1)+.png"], ["b[1].png"]), rule) == [("a.(1)+.png", "b[1].png")]
    assert "ax(2)+.png" in refusal(folders(["ax(2)+.png"], ["b[2].png"]), rule)


def test_pairs_are_sorted_and_whole_paths(folders):
    roots = folders([f"{i}.png" for i in (10, 2, 1)], [f"{i}.png" for i in (2, 10, 1)])
    found = find_pairs(*roots, "same")
    assert found == [(roots[0] / f"{i}.png", roots[1] / f"{i}.png") for i in (1, 10, 2)]


# What is refused


def test_unpaired_images_are_counted_and_named(folders):
    roots = folders(["a.png", "b.png"], ["a.png", "c.png"])
    message = refusal(roots, "same")
    assert "1 of 2 images have no ground truth" in message
    assert "(b.png)" in message and "'same'" in message
    assert str(roots[0]) in message and str(roots[1]) in message
    assert "the ground truth is named like 'a'" in message


def test_of_many_unpaired_images_the_first_are_named(folders):
    message = refusal(folders([f"{i}.png" for i in range(9)], ["a.png"]), "same")
    assert "9 of 9" in message and "(0.png, 1.png, 2.png, ...)" in message


def test_an_image_that_does_not_fit_the_template_is_named(folders):
    message = refusal(folders(["rain-1.png", "other.png"], ["norain-1.png"]), {"lq": "rain-{}", "gt": "norain-{}"})
    assert "1 of 2" in message and "(other.png)" in message


def test_a_shared_folder_in_which_no_name_fits_the_template(folders):
    message = refusal(folders(["a.png"], ["b.png"], ("both", "both")), {"lq": "rain-{}", "gt": "norain-{}"})
    assert "no name fits the template" in message


@pytest.mark.parametrize("rule", ["same", "prefix", {"lq": "{}", "gt": "{}"}])
def test_an_image_is_never_its_own_ground_truth(folders, rule):
    # One folder given twice would otherwise train a network to do nothing.
    assert "0 of 0" in refusal(folders(["a.png"], ["b.png"], ("both", "both")), rule)


@pytest.mark.parametrize("side", [0, 1], ids=["lq", "gt"])
def test_two_files_of_one_name_are_ambiguous(folders, side):
    names = [["a.png"], ["a.png"]]
    names[side] = ["a.png", "a.jpg"]
    roots = folders(*names)
    message = refusal(roots, "same")
    assert "ambiguous" in message
    assert str(roots[side] / "a.jpg") in message and "a.png" in message


@pytest.mark.parametrize(
    "rule",
    [
        "suffix",
        "",
        None,
        ["same"],
        {},
        {"lq": "{}"},
        {"lq": "{}", "gt": "{}", "mask": "{}"},
        {"lq": "{}/{}", "gt": "{}"},
        {"lq": "{}", "gt": "norain"},
        {"lq": 1, "gt": 2},
        {"lq": "{}", "gt": "{}{name}"},
        {"lq": "{}", "gt": "{}{"},
        {"lq": "{0}", "gt": "{0}"},
    ],
)
def test_malformed_rules_are_refused(folders, rule):
    message = refusal(folders(["a.png"], ["a.png"]), rule)
    assert message.startswith("pairing must be 'same', 'prefix', or templates")
    assert repr(rule) in message


@pytest.mark.parametrize("missing", [0, 1], ids=["lq", "gt"])
def test_a_missing_folder_is_named(folders, missing):
    roots = list(folders(["a.png"], ["a.png"]))
    roots[missing] = roots[missing].with_name("nowhere")
    assert refusal(roots, "same") == f"{roots[missing]}: no such folder"


# The inverse


RULES = {str(source.pairing): source.pairing for source in known_sources().values()}


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_lq_name_is_the_inverse_of_the_rule(folders, rule):
    names = ["0001", "img.2"]
    if isinstance(rule, dict):
        texts = [("s", "0001"), ("t", "0001")]
        names = [rule["gt"].format(*text[-rule["gt"].count("{}") :]) for text in texts]
    lq = [lq_name(rule, name) for name in names]
    roots = folders([f"{name}.png" for name in lq], [f"{name}.png" for name in names])
    expected = sorted((f"{a}.png", f"{b}.png") for a, b in zip(lq, names, strict=True))
    assert sorted(pairs_of(roots, rule)) == expected
    # No rule but "same" may put both files under one name: data sets may share the folder.
    assert (lq == names) == (rule == "same")


def test_lq_name_refuses_what_does_not_fit_the_template():
    with pytest.raises(DataError, match="'s/blur/1' does not fit the template"):
        lq_name(GOPRO, "s/blur/1")


# Size


def test_pairing_grows_linearly_with_the_number_of_images():
    """100,000 names: about 20 times the time of 5,000, where comparing all with all would take 400 times as long."""

    def seconds(count, repeats):
        lq = [f"{i:06}_0.8_0.2.jpg" for i in range(count)]
        gt = [f"{i:06}.png" for i in range(count)]
        taken = []
        for _ in range(repeats):
            begun = time.process_time()  # of this process alone, as others may share the machine
            lq_of, gt_of = match_names(lq, gt, "prefix", "lq", "gt")
            taken.append(time.process_time() - begun)
        assert lq_of == gt_of == list(range(count))
        return min(taken)

    small = seconds(5_000, repeats=3)
    large = seconds(100_000, repeats=1)
    assert large < 80 * small
    assert large < 1
