"""Making LMDBs: what goes in, and that nothing is lost and nothing half-written is read, whatever interrupts it."""

from __future__ import annotations

import multiprocessing
import resource
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import lmdb
import numpy as np
import pytest
from lmdb_data import make, make_for_basicsr, plan, section, write_pairs
from PIL import Image
from skimage import data as photographs

from dcpt_data import DataError, DegradationDataset
from dcpt_data.datasets.options import SetOptions
from dcpt_data.images.pixels import read_image, write_image
from dcpt_data.preparation import lmdb_creation
from dcpt_data.preparation.lmdb_creation import create_lmdb
from dcpt_data.preparation.lmdb_plans import plan_source, sources_read
from dcpt_data.preparation.lmdb_verification import verify_lmdb
from dcpt_data.stores.lmdb_environment import LmdbFile
from dcpt_data.stores.lmdb_format import DONE, FORMS, SIDES, Metadata
from dcpt_data.stores.lmdb_store import open_lmdb, peek_metadata
from dcpt_data.stores.lmdb_writer import open_writer

FORKED = multiprocessing.get_context("fork")  # processes of their own, which need not import everything again
TILE = 24


@pytest.fixture(scope="module")
def tiles(crops):
    """Thirty small images that differ in content and size."""
    found = {}
    for name, image in crops.items():
        for i in range(5):
            found[f"{name}{i}"] = image[4 * i : 4 * i + TILE, 8 * i : 8 * i + TILE + i]
    return found


@pytest.fixture
def many(tiles, tmp_path):
    """Options of thirty pairs, and where their LMDB goes."""
    out = tmp_path / "x.lmdb"
    return SimpleNamespace(
        options=write_pairs(tmp_path, tiles), out=out, partial=tmp_path / ".x.lmdb.partial", count=60
    )


def refusal(function, *args, **kwargs):
    with pytest.raises(DataError) as caught:
        function(*args, **kwargs)
    return str(caught.value)


def assert_whole(out, options, tiles):
    """The LMDB has every pair, as the folders do, and nothing is left of its making."""
    assert verify_lmdb(out, workers=1) == (2 * len(tiles), [])
    contents = open_lmdb(out)
    for side, root in (("gt", options.dataroot_gt), ("lq", options.dataroot_lq)):
        store = contents.side(side)
        assert list(store.names) == sorted(f"{name}.png" for name in tiles)
        for index, name in enumerate(store.names):
            np.testing.assert_array_equal(store.picture(index).pixels(), read_image(Path(root, name)))
    with LmdbFile.at(out).transaction() as transaction:
        keys = [bytes(key) for key, _ in transaction.cursor()]
    assert [key for key in keys if key.startswith(b"\0")] == [b"\0begun", b"\0index", b"\0metadata"]
    assert {path.name for path in out.iterdir()} <= {"data.mdb", "lock.mdb", "meta_info.txt"}
    assert not out.with_name(f".{out.name}.partial").exists()


class Progress:
    """What is reported; `act` is called with each number of images done."""

    def __init__(self, act=lambda done: None):
        self.calls, self.act = [], act

    def __call__(self, done, total):
        self.calls.append((done, total))
        self.act(done)


# What is made


@pytest.mark.parametrize("form", FORMS)
def test_an_lmdb_is_whole_and_says_what_it_is(many, tiles, form):
    progress = Progress()
    make(many.options, many.out, form, report=progress, workers=2)
    assert progress.calls == [(done, 60) for done in range(61)]
    assert peek_metadata(many.out) == Metadata(form, {"lq": 30, "gt": 30}, "rain", "same", None, "your own folder")
    assert (many.out / "meta_info.txt").exists() == (form != "raw")
    assert_whole(many.out, many.options, tiles)


def test_records_of_originals_are_the_files_bytes(many):
    make(many.options, many.out, "original")
    contents = open_lmdb(many.out)
    for side, root in (("gt", many.options.dataroot_gt), ("lq", many.options.dataroot_lq)):
        store = contents.side(side)
        for index, name in enumerate(store.names):
            assert store.encoded(index).data == Path(root, name).read_bytes()


