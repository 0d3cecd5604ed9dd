"""Reading LMDBs: samples equal those from folders, whatever the form, and what is wrong is said."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import shutil
import tracemalloc
from itertools import islice
from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest
import torch
from basicsr.data.paired_image_dataset import PairedImageDataset
from basicsr.utils import FileClient, imfrombytes
from basicsr.utils.lmdb_util import make_lmdb_from_imgs
from lmdb_data import SIZE, make, make_for_basicsr, section, write_pairs
from torch.utils.data import DataLoader

from dcpt_data import DataError, DegradationDataset, DegradationMixtureDataset, build_train_loader, check_folders
from dcpt_data.datasets.locating import Images, open_images
from dcpt_data.datasets.options import SetOptions
from dcpt_data.images.pixels import Window, read_image, write_image
from dcpt_data.preparation.lmdb_verification import verify_lmdb
from dcpt_data.stores.lmdb_format import FORMS, INDEX, METADATA, ROW, Entries, Index, Metadata, write_records
from dcpt_data.stores.lmdb_store import StoredImage, open_lmdb, peek_metadata
from dcpt_data.stores.name_table import NameTable

PLACES = ("lq_path", "gt_path")  # of a file or a record: all that may differ between folder and LMDB


@pytest.fixture(scope="module")
def images(crops):
    """Photographs of several sizes and depths; one is smaller than the crop, one lies in a folder of its own."""
    deep = crops["face"].astype(np.uint16) * 257 - 1
    return {**crops, "face": deep, "cup": crops["cup"][:40, :57], "spoon": crops["spoon"][:20], "a/b.v2": crops["cat"]}


@pytest.fixture(scope="module")
def folders(images, tmp_path_factory):
    """Options of the pairs in folders."""
    return write_pairs(tmp_path_factory.mktemp("folders"), images)


@pytest.fixture(scope="module")
def made(folders, tmp_path_factory):
    """An LMDB of each form."""
    folder = tmp_path_factory.mktemp("lmdbs")
    return {form: make(folders, folder / f"{form}.lmdb", form) for form in FORMS}


def from_folders(options, phase="train", **more):
    given = {name: getattr(options, name) for name in ("degradation", "dataroot_gt", "dataroot_lq") if name}
    return DegradationDataset(section(phase, **{k: v for k, v in given.items() if v is not None}, **more))


def assert_same(first, second):
    assert first.keys() == second.keys()
    for key in first.keys() - set(PLACES):
        same = torch.equal(first[key], second[key]) if torch.is_tensor(first[key]) else first[key] == second[key]
        assert same, key


def refusal(function, *args, **kwargs):
    with pytest.raises(DataError) as caught:
        function(*args, **kwargs)
    return str(caught.value)


def spoilt(path, tmp_path, change):
    """A copy of an LMDB in which `change(transaction)` was done."""
    copy = shutil.copytree(path, tmp_path / "spoilt.lmdb")
    with lmdb.open(str(copy), map_size=2**26) as environment, environment.begin(write=True) as transaction:
        change(transaction)
    return copy


# Samples


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("phase", ["train", "val"])
def test_samples_of_pairs_are_those_from_folders(folders, made, form, phase):
    expected = from_folders(folders, phase, seed=3)
    found = DegradationDataset(section(phase, lmdb=str(made[form]), seed=3))
    assert len(found) == len(expected) == 7
    assert found.counts() == {"rain": 7}  # the degradation stands in the LMDB
    for index in range(7):
        for epoch in (0, 1):
            sample = found[(epoch, index)]
            assert_same(sample, expected[(epoch, index)])
            assert sample["lq"].is_contiguous() and sample["lq"].dtype == torch.float32
    name = found[0]["name"]
    assert name == "a/b.v2"
    assert found[0]["lq_path"] == str(made[form] / "lq/a/b.v2.png")
    assert found[0]["gt_path"] == str(made[form] / "gt/a/b.v2.png")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("phase", ["train", "test"])
@pytest.mark.parametrize("degradation", ["noise", "rain"])
def test_samples_of_synthesised_degradations_are_those_from_folders(folders, tmp_path, form, phase, degradation):
    alone = SetOptions(degradation=degradation, dataroot_gt=folders.dataroot_gt)
    out = make(alone, tmp_path / "alone.lmdb", form)
    expected, found = from_folders(alone, phase), DegradationDataset(section(phase, lmdb=str(out)))
    for index in range(7):
        assert_same(found[index], expected[index])


def test_16_bit_images_stay_16_bit_deep(folders, made):
    for form in FORMS:
        sides = open_lmdb(made[form]).sides
        for side, root in (("gt", folders.dataroot_gt), ("lq", folders.dataroot_lq)):
            index = list(sides[side].names).index("face.png")
            pixels = sides[side].picture(index).pixels()
            assert pixels.dtype == np.uint16
            np.testing.assert_array_equal(pixels, read_image(Path(root) / "face.png"))


def test_limit_spreads_over_an_lmdb_as_over_folders(folders, made):
    expected = [sample["name"] for sample in islice(from_folders(folders, "val", limit=3), 3)]
    found = DegradationDataset(section("val", lmdb=str(made["raw"]), limit=3))
    assert [found[i]["name"] for i in range(len(found))] == expected


def test_ground_truth_that_many_share_is_stored_once(crops, tmp_path):
    for name, image in list(crops.items())[:2]:
        (tmp_path / "gt").mkdir(exist_ok=True)
        (tmp_path / "lq").mkdir(exist_ok=True)
        write_image(tmp_path / "gt" / f"{name}.png", image)
        for beta in ("0.04", "0.2", "1"):
            write_image(tmp_path / "lq" / f"{name}_{beta}.png", image // 2)
    write_image(tmp_path / "gt" / "unused.png", crops["cat"])
    options = SetOptions(
        degradation="haze", dataroot_gt=str(tmp_path / "gt"), dataroot_lq=str(tmp_path / "lq"), pairing="prefix"
    )
    out = make(options, tmp_path / "x.lmdb")
    assert peek_metadata(out).images == {"lq": 6, "gt": 2}
    assert peek_metadata(out).pairing == "prefix"
    expected = from_folders(options, "val", pairing="prefix")
    for index in range(6):
        assert_same(DegradationDataset(section("val", lmdb=str(out)))[index], expected[index])


def test_only_a_crop_of_raw_pixels_is_copied(made, monkeypatch):
    asked = []
    original = StoredImage.pixels

    def pixels(self, window=None):
        result = original(self, window)
        asked.append((window, result.shape, result.base))
        return result

    monkeypatch.setattr(StoredImage, "pixels", pixels)
    dataset = DegradationDataset(section(lmdb=str(made["raw"])))
    _ = dataset[1]
    assert len(asked) == 2
    for window, shape, base in asked:
        assert (window.height, window.width) == shape[:2] == (SIZE, SIZE)
        assert base is None  # a copy of its own, not a view that keeps the file's pages

    def refuse(*_):
        raise AssertionError("raw pixels are not decoded")

    monkeypatch.setattr(cv2, "imdecode", refuse)
    _ = dataset[2]


def test_a_window_is_the_same_part_of_the_image_in_every_form(made):
    for form in FORMS:
        store = open_lmdb(made[form]).side("gt")
        for index in range(len(store)):
            whole = store.picture(index).pixels()
            height, width = store.picture(index).shape
            assert whole.shape == (height, width, 3)
            for window in (Window(0, 0, 7, 9), Window(height - 5, width - 6, 5, 6), Window(3, 2, 1, 1)):
                rows, columns = slice(window.top, window.top + window.height), slice(window.left, None)
                expected = whole[rows, columns][:, : window.width]
                np.testing.assert_array_equal(store.picture(index).pixels(window), expected)


# Options


def test_a_source_is_read_from_its_lmdb(crops, tmp_path):
    options = write_pairs(tmp_path / "own", crops)
    (tmp_path / "lmdb").mkdir()
    make(options, tmp_path / "lmdb" / "Rain200L.lmdb")
    lmdb_backend = {"io_backend": {"type": "lmdb"}, "datasets_root": str(tmp_path)}
    found = DegradationDataset(section(source="Rain200L", **lmdb_backend))
    assert_same(found[0], from_folders(options)[0])
    sets = {"one": {"source": "Rain200L", "repeat_ratio": 2}, "own": {"degradation": "haze", **folders_of(options)}}
    mixture = DegradationMixtureDataset(section(type="DegradationMixtureDataset", sets=sets, **lmdb_backend))
    assert mixture.counts() == {"rain": 12, "haze": 6}
    assert "Rain200L.lmdb" in mixture[0]["gt_path"] and str(tmp_path / "own/gt") in mixture[12]["gt_path"]


def folders_of(options):
    return {"dataroot_gt": options.dataroot_gt, "dataroot_lq": options.dataroot_lq}


def test_missing_lmdbs_are_listed_with_the_commands_that_make_them(tmp_path):
    root = {"datasets_root": str(tmp_path), "io_backend": {"type": "lmdb"}}
    datasets = {
        "train": section(type="DegradationMixtureDataset", sets={"a": {"source": "WED"}}, **root),
        "val_own": section("val", degradation="snow", lmdb=str(tmp_path / "mine.lmdb")),
        "val_folder": section("val", source="CBSD68", datasets_root=str(tmp_path)),
    }
    message = refusal(check_folders, datasets)
    assert "1 folders of data are missing" in message and "2 LMDBs are missing" in message
    assert f"{tmp_path}/lmdb/WED.lmdb" in message and f"{tmp_path}/mine.lmdb" in message
    assert f"dcpt lmdb --source WED --root {tmp_path}" in message
    assert f"--degradation snow --out {tmp_path}/mine.lmdb" in message


def test_nothing_is_said_where_lmdbs_are_there(made):
    check_folders({"val": section("val", lmdb=str(made["raw"]))}, ["rain"])
    assert "not among `degradations`" in refusal(
        check_folders, {"val": section("val", lmdb=str(made["raw"]))}, ["haze"]
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pairing": "same"}, "leave dataroot_* and pairing out"),
        ({"dataroot_gt": "x"}, "leave dataroot_* and pairing out"),
        ({"parameters": {"density": 0.1}}, "has degraded images already"),
        ({"io_backend": {"type": "lmbd"}}, "did you mean 'lmdb'"),
    ],
)
def test_options_that_make_no_sense_together_are_refused(made, options, words):
    assert words in refusal(DegradationDataset, section(lmdb=str(made["raw"]), **options))


# Processes


def test_two_data_sets_on_one_file_and_a_link_to_it(made, tmp_path):
    (tmp_path / "linked.lmdb").symlink_to(made["raw"])
    paths = [str(made["raw"]), str(made["raw"]), str(tmp_path / "linked.lmdb")]
    samples = [DegradationDataset(section(lmdb=path))[1] for path in paths]
    assert_same(samples[0], samples[1])
    assert_same(samples[0], samples[2])


@pytest.mark.parametrize("form", ["raw", "png"])
def test_forked_workers_read_what_their_parent_has_open(made, form):
    sets = {f"part{i}": {"lmdb": str(made[form]), "repeat_ratio": 3} for i in range(2)}  # two sets on one file
    opt = section(type="DegradationMixtureDataset", sets=sets, batch_size_per_gpu=4)
    alone = list(islice(build_train_loader(opt), 6))
    helped = list(islice(build_train_loader({**opt, "num_worker_per_gpu": 2}), 6))
    for first, second in zip(alone, helped, strict=True):
        assert_same(first, second)
        assert first["gt_path"] == second["gt_path"]


def test_spawned_workers_open_the_file_themselves(made):
    dataset = DegradationDataset(section(lmdb=str(made["raw"])))
    keys = [(1, index) for index in range(4)]
    expected = [dataset[key] for key in keys]
    loader = DataLoader(dataset, batch_size=None, sampler=keys, num_workers=1, multiprocessing_context="spawn")
    for first, second in zip(loader, expected, strict=True):
        assert_same(first, second)


def test_a_store_is_pickled_without_its_environment(made):
    store = open_lmdb(made["raw"]).side("gt")
    copy = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(copy.picture(2).pixels(), store.picture(2).pixels())


def test_a_file_that_was_replaced_is_not_mistaken_for_the_old_one(made, tmp_path):
    path = shutil.copytree(made["raw"], tmp_path / "x.lmdb")
    dataset = DegradationDataset(section(lmdb=str(path)))
    before = dataset[(0, 1)]
    shutil.rmtree(path)
    shutil.copytree(made["png"], path)
    assert_same(dataset[(0, 1)], before)  # from the old file, which stays as long as someone has it open
    assert peek_metadata(path).form == "png"
    loader = DataLoader(dataset, batch_size=None, sampler=[(0, 1)], num_workers=1, multiprocessing_context="fork")
    assert "was replaced since it was opened first; start again" in refusal(lambda: list(loader))


# Size


def test_72135_entries_open_in_little_time_and_memory(tmp_path):
    count, shared = 72_135, 2_061
    names = NameTable.of(f"{i % shared:04}_{0.8 + i / 1e5:.5f}_0.{i % 20:02}.jpg" for i in range(count))
    rows = np.zeros(count, ROW)
    rows["height"], rows["width"], rows["depth"], rows["size"] = 460, 620, 1, 460 * 620 * 3
    gt = Entries(NameTable.of(f"{i:04}.png" for i in range(shared)), rows[:shared])
    index = Index({"gt": gt, "lq": Entries(names, rows)}, np.arange(count, dtype="<u4") % shared)
    metadata = Metadata("raw", {"lq": count, "gt": shared}, "haze", "prefix")
    with lmdb.open(str(tmp_path / "x.lmdb"), map_size=2**26) as environment, environment.begin(write=True) as empty:
        write_records(empty, metadata, index)
    tracemalloc.start()
    opened = open_images(Images("haze", None, None, "same", "", lmdb=tmp_path / "x.lmdb"))
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(opened) == count
    assert opened.places(count - 1)[0].endswith(names[count - 1])
    assert peak < 30e6 and kept < 15e6  # bytes


# BasicSR


def test_basicsr_reads_what_is_made_for_it(folders, tmp_path, monkeypatch):
    gt, lq = make_for_basicsr(folders, tmp_path / "own.lmdb")
    assert (gt.name, lq.name) == ("own_gt.lmdb", "own_lq.lmdb")
    opt = {"phase": "val", "scale": 1, "dataroot_gt": str(gt), "dataroot_lq": str(lq), "io_backend": {"type": "lmdb"}}
    engine = PairedImageDataset(opt)
    found = {engine[i]["lq_path"]: engine[i] for i in range(len(engine))}
    assert set(found) == {"a/b_v2", "cat", "cup", "face", "spoon", "suit", "tower"}
    expected = {sample["name"].replace(".", "_"): sample for sample in islice(from_folders(folders, "val"), 7)}
    for key, sample in found.items():
        if key != "face":  # of 16 bits, which BasicSR reads as 8
            assert torch.equal(sample["gt"], expected[key]["gt"]) and torch.equal(sample["lq"], expected[key]["lq"])
    for environment in engine.file_client.client._client.values():
        environment.close()
    # The same two files, as our own data sets read them, with the same section of an option file.
    ours = DegradationDataset(section("val", degradation="rain", **{k: opt[k] for k in opt if k.startswith("data")}))
    for index in range(7):
        assert torch.equal(ours[index]["lq"], expected[ours[index]["name"]]["lq"])


def test_basicsr_reads_any_image_of_a_paired_lmdb_by_its_key(crops, tmp_path):
    options = write_pairs(tmp_path, crops)
    out = make(options, tmp_path / "x.lmdb", "original")
    lines = (out / "meta_info.txt").read_text().splitlines()
    assert len(lines) == 12 and "lq/cup.png (72,96,3) 1" in lines
    client = FileClient("lmdb", db_paths=[str(out)], client_keys=["any"])
    try:
        image = imfrombytes(client.get("lq/cup", "any"))
    finally:
        client.client._client["any"].close()
    np.testing.assert_array_equal(image[..., ::-1], crops["cup"] // 2)
    assert not (make(options, tmp_path / "y.lmdb", "raw") / "meta_info.txt").exists()


def test_lmdbs_that_basicsr_made_are_read(crops, tmp_path, capsys):
    options = write_pairs(tmp_path, crops)
    roots = {}
    for side in ("gt", "lq"):
        folder = tmp_path / side
        names = sorted(path.name for path in folder.iterdir())
        out = tmp_path / f"engine_{side}.lmdb"
        make_lmdb_from_imgs(str(folder), str(out), names, [name[:-4] for name in names], map_size=2**26)
        roots[f"dataroot_{side}"] = str(out)
    backend = {"io_backend": {"type": "lmdb"}}  # as BasicSR wants it
    for phase in ("train", "val"):
        found = DegradationDataset(section(phase, degradation="rain", **roots, **backend))
        expected = from_folders(options, phase)
        for index in range(6):
            assert_same(found[index], expected[index])
    alone = DegradationDataset(section(lmdb=roots["dataroot_gt"], degradation="noise"))
    assert len(alone) == 6 and alone[0]["degradation"] == "noise"
    assert "names no degradation" in refusal(DegradationDataset, section(lmdb=roots["dataroot_gt"]))
    assert verify_lmdb(roots["dataroot_gt"]) == (6, [])


# What is wrong


def test_a_missing_lmdb_is_refused(tmp_path):
    message = refusal(open_lmdb, tmp_path / "x.lmdb")
    assert message == f"{tmp_path}/x.lmdb: no such LMDB; `dcpt lmdb` makes one"
    (tmp_path / ".x.lmdb.partial").mkdir()
    assert "it was begun, and the same command completes it" in refusal(open_lmdb, tmp_path / "x.lmdb")


def test_an_unreadable_item_names_its_key_and_the_data_set(made, tmp_path):
    copy = spoilt(made["raw"], tmp_path, lambda transaction: transaction.delete(b"gt/cat"))
    dataset = DegradationDataset(section(lmdb=str(copy)))
    _ = dataset[2]
    message = refusal(dataset.__getitem__, 1)
    assert message.startswith(f"data set 'tiny': {copy}: record 'gt/cat' is missing")
    assert verify_lmdb(copy) == (14, [f"{copy}: record 'gt/cat' is missing; copy the LMDB or make it again"])


@pytest.mark.parametrize("form", FORMS)
def test_a_truncated_record_is_named_in_reading_and_in_verification(made, tmp_path, form):
    def cut(transaction):
        transaction.put(b"lq/suit", bytes(transaction.get(b"lq/suit"))[:-1000])

    copy = spoilt(made[form], tmp_path, cut)
    dataset = DegradationDataset(section(lmdb=str(copy)))
    message = refusal(dataset.__getitem__, 5)
    assert "data set 'tiny'" in message and "record 'lq/suit' is truncated" in message
    count, (problem,) = verify_lmdb(copy)
    assert count == 14 and "record 'lq/suit' is truncated" in problem


@pytest.mark.parametrize("form", FORMS)
def test_a_changed_byte_is_found_by_verification(made, tmp_path, form):
    def change(transaction):
        content = bytearray(transaction.get(b"gt/tower"))
        content[len(content) // 2] ^= 1
        transaction.put(b"gt/tower", bytes(content))

    copy = spoilt(made[form], tmp_path, change)
    _, (problem,) = verify_lmdb(copy)
    assert "record 'gt/tower' is damaged" in problem


def test_a_truncated_file_is_refused_before_it_is_mapped(made, tmp_path):
    # To read a page beyond its end would kill the process.
    copy = shutil.copytree(made["raw"], tmp_path / "x.lmdb")
    size = (copy / "data.mdb").stat().st_size
    os.truncate(copy / "data.mdb", size // 2)
    assert f"truncated to {size // 2:,} of " in refusal(open_lmdb, copy)


def test_another_version_is_refused(made, tmp_path):
    def change(transaction):
        record = json.loads(bytes(transaction.get(METADATA)))
        transaction.put(METADATA, json.dumps({**record, "version": 2, "colour": "new"}).encode())

    message = refusal(open_lmdb, spoilt(made["raw"], tmp_path, change))
    assert "its format has version 2, and this package reads version 1" in message
    assert "make it again with `dcpt lmdb`" in message


@pytest.mark.parametrize(
    ("key", "content", "words"),
    [
        (METADATA, b"{", "its metadata are damaged"),
        (METADATA, b'{"format": "dcpt", "version": 1}', "its metadata are damaged"),
        (INDEX, b"PK", "its index is damaged"),
        (INDEX, None, "its index is missing"),
    ],
)
def test_damaged_records_are_refused(made, tmp_path, key, content, words):
    def change(transaction):
        if content is None:
            transaction.delete(key)
        else:
            transaction.put(key, content)

    assert words in refusal(open_lmdb, spoilt(made["raw"], tmp_path, change))


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ({b"img_1": b"\x89PNG\r\n\x1a\n..."}, "1 records, of which the first, b'img_1', is a PNG file"),
        ({b"k": b"\x08\x03\x10"}, "is no image"),
        ({}, "it is empty"),
    ],
)
def test_an_lmdb_of_another_maker_is_refused_with_what_it_is(tmp_path, records, words):
    with lmdb.open(str(tmp_path / "x.lmdb")) as environment, environment.begin(write=True) as transaction:
        for key, value in records.items():
            transaction.put(key, value)
    message = refusal(DegradationDataset, section(degradation="noise", lmdb=str(tmp_path / "x.lmdb")))
    assert "an LMDB of another maker" in message and words in message and "`dcpt lmdb`" in message


def test_what_is_no_lmdb_at_all_is_refused(tmp_path):
    (tmp_path / "x.lmdb").mkdir()
    assert "no data.mdb in this folder" in refusal(open_lmdb, tmp_path / "x.lmdb")
    (tmp_path / "x.lmdb" / "data.mdb").write_bytes(b"text" * 5000)
    assert "not an LMDB that can be opened" in refusal(open_lmdb, tmp_path / "x.lmdb")
    with lmdb.open(str(tmp_path / "one.lmdb"), subdir=False):
        pass
    assert "LMDBs that can be read are folders" in refusal(open_lmdb, tmp_path / "one.lmdb")


def test_a_line_that_is_not_basicsrs_is_named(tmp_path):
    with lmdb.open(str(tmp_path / "x.lmdb")):
        pass
    for text, words in (("cat.png 3\n", "line 1: 'cat.png 3' is not"), ("", "names no image")):
        (tmp_path / "x.lmdb" / "meta_info.txt").write_text(text)
        assert words in refusal(open_lmdb, tmp_path / "x.lmdb")


# Names of others


@pytest.mark.parametrize("name", ["../../../../evil.png", "/tmp/evil.png", "a/..\\..\\evil.png", "C:\\evil.png"])
def test_names_that_lead_out_of_a_folder_are_refused_when_an_index_is_read(name, tmp_path):
    rows = np.zeros(2, ROW)
    index = Index({"gt": Entries(NameTable.of(["a.png", name]), rows)})
    with lmdb.open(str(tmp_path / "x.lmdb"), map_size=2**26) as environment, environment.begin(write=True) as empty:
        write_records(empty, Metadata("raw", {"gt": 2}, "haze"), index)
    assert "leads out of a folder" in refusal(open_lmdb, tmp_path / "x.lmdb")
    with lmdb.open(str(tmp_path / "y.lmdb"), map_size=2**26) as environment, environment.begin(write=True) as empty:
        empty.put(b"a", b"")
    (tmp_path / "y.lmdb" / "meta_info.txt").write_text(f"a.png (8,8,3) 1\n{name} (8,8,3) 1\n")
    assert "leads out of a folder" in refusal(open_lmdb, tmp_path / "y.lmdb")


def with_array(name, change):
    """A change of an LMDB that changes an array of its index."""

    def apply(transaction):
        with np.load(io.BytesIO(transaction.get(INDEX))) as file:
            arrays = {each: file[each].copy() for each in file.files}
        arrays[name] = change(arrays[name])
        changed = io.BytesIO()
        np.savez(changed, **arrays)
        transaction.put(INDEX, changed.getvalue())

    return apply


def with_value(field, value):
    def change(rows):
        rows[field][0] = value
        return rows

    return change


UNSOUND = {
    "names end as fractions": ("gt_ends", lambda ends: ends.astype(float), "of another kind"),
    "names end backwards": ("gt_ends", lambda ends: ends[::-1].copy(), "end at other places"),
    "names end beyond the text": ("gt_ends", lambda ends: ends + 1, "end at other places"),
    "fewer rows": ("lq_rows", lambda rows: rows[1:], r"it has .* images, and there are"),
    "rows of another shape": ("lq_rows", lambda rows: rows[None], r"it has .* images, and there are"),
    "rows of numbers": ("lq_rows", lambda rows: rows["height"], "of another kind"),
    "no pixels": ("gt_rows", with_value("height", 0), "has no pixels"),
    "depth of 3": ("gt_rows", with_value("depth", 3), "another depth"),
    "another size": ("gt_rows", with_value("width", 7), "another number of bytes"),
    "a partner that is not there": ("partners", lambda partners: partners + 9, "ground truth that is not there"),
    "partners of another shape": ("partners", lambda partners: partners[None], "pairs are not those"),
}


@pytest.mark.parametrize("what", UNSOUND)
def test_an_index_that_leads_nowhere_is_refused(what, made, tmp_path):
    name, change, said = UNSOUND[what]
    path = spoilt(made["raw"], tmp_path, with_array(name, change))
    assert re.search(f"its index is damaged .*{said}", refusal(open_lmdb, path))


@pytest.mark.parametrize(
    ("key", "value"),
    [("images", 3), ("images", {"gt": -1}), ("images", {"rgb": 1}), ("form", "jpeg"), ("pairing", 3), ("about", None)],
)
def test_metadata_of_another_kind_are_refused(key, value, made, tmp_path):
    def change(transaction):
        record = json.loads(bytes(transaction.get(METADATA)))
        transaction.put(METADATA, json.dumps({**record, key: value}).encode())

    path = spoilt(made["raw"], tmp_path, change)
    for read in (open_lmdb, peek_metadata):
        assert f"its metadata are damaged ('{key}' is" in refusal(read, path)


@pytest.mark.parametrize("line", [b"a.png (99999999999,12,3) 1", b"a.png (0,4,3) 1", b"\xff\xfea.png"])
def test_lines_of_basicsr_that_say_no_size_are_refused(line, folders, tmp_path):
    def forget(transaction):  # what this package has added
        for key in [bytes(key) for key, _ in transaction.cursor() if bytes(key).startswith(b"\0")]:
            transaction.delete(key)

    path = spoilt(make_for_basicsr(folders, tmp_path / "engine.lmdb")[0], tmp_path, forget)
    (path / "meta_info.txt").write_bytes(line)
    assert "meta_info.txt, line 1" in refusal(open_lmdb, path)
