"""Bringing archives to their place: what is put where, how, what is kept, and what is refused."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
from small_archives import every_layout, image, unpack

from dcpt_data import DataError, DegradationDataset
from dcpt_data.images.pixels import list_names, read_image, write_image
from dcpt_data.preparation import preparing
from dcpt_data.preparation.archives import Unpacked
from dcpt_data.preparation.preparing import RECORD, prepare, problems, read_record, starts
from dcpt_data.sources.published import Crops, expand, get_source

EVERY_LAYOUT = list(every_layout())
LOL = get_source("LOL-test")


def silent(done, total, name):
    pass


def make(archive, out, *names, mode="hardlink", crops=None, report=silent):
    unpacked = Unpacked(archive)
    return prepare([unpacked.find(source) for source in expand(names)], out, mode, crops, report)


def dataset(name, root):
    return DegradationDataset(
        {"name": name, "type": "DegradationDataset", "phase": "val", "scale": 1, "source": name}
        | {"datasets_root": str(root)}
    )


def refusal(*args, **kwargs):
    with pytest.raises(DataError) as caught:
        make(*args, **kwargs)
    return str(caught.value)


@pytest.fixture
def lol(tmp_path):
    """An archive of LOL-test with three pairs."""
    unpack(tmp_path / "archive", LOL, LOL.layouts[0], 3)
    return tmp_path / "archive"


# Every data set


@pytest.mark.parametrize(("source", "number"), EVERY_LAYOUT, ids=[f"{s.name}-{n}" for s, n in EVERY_LAYOUT])
def test_from_every_layout_to_samples_with_the_right_partners(source, number, tmp_path):
    unpack(tmp_path / "archive", source, source.layouts[number])
    (made,) = make(tmp_path / "archive", tmp_path / "out", source.name)
    assert (made.folder, made.count, made.kept) == (tmp_path / "out" / source.folder, 2, False)
    samples = dataset(source.name, tmp_path / "out")
    assert len(samples) == 2
    for number, sample in enumerate(samples[index] for index in range(2)):
        gt = (sample["gt"].numpy().transpose(1, 2, 0) * 255).round()
        np.testing.assert_array_equal(gt, image(number))
        if source.lq is not None:
            np.testing.assert_array_equal((sample["lq"].numpy().transpose(1, 2, 0) * 255).round(), image(number) // 2)
    # Nothing else lies there.
    sides = 2 if source.lq is not None else 1
    assert len(list_names(tmp_path / "out")) == 2 * sides


def test_an_entry_with_members_is_prepared_as_one(tmp_path):
    for source in expand(["CDD-11-test"]):
        unpack(tmp_path / "archive", source, source.layouts[0])
    made = make(tmp_path / "archive", tmp_path / "out", "CDD-11-test")
    assert [one.source.name for one in made] == [source.name for source in expand(["CDD-11-test"])]
    assert len(list_names(tmp_path / "out")) == 12 * 2  # the ground truth once
    assert read_record(tmp_path / "out/CDD-11/test")["counts"] == {one.source.name: 2 for one in made}
    assert len(dataset("CDD-11-test-low_haze_snow", tmp_path / "out")) == 2


def test_several_data_sets_of_one_archive(tmp_path):
    for name in ("LOL-train", "LOL-test"):
        unpack(tmp_path / "archive", get_source(name), get_source(name).layouts[0])
    calls = []
    made = make(
        tmp_path / "archive", tmp_path / "out", "LOL-train", "LOL-test", report=lambda *call: calls.append(call)
    )
    assert [one.folder.name for one in made] == ["our485", "eval15"]
    assert calls == [(n, 8, "LOL-v1/our485") for n in range(1, 5)] + [(n, 8, "LOL-v1/eval15") for n in range(5, 9)]


def test_many_files_are_placed_by_several_processes(tmp_path):
    source = get_source("WED")
    unpack(tmp_path / "archive", source, source.layouts[0], 150)
    (made,) = make(tmp_path / "archive", tmp_path / "out", "WED", mode="copy")
    assert made.count == 150
    assert (read_image(tmp_path / "out/WED/150.png") == image(149)).all()


# Modes


def test_hard_links_take_no_space(lol, tmp_path):
    make(lol, tmp_path / "out", "LOL-test")
    assert (lol / "eval15/low/1.png").samefile(tmp_path / "out/LOL-v1/eval15/low/1.png")


def test_symbolic_links_work_from_anywhere(lol, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(Path("archive"), Path("out"), "LOL-test", mode="symlink")
    monkeypatch.chdir("/")
    link = tmp_path / "out/LOL-v1/eval15/low/1.png"
    assert link.is_symlink() and (read_image(link) == image(0) // 2).all()


def test_copies_are_files_of_their_own(lol, tmp_path):
    make(lol, tmp_path / "out", "LOL-test", mode="copy")
    copy = tmp_path / "out/LOL-v1/eval15/low/1.png"
    assert not copy.is_symlink() and not (lol / "eval15/low/1.png").samefile(copy)
    assert copy.read_bytes() == (lol / "eval15/low/1.png").read_bytes()


def test_hard_links_across_file_systems_are_refused_with_the_way_out(lol, tmp_path, monkeypatch):
    def link(source, target):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(preparing.os, "link", link)
    message = refusal(lol, tmp_path / "out", "LOL-test")
    assert "give --mode symlink, or --mode copy" in message
    assert not (tmp_path / "out/LOL-v1/eval15").exists()
    assert make(lol, tmp_path / "out", "LOL-test", mode="copy")[0].count == 3


def test_copies_that_do_not_fit_are_not_begun(lol, tmp_path, monkeypatch):
    monkeypatch.setattr(preparing.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 100})())
    assert "GiB are needed" in refusal(lol, tmp_path / "out", "LOL-test", mode="copy")
    assert make(lol, tmp_path / "out", "LOL-test")[0].count == 3  # links fit


# Crops


@pytest.mark.parametrize(
    ("length", "crops", "expected"),
    [
        (1280, Crops(512, 256), [0, 256, 512, 768]),
        (720, Crops(512, 256), [0, 208]),
        (512, Crops(512, 256), [0]),
        (300, Crops(512, 256), [0]),
        (513, Crops(512, 256), [0, 1]),
        (1024, Crops(512, 512), [0, 512]),
    ],
)
def test_crops_begin_a_step_apart_and_end_at_the_edge(length, crops, expected):
    assert starts(length, crops) == expected


def test_the_published_number_of_gopro_crops():
    source = get_source("GoPro-train-crops")
    crops = len(starts(1280, source.crops)) * len(starts(720, source.crops))
    assert get_source("GoPro-train").count * crops == source.count


def gopro(home: Path) -> Path:
    for number in (0, 1):
        for kind, pixels in (("blur", image(number, (24, 40)) // 2), ("sharp", image(number, (24, 40)))):
            folder = home / "GOPRO_Large/train/GOPR1" / kind
            folder.mkdir(parents=True, exist_ok=True)
            write_image(folder / f"00000{number}.png", pixels)
    return home


def test_both_sides_are_cut_alike(tmp_path):
    (made,) = make(gopro(tmp_path / "archive"), tmp_path / "out", "GoPro-train-crops", crops=Crops(16, 8))
    assert made.count == 2 * 4 * 2
    samples = dataset("GoPro-train-crops", tmp_path / "out")
    assert len(samples) == 16
    corners = [(top, left) for top in (0, 8) for left in (0, 8, 16, 24)]
    for index, (top, left) in enumerate(corners):
        sample = samples[index]
        assert sample["gt_path"].endswith(f"GOPR1/sharp/000000_s{index + 1:03}.png")
        window = image(0, (24, 40))[top : top + 16, left : left + 16]
        assert ((sample["gt"] * 255).round().numpy().transpose(1, 2, 0) == window).all()
        assert ((sample["lq"] * 255).round().numpy().transpose(1, 2, 0) == window // 2).all()


def test_photographs_smaller_than_a_crop_stay_whole(tmp_path):
    (made,) = make(gopro(tmp_path / "archive"), tmp_path / "out", "GoPro-train-crops")
    assert made.count == 2
    assert (read_image(tmp_path / "out/GoPro/train_crops/GOPR1/sharp/000001_s001.png") == image(1, (24, 40))).all()


def test_16_bit_photographs_are_cut_at_their_depth(tmp_path):
    home = gopro(tmp_path / "archive") / "GOPRO_Large/train/GOPR1"
    deep = image(5, (24, 40)).astype(np.uint16) * 200 + 7
    write_image(home / "sharp/000000.png", deep)
    make(tmp_path / "archive", tmp_path / "out", "GoPro-train-crops", crops=Crops(16, 8))
    cut = read_image(tmp_path / "out/GoPro/train_crops/GOPR1/sharp/000000_s002.png")
    assert cut.dtype == np.uint16 and (cut == deep[:16, 8:24]).all()


# Calling again


def test_a_second_call_keeps_what_is_there(lol, tmp_path):
    make(lol, tmp_path / "out", "LOL-test")
    before = {path: path.lstat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    (made,) = make(lol, tmp_path / "out", "LOL-test", mode="copy")
    assert (made.kept, made.count) == (True, 3)
    assert {path: path.lstat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


@pytest.mark.parametrize("crops", [None, Crops(16, 8)])
def test_an_interrupted_call_is_completed(crops, tmp_path):
    gopro(tmp_path / "archive")
    name = "GoPro-train-crops" if crops else "GoPro-train"
    done = []

    def interrupt(count, total, folder):
        done.append(count)
        if count == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "archive", tmp_path / "out", name, crops=crops, report=interrupt)
    final = tmp_path / "out" / get_source(name).folder
    unfinished = final.with_name(f".{final.name}.partial")
    assert not final.exists() and unfinished.is_dir()
    kept = {path: path.stat().st_mtime_ns for path in unfinished.rglob("*.png")}
    assert len(kept) == (24 if crops else 3)
    (made,) = make(tmp_path / "archive", tmp_path / "out", name, mode="copy", crops=crops)
    assert made.count == (16 if crops else 2)
    for path, time in kept.items():
        assert (final / path.relative_to(unfinished)).stat().st_mtime_ns == time
    assert not unfinished.exists()


def test_what_is_half_written_when_a_process_dies_is_not_taken_for_whole(tmp_path, monkeypatch):
    gopro(tmp_path / "archive")
    write, calls = preparing.write_image, []

    def die(path, pixels):
        calls.append(path)
        if len(calls) == 6:
            Path(path).write_bytes(b"half a file")
            raise MemoryError
        write(path, pixels)

    monkeypatch.setattr(preparing, "write_image", die)
    with pytest.raises(MemoryError):
        make(tmp_path / "archive", tmp_path / "out", "GoPro-train-crops", crops=Crops(16, 8))
    monkeypatch.undo()
    (made,) = make(tmp_path / "archive", tmp_path / "out", "GoPro-train-crops", crops=Crops(16, 8))
    assert made.count == 16
    assert all(read_image(path).shape == (16, 16, 3) for path in (tmp_path / "out").rglob("*.png"))
    assert not list((tmp_path / "out").rglob(".*.tmp*"))


def test_an_unfinished_folder_of_other_files_is_begun_anew(lol, tmp_path):
    unfinished = tmp_path / "out/LOL-v1/.eval15.partial"
    (unfinished / "low").mkdir(parents=True)
    write_image(unfinished / "low/9.png", image(9))
    make(lol, tmp_path / "out", "LOL-test")
    assert list_names(tmp_path / "out/LOL-v1/eval15/low") == ["1.png", "2.png", "3.png"]


@pytest.mark.parametrize("content", [[], ["x.png"]], ids=["empty", "filled"])
def test_a_folder_of_something_else_is_not_touched(content, lol, tmp_path):
    folder = tmp_path / "out/LOL-v1/eval15"
    folder.mkdir(parents=True)
    for name in content:
        (folder / name).touch()
    message = refusal(lol, tmp_path / "out", "LOL-test")
    assert f"{folder} exists and was made by something else" in message and "--root" in message
    assert [path.name for path in folder.iterdir()] == content


def test_a_folder_of_other_files_is_not_replaced(lol, tmp_path):
    make(lol, tmp_path / "out", "LOL-test")
    write_image(lol / "eval15/low/4.png", image(7))
    write_image(lol / "eval15/high/4.png", image(7))
    assert "from other files or in another way" in refusal(lol, tmp_path / "out", "LOL-test")
    assert len(dataset("LOL-test", tmp_path / "out")) == 3


def test_all_folders_are_looked_at_before_the_first_is_made(tmp_path):
    for name in ("LOL-train", "LOL-test"):
        unpack(tmp_path / "archive", get_source(name), get_source(name).layouts[0])
    (tmp_path / "out/LOL-v1/eval15").mkdir(parents=True)
    refusal(tmp_path / "archive", tmp_path / "out", "LOL-train", "LOL-test")
    assert [path.name for path in (tmp_path / "out/LOL-v1").iterdir()] == ["eval15"]


def test_the_record_says_what_was_prepared(lol, tmp_path):
    make(lol, tmp_path / "out", "LOL-test")
    record = read_record(tmp_path / "out/LOL-v1/eval15")
    assert (record["sources"], record["counts"], record["crops"]) == (["LOL-test"], {"LOL-test": 3}, None)
    assert (tmp_path / "out/LOL-v1/eval15" / RECORD).is_file()
    assert read_record(tmp_path) == {}


def test_an_unreadable_photograph_is_named(tmp_path):
    home = gopro(tmp_path / "archive") / "GOPRO_Large/train/GOPR1/blur/000001.png"
    home.write_bytes(home.read_bytes()[:200])
    assert str(home) in refusal(tmp_path / "archive", tmp_path / "out", "GoPro-train-crops")
    assert not (tmp_path / "out/GoPro/train_crops").exists()


# Problems


def test_what_speaks_against_an_archive_is_told(lol):
    (lol / "eval15/high/2.png").unlink()
    said = problems([Unpacked(lol).find(LOL)])
    assert said["unpaired"] == [f"LOL-test: 1 degraded images have no ground truth ({lol / 'eval15/low/2.png'})"]
    assert said["count"] == [f"LOL-test: 2 found in {lol / 'eval15'}, 15 are expected"]


def test_nothing_speaks_against_a_whole_archive(tmp_path):
    unpack(tmp_path, LOL, LOL.layouts[0], 15)
    assert problems([Unpacked(tmp_path).find(LOL)]) == {}


def test_the_number_of_photographs_to_cut_is_that_of_the_whole_set(tmp_path):
    (text,) = problems([Unpacked(gopro(tmp_path)).find(get_source("GoPro-train-crops"))]).values()
    assert "2 found" in text[0] and "2,103 are expected" in text[0]