@pytest.mark.parametrize("form", FORMS)
def test_files_of_every_kind_keep_their_pixels(tmp_path, form):
    folder = tmp_path / "in"
    folder.mkdir()
    cat = photographs.chelsea()[:40, :50]
    write_image(folder / "jpeg.jpg", cat)
    write_image(folder / "bitmap.bmp", cat)
    write_image(folder / "deep.tif", cat.astype(np.uint16) * 257 + 1)
    write_image(folder / "web.webp", cat)
    shutil.copy(Path(photographs.__file__).parent / "camera.png", folder / "gray.png")
    out = make(SetOptions(degradation="noise", dataroot_gt=str(folder)), tmp_path / "x.lmdb", form)
    assert verify_lmdb(out) == (5, [])
    store = open_lmdb(out).side("gt")
    for index, name in enumerate(store.names):
        np.testing.assert_array_equal(store.picture(index).pixels(), read_image(folder / name))


def test_one_lmdb_is_made_from_another(many, tiles, tmp_path):
    gt, lq = make_for_basicsr(many.options, tmp_path / "engine.lmdb")
    options = SetOptions(degradation="rain", dataroot_gt=str(gt), dataroot_lq=str(lq))
    make(options, many.out)
    assert_whole(many.out, many.options, tiles)
    raw = SetOptions(degradation="rain", dataroot_gt=str(many.out), dataroot_lq=str(many.out))
    assert "raw pixels have no file of their own" in refusal(make, raw, tmp_path / "y.lmdb", "original")
    assert_whole(make(raw, tmp_path / "z.lmdb", "png"), many.options, tiles)


def test_a_map_that_is_too_small_grows(many, tiles):
    make(many.options, many.out, map_size=2**16)
    assert_whole(many.out, many.options, tiles)


def test_a_source_gets_its_lmdb_where_it_is_looked_for(crops, tmp_path):
    write_pairs(tmp_path / "made", crops)
    folder = tmp_path / "Rain200L" / "train"
    folder.mkdir(parents=True)
    (tmp_path / "made" / "gt").rename(folder / "norain")
    (tmp_path / "made" / "lq").rename(folder / "rain")
    (folder / "stand_in.json").write_text("{}")
    (found,) = plan_source("Rain200L", tmp_path, "raw")
    assert found.out == tmp_path / "lmdb" / "Rain200L.lmdb"
    create_lmdb(found)
    metadata = peek_metadata(found.out)
    assert (metadata.source, metadata.degradation, metadata.stand_in) == ("Rain200L", "rain", True)
    assert "Yang et al., CVPR 2017" in metadata.about
    backend = {"io_backend": {"type": "lmdb"}, "datasets_root": str(tmp_path)}
    assert len(DegradationDataset(section(source="Rain200L", **backend))) == 6
    assert sources_read({"val": section("val", source="Rain200L", datasets_root="x")}) == [("Rain200L", "x")]
    assert sources_read({"val": section("val", degradation="rain", dataroot_gt="x")}) == []


def test_a_source_whose_data_are_not_there_is_told_with_where_they_come_from(tmp_path):
    message = refusal(plan_source, "Rain200L", tmp_path, "raw")
    assert "Rain200L: " in message and "no such folder" in message and "https://" in message
    assert f"dcpt prepare Rain200L --from UNPACKED_ARCHIVE --root {tmp_path}" in message


# Interruptions


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_killed_process_has_committed_is_kept(many, tiles, workers):
    def work():
        slowly = Progress(lambda done: time.sleep(0.03))
        create_lmdb(plan(many.options, many.out), workers, slowly, commit_bytes=1)

    process = FORKED.Process(target=work)
    process.start()
    while committed(many.partial) < 12:
        assert process.is_alive()
        time.sleep(0.01)
    helpers = children(process.pid)
    assert len(helpers) == workers
    process.kill()
    process.join()
    assert not many.out.exists()
    assert "it was begun, and the same command completes it" in refusal(open_lmdb, many.out)
    copy = shutil.copytree(many.partial, many.out.with_name("copy.lmdb"))
    assert "is not complete; give the command that began it again" in refusal(open_lmdb, copy)
    kept = committed(many.partial)
    assert 12 <= kept < 60
    progress = Progress()
    make(many.options, many.out, report=progress)
    assert progress.calls == [(done, 60) for done in range(kept, 61)]
    assert_whole(many.out, many.options, tiles)
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in helpers))


def committed(partial):
    """How many images an unfinished LMDB has; each has its own commit here."""
    try:
        with lmdb.open(str(partial), readonly=True, lock=False) as environment, environment.begin() as transaction:
            prefix = DONE.partition(b"%")[0]
            return sum(bytes(key).startswith(prefix) for key, _ in transaction.cursor())
    except lmdb.Error:
        return 0  # not there yet


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_ctrl_c_loses_no_commit(many, tiles):
    def interrupt(done):
        if done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(many.options, many.out, report=Progress(interrupt), commit_bytes=1)
    assert committed(many.partial) >= 19
    make(many.options, many.out)
    assert_whole(many.out, many.options, tiles)


