"""Which images a command means, and where its results go."""

from __future__ import annotations

from pathlib import Path, PurePath

import numpy as np
import pytest

from dcpt_data import DataError
from dcpt_data.images.file_lists import SHOWN, find_images, is_there, list_failures, name_targets
from dcpt_data.images.pixels import write_image

OUT = Path("out")


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A folder of images, from which commands are given."""
    for name in ("in/a.png", "in/a.jpg", "in/deep/b.PNG", "in/deep/deeper/c.tif", "in/.hidden.png", "x/a.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(tmp_path / name, np.zeros((2, 2, 3), np.uint8))
    (tmp_path / "in/notes.txt").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def targets(*arguments, out=OUT, suffix=None):
    jobs = name_targets(find_images(arguments, out), out, suffix)
    return {str(job.source): str(job.target) for job in jobs}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["in/deep/b.PNG"], {"in/deep/b.PNG": "out/b.PNG"}),
        (
            ["in"],
            {
                name: name.replace("in/", "out/")
                for name in ("in/a.jpg", "in/a.png", "in/deep/b.PNG", "in/deep/deeper/c.tif")
            },
        ),
        (["in/*"], {"in/a.jpg": "out/a.jpg", "in/a.png": "out/a.png"}),
        (["in/*/*"], {"in/deep/b.PNG": "out/deep/b.PNG"}),
        (["in/**/*.tif"], {"in/deep/deeper/c.tif": "out/deep/deeper/c.tif"}),
        (["in/a.png", "in/d*/b.PNG"], {"in/a.png": "out/a.png", "in/deep/b.PNG": "out/deep/b.PNG"}),
    ],
    ids=["file", "folder", "pattern", "folders in a pattern", "recursive pattern", "several"],
)
def test_paths_below_the_folder_are_kept(tree, arguments, expected):
    assert targets(*arguments) == expected


def test_a_file_whose_name_looks_like_a_pattern(tree):
    (tree / "in/a.png").rename(tree / "in/[a].png")
    assert targets("in/[a].png") == {"in/[a].png": "out/[a].png"}


def test_results_within_the_folder_are_not_read_again(tree):
    write_image(tree / "in/deep/restored.png", np.zeros((2, 2, 3), np.uint8))
    assert set(targets("in", out=Path("in/deep"))) == {"in/a.jpg", "in/a.png"}
    assert find_images(["in/deep/b.PNG"], Path("in/deep")) == {Path("in/deep/b.PNG"): PurePath("b.PNG")}


def test_equal_stems_keep_names_of_their_own(tree):
    assert targets("in", suffix=".png") == {
        "in/a.jpg": "out/a.jpg.png",
        "in/a.png": "out/a.png",
        "in/deep/b.PNG": "out/deep/b.png",
        "in/deep/deeper/c.tif": "out/deep/deeper/c.png",
    }
    assert targets("in", suffix=".webp")["in/a.png"] == "out/a.png.webp"


@pytest.mark.parametrize(
    ("arguments", "out", "message"),
    [
        (["in/a.png", "x/a.png"], "out", r"in/a\.png and x/a\.png would both become out/a\.png"),
        (["in"], "in", r"in/a\.jpg is among the images to read"),
        (["x/a.png", "in/a.jpg"], "in", r"in/a\.jpg is among the images to read"),
        (["none"], "out", "none: no such file or folder"),
        (["in/*.txt"], "out", r"in/\*\.txt: no such file or folder, and no pattern that finds images"),
    ],
)
def test_refusals(tree, arguments, out, message):
    with pytest.raises(DataError, match=message):
        targets(*arguments, out=Path(out))


def test_an_image_is_not_overwritten_through_a_link(tree):
    (tree / "out").mkdir()
    (tree / "out/a.png").hardlink_to(tree / "in/a.png")
    with pytest.raises(DataError, match="is among the images to read"):
        targets("in")
    (tree / "linked").symlink_to(tree / "in", target_is_directory=True)
    with pytest.raises(DataError, match="is among the images to read"):
        targets("in/a.png", out=Path("linked"))


def test_failures_are_listed_up_to_a_point():
    failures = {Path(f"in/{i:02}.png"): f"in/{i:02}.png: damaged" for i in range(SHOWN + 2)}
    lines = list_failures(failures, 50).splitlines()
    assert lines[:2] == [f"{SHOWN + 2} of 50 images failed:", "  in/00.png: damaged"]
    assert lines[SHOWN + 1 :] == ["  and 2 more; --json lists them all"]
    assert list_failures({Path("a.png"): "out of memory"}, 1) == "1 of 1 images failed:\n  a.png: out of memory"


def test_links_that_go_round_are_followed_once(tree):
    for link in ("in/s1", "in/deep/s2"):
        (tree / link).symlink_to(tree / "in", target_is_directory=True)
    assert len(targets("in")) == 4
    assert targets("in/**/*.png") == {"in/a.png": "out/a.png"}
    assert targets("in/**/deep/**/*.*") == {
        "in/deep/b.PNG": "out/deep/b.PNG",
        "in/deep/deeper/c.tif": "out/deep/deeper/c.tif",
    }


def test_a_link_that_leads_nowhere_is_one_of_the_images(tree):
    for link, target in (("in/lost.png", "missing.png"), ("in/round.png", "round.png")):
        (tree / link).symlink_to(target)
    expected = {"in/lost.png": "out/lost.png", "in/round.png": "out/round.png"}
    for arguments in (["in"], ["in/*.png"], ["in/**/*.png"]):
        found = targets(*arguments)
        assert expected.items() <= found.items()
        assert "in/a.png" in found


def test_a_name_that_no_file_can_have_stops_nobody(tree):
    long = "n" * 251 + ".png"
    write_image(tree / "in" / long, np.zeros((2, 2, 3), np.uint8))
    found = targets("in", suffix=".webp")
    assert found[f"in/{long}"] == f"out/{'n' * 251}.webp"
    assert not is_there(Path(found[f"in/{long}"]))
    assert is_there(tree / "in/a.png")
