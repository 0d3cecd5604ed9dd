"""tools/restore.py: folders in which much is wrong, strength, sheets, a watched folder, other projects' networks."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from commands import Commands
from other_networks import write_other
from PIL import Image

from dcpt_data.images.photograph_files import ImageFile, read_image_file, write_image_file

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.uint8)


def by_name(output: str, folder: Path) -> dict[str, dict]:
    records = {str(Path(record["input"]).relative_to(folder)): record for record in json.loads(output)["files"]}
    assert all(record["status"] in ("failed", "restored") for record in records.values())
    return records


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "in"
    made.mkdir()
    for name in ("a.png", "z.png", "n" * 250 + ".png", "caf\udce9.png"):
        write_image_file(made / name, ImageFile(PIXELS))
    (made / "lost.png").symlink_to("missing.png")
    (made / "round").symlink_to(made, target_is_directory=True)
    (made / "cut.png").write_bytes((made / "a.png").read_bytes()[:200])
    (made / "text.jpg").write_text("404: Not Found\n")
    Image.fromarray(PIXELS).save(made / "two.tif", save_all=True, append_images=[Image.new("RGB", (8, 8))])
    texts = [(50000, "B", 100_000, bytes(100_000), True)]
    tifffile.imwrite(made / "tag.tif", PIXELS, photometric="rgb", extratags=texts)
    write_image_file(made / "wide.png", ImageFile(np.zeros((1, 16_390, 3), np.uint8)))
    return made


def test_whatever_is_wrong_with_one_file_the_others_are_restored(folder, commands: Commands, tmp_path) -> None:
    done = commands.run("tools/restore.py", folder, "--out", "out", "--json", "--format", "webp", cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    records = by_name(done.stdout, folder)
    failed = {name: record["error"] for name, record in records.items() if record["status"] == "failed"}
    reasons = {
        "lost.png": "No such file",
        "cut.png": "truncated",
        "text.jpg": "not an image",
        "two.tif": "holds 2 images",
        "wide.png": "16,383 pixels a side",
    }
    assert set(failed) == {*reasons, *(name for name in failed if name.startswith("nnn"))}
    assert all(reason in failed[name] for name, reason in reasons.items())
    restored = {file.name for file in (tmp_path / "out").iterdir()}
    assert {"a.webp", "z.webp", "caf\udce9.webp", "tag.webp"} <= restored
    again = commands.run("tools/restore.py", folder, "--out", "out", cwd=tmp_path)  # in words
    assert again.returncode == 1
    assert "Traceback" not in again.stderr
    assert "lost.png: cannot be read" in again.stderr


def test_what_is_lost_is_in_the_record(folder, commands: Commands, tmp_path) -> None:
    options = ("--out", "out", "--json", "--format", "jpg")
    done = commands.run("tools/restore.py", folder / "tag.tif", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (record,) = json.loads(done.stdout)["files"]
    assert record["lost"] == ["EXIF tag 50000"]
    assert "EXIF tag 50000 is more than a JPEG holds" in done.stderr
    assert read_image_file(tmp_path / "out" / "tag.jpg").pixels.shape == PIXELS.shape


@pytest.mark.parametrize("out", ["file", "file/below"])
@pytest.mark.parametrize(("tool", "option"), [("restore", "--out"), ("diagnose", "--maps")])
def test_a_file_in_place_of_the_folder_is_wrong_usage(tool, option, out, commands: Commands, tmp_path) -> None:
    write_image_file(tmp_path / "a.png", ImageFile(PIXELS))
    (tmp_path / "file").touch()
    done = commands.run(f"tools/{tool}.py", "a.png", option, out, cwd=tmp_path)
    assert done.returncode == 2
    assert f"{option} {out}: file is a file; name a folder" in done.stderr


def test_strength_diagnosis_and_sheets(commands: Commands, tmp_path) -> None:
    deep = PIXELS.astype(np.uint16) * 257
    write_image_file(tmp_path / "a.png", ImageFile(PIXELS))
    write_image_file(tmp_path / "deep.tif", ImageFile(deep))
    results = {}
    for strength in ("0", "0.5", "1"):
        options = ("--out", f"out{strength}", "--strength", strength, "--precision", "fp32")
        done = commands.run("tools/restore.py", "a.png", "deep.tif", *options, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        results[strength] = [read_image_file(tmp_path / f"out{strength}" / f).pixels for f in ("a.png", "deep.tif")]
    assert "a.png -> out1/a.png: 32 x 24, " in done.stdout
    assert np.array_equal(results["0"][0], PIXELS) and np.array_equal(results["0"][1], deep)
    for image, half, full in zip((PIXELS, deep), results["0.5"], results["1"], strict=True):
        assert not np.array_equal(full, image)
        assert np.abs(half.astype(float) - (image.astype(float) + full) / 2).max() <= 0.5
    options = ("--diagnose", "--sheets", "sheets", "--json", "--self-ensemble")
    done = commands.run("tools/restore.py", "a.png", *options, cwd=tmp_path)
    (record,) = json.loads(done.stdout)["files"]
    probabilities = record["diagnosis"]["probabilities"]
    assert len(probabilities) == 11 and all(0 < chance < 1 for chance in probabilities.values())  # a yes or no for each
    assert record["diagnosis"]["answer"] in probabilities
    assert json.loads(done.stdout)["self_ensemble"] is True
    assert read_image_file(tmp_path / record["sheet"]).pixels.shape[1] > 2 * 32
    # Sheets are no photographs: what is in them is not restored by the next call.
    write_image_file(tmp_path / "in/b.png", ImageFile(PIXELS))
    for _ in range(2):
        done = commands.run("tools/restore.py", "in", "--sheets", "in/sheets", "--overwrite", "--json", cwd=tmp_path)
        assert [record["input"] for record in json.loads(done.stdout)["files"]] == ["in/b.png"]


def test_what_is_wrong_can_be_told(commands: Commands, tmp_path) -> None:
    write_image_file(tmp_path / "a.png", ImageFile(PIXELS))

    def restored(what: str) -> np.ndarray:
        words = ("--remove", what, "--out", what, "--json")
        done = commands.run("tools/restore.py", "a.png", *words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["remove"] == what
        return read_image_file(tmp_path / what / "a.png").pixels

    dark, both = restored("low_light"), restored("jpeg+low_light")
    assert dark.mean() > PIXELS.mean() + 30
    assert not np.array_equal(dark, both)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("a.png", "--remove", ""), "argument --remove: must not be empty"),
        (("a.png", "--remove", "noise+hase"), "this network does not know 'hase'; did you mean 'haze'?"),
        (("a.png", "--strength", "1.5"), "must be a number from 0 to 1"),
        (("a.png", "--watch", "."), "give images, or --watch FOLDER"),
        ((), "give images, or --watch FOLDER"),
        (("--watch", "none"), "--watch none: no such folder; make it first"),
        (("--watch", ".", "--out", "."), "must be two folders"),
    ],
)
def test_wrong_usage(options, message, commands: Commands, tmp_path) -> None:
    write_image_file(tmp_path / "a.png", ImageFile(PIXELS))
    done = commands.run("tools/restore.py", *options, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr


def wait_for(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_what_comes_into_a_watched_folder_is_restored(commands: Commands, tmp_path) -> None:
    (tmp_path / "in").mkdir()
    running = commands.start("tools/restore.py", "--watch", "in", "--json", cwd=tmp_path)
    running.wait_for("Ctrl-C ends it")
    write_image_file(tmp_path / "in/a.png", ImageFile(PIXELS))
    whole = (tmp_path / "in/a.png").read_bytes()
    wait_for((tmp_path / "restored/a.png").exists)
    (tmp_path / "in/bad.png").write_bytes(whole[:100])
    running.wait_for("bad.png: damaged")
    (tmp_path / "in/bad.png").write_bytes(whole)  # the copy went on
    wait_for((tmp_path / "restored/bad.png").exists)
    time.sleep(0.2)  # until the record is kept
    running.send(signal.SIGINT)
    done = running.wait()
    assert done.returncode == 0, done.stderr
    assert {record["input"]: record["status"] for record in json.loads(done.stdout)["files"]} == {
        "in/a.png": "restored",
        "in/bad.png": "restored",
    }


def test_a_network_of_others_enlarges_with_alpha_and_16_bits(commands: Commands, tmp_path) -> None:
    deep = np.random.default_rng(1).integers(0, 2**16, (40, 56, 3)).astype(np.uint16)
    write_image_file(tmp_path / "a.png", ImageFile(deep, alpha=deep[..., 0]))
    write_other("ESRGAN, x4", tmp_path / "net.pth")
    options = ("--weights", "net.pth", "--json", "--precision", "fp32")
    done = commands.run("tools/restore.py", "a.png", *options, "--out", "whole", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert (record["network"], record["scale"]) == ("ESRGAN", 4)
    assert (record["files"][0]["width"], record["files"][0]["height"]) == (224, 160)
    whole = read_image_file(tmp_path / "whole/a.png")
    assert whole.pixels.shape == (160, 224, 3) and whole.alpha.shape == (160, 224)
    assert whole.pixels.dtype == whole.alpha.dtype == np.uint16
    # It looks no further than 16 pixels, so that tiles give the same image.
    small = (*options, "--tile", "32", "--overlap", "16", "--out", "tiles")
    done = commands.run("tools/restore.py", "a.png", *small, cwd=tmp_path)
    assert json.loads(done.stdout)["files"][0]["tiles"] > 4
    tiles = read_image_file(tmp_path / "tiles/a.png").pixels
    assert np.abs(tiles.astype(float) - whole.pixels).max() < 2**16 / 255