def test_a_crash_before_the_last_step_costs_no_work(many, tiles, monkeypatch):
    def crash(*_):
        raise OSError("crashed")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="crashed"):
        patch.setattr(Path, "rename", crash)
        make(many.options, many.out)
    assert not many.out.exists()
    assert "was begun with other images" in refusal(make, many.options, many.out, "png")
    progress = Progress()
    make(many.options, many.out, report=progress)
    assert progress.calls == []
    assert_whole(many.out, many.options, tiles)


def test_files_that_changed_meanwhile_are_stored_again(many, tiles, crops):
    interrupted(many)
    changed = {**tiles, "cat0": crops["cup"][:TILE, :TILE]}
    write_pairs(many.out.parent, {"cat0": changed["cat0"]})
    progress = Progress()
    make(many.options, many.out, report=progress)
    assert progress.calls[0] == (29, 60)  # one of the thirty that were committed is not kept
    assert_whole(many.out, many.options, changed)


def interrupted(many, at=30):
    def interrupt(done):
        if done > at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(many.options, many.out, report=Progress(interrupt), commit_bytes=1)
    assert committed(many.partial) == at + 1 or committed(many.partial) == at


def test_another_set_of_images_does_not_go_on_where_one_was_interrupted(many):
    interrupted(many)
    assert "was begun with other images, in another form" in refusal(make, many.options, many.out, "png")
    (Path(many.options.dataroot_gt) / "cat0.png").unlink()
    (Path(many.options.dataroot_lq) / "cat0.png").unlink()
    message = refusal(make, many.options, many.out)
    assert str(many.partial) in message and "remove this folder to begin anew" in message


def test_two_processes_do_not_write_at_once(many, tiles):
    inside, done = FORKED.Event(), FORKED.Event()

    def work():
        with open_writer(many.partial, "digest"):
            inside.set()
            done.wait(20)

    process = FORKED.Process(target=work)
    process.start()
    try:
        assert inside.wait(20)
        assert "another process is writing to it" in refusal(make, many.options, many.out)
    finally:
        done.set()
        process.join()


# Disk


def test_a_disk_without_room_is_refused_before_anything_is_written(many, monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=100_000))
    message = refusal(make, many.options, many.out)
    assert "0.4 MB are needed and 0.1 MB are free" in message and "choose another place" in message
    assert "--form original takes 0.3 MB" in message
    assert committed(many.partial) == 0
    assert "--form" not in refusal(make, many.options, many.out.with_name("y.lmdb"), "original")


def test_a_disk_that_becomes_full_loses_no_commit(many, tiles):
    told, telling = FORKED.Pipe(duplex=False)

    def work():
        # A write beyond this size fails half-way, as one does for which the disk has no room.
        resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, resource.RLIM_INFINITY))
        telling.send(refusal(make, many.options, many.out, commit_bytes=10_000))

    process = FORKED.Process(target=work)
    process.start()
    process.join(60)
    assert told.poll()
    message = told.recv()
    assert f"{many.partial}: cannot be written" in message and "is the disk full" in message
    assert "run the same command again" in message
    assert not many.out.exists()
    kept = committed(many.partial)
    assert kept >= 3
    progress = Progress()
    make(many.options, many.out, report=progress)
    assert 0 < progress.calls[0][0] < 60
    assert_whole(many.out, many.options, tiles)


# What is refused


def test_an_lmdb_is_never_overwritten(many):
    many.out.mkdir()
    message = refusal(make, many.options, many.out)
    assert message == f"{many.out} exists; remove it first to make it again, or check it with --verify"


def test_a_name_without_the_suffix_is_refused(many):
    assert "must end with .lmdb" in refusal(make, many.options, many.out.with_suffix(".db"))


