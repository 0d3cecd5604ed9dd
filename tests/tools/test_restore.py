"""tools/restore.py on a folder in which much is wrong: each file fails by its name, and the others are restored."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from commands import Commands
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