@pytest.mark.parametrize("form", FORMS)
def test_all_images_that_cannot_be_read_are_named_and_the_others_kept(many, tiles, form):
    gt = Path(many.options.dataroot_gt)
    whole = {name: (gt / name).read_bytes() for name in ("cat0.png", "suit3.png")}
    (gt / "cat0.png").write_bytes(whole["cat0.png"][:-60])
    damaged = bytearray(whole["suit3.png"])
    damaged[len(damaged) // 2] ^= 255
    (gt / "suit3.png").write_bytes(damaged)
    message = refusal(make, many.options, many.out, form)
    assert message.startswith("2 of 60 images cannot be stored:")
    assert f"{gt}/cat0.png" in message and f"{gt}/suit3.png" in message
    for name, content in whole.items():
        (gt / name).write_bytes(content)
    progress = Progress()
    make(many.options, many.out, form, report=progress)
    assert progress.calls[0] == (58, 60)
    assert_whole(many.out, many.options, tiles)


def test_a_file_that_changes_while_it_is_read_is_named(crop_folder, tmp_path, monkeypatch):
    # The process that writes reads originals again; here they differ from what was checked. (Six are so few that no
    # other process is begun for them.)
    encode = lmdb_creation.encode

    def other(parts, form, item):
        encoded = encode(parts, form, item)
        encoded.row["row"]["checksum"] ^= 1
        return encoded

    monkeypatch.setattr(lmdb_creation, "encode", other)
    options = SetOptions(degradation="noise", dataroot_gt=str(crop_folder))
    message = refusal(make, options, tmp_path / "x.lmdb", "original")
    assert "6 of 6 images cannot be stored" in message
    assert f"{crop_folder / 'cat.png'}: changed while it was read" in message


def test_pairs_of_unequal_sizes_are_refused(many, crops):
    write_image(Path(many.options.dataroot_lq) / "cup1.png", crops["cup"][:20, :21])
    message = refusal(make, many.options, many.out)
    assert "1 images differ in size from their ground truth (cup1.png; the first two are 21x20 and 25x24)" in message


def test_two_images_of_one_name_are_refused(tmp_path, crops):
    for name in ("a.png", "a.jpg"):
        write_image(tmp_path / name, crops["cat"])
    message = refusal(plan, SetOptions(degradation="noise", dataroot_gt=str(tmp_path)), tmp_path / "x.lmdb")
    assert "a.jpg and a.png share one name" in message


def test_a_name_that_is_longer_than_a_key_is_named(tmp_path, crops):
    folder = tmp_path / ("d" * 200) / ("e" * 200) / ("f" * 200)
    folder.mkdir(parents=True)
    write_image(folder / "a.png", crops["cat"])
    options = SetOptions(degradation="noise", dataroot_gt=str(tmp_path))
    assert "longer than the 511 bytes" in refusal(make, options, tmp_path / "x.lmdb")


def test_what_basicsr_cannot_read_is_refused(crops, tmp_path):
    for name in ("a.b", "a_b"):
        write_image(tmp_path / f"{name}.png", crops["cat"])
    options = SetOptions(degradation="noise", dataroot_gt=str(tmp_path))
    assert "BasicSR does not know raw pixels" in refusal(make_for_basicsr, options, tmp_path / "x.lmdb", "raw")
    assert "two images are called 'a_b'" in refusal(make_for_basicsr, options, tmp_path / "x.lmdb")
    (tmp_path / "a.b.png").rename(tmp_path / "ä.png")
    assert "'ä' is not ASCII" in refusal(make_for_basicsr, options, tmp_path / "x.lmdb")


def test_sides_have_fixed_numbers():
    # They stand in unfinished LMDBs.
    assert SIDES == ("lq", "gt")


def test_links_that_lead_nowhere_are_named_and_the_others_kept(tmp_path, crops):
    folder = tmp_path / "gt"
    folder.mkdir()
    for name in ("a", "c"):
        write_image(folder / f"{name}.png", crops["cat"])
    (folder / "b.png").symlink_to("missing.png")
    options = SetOptions(degradation="noise", dataroot_gt=str(folder))
    message = refusal(make, options, tmp_path / "x.lmdb")
    assert "1 of 3 images cannot be stored" in message
    assert "b.png: cannot be read (No such file or directory)" in message
    (folder / "b.png").unlink()
    write_image(folder / "b.png", crops["cup"])
    assert len(open_lmdb(make(options, tmp_path / "x.lmdb")).side("gt")) == 3


@pytest.mark.parametrize("form", ["raw", "png", "original"])
def test_images_are_stored_upright(form, tmp_path, crops):
    exif = Image.Exif()
    exif[274] = 6
    (tmp_path / "gt").mkdir()
    Image.fromarray(np.rot90(crops["cat"], 1)).save(tmp_path / "gt" / "a.png", exif=exif)
    out = make(SetOptions(degradation="noise", dataroot_gt=str(tmp_path / "gt")), tmp_path / "x.lmdb", form)
    picture = open_lmdb(out).side("gt").picture(0)
    assert picture.shape == crops["cat"].shape[:2]
    np.testing.assert_array_equal(picture.pixels(), crops["cat"])
    assert verify_lmdb(out) == (1, [])
