"""The page of `dcpt app` by HTTP: the file of `dcpt restore` byte for byte, limits, nothing from or to elsewhere."""

from __future__ import annotations

import re
import signal
import struct
import sys
import urllib.error
import urllib.request
import zlib
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from app_server import Server, serve
from commands import Commands
from gradio_client import Client, handle_file
from other_networks import write_other
from PIL import Image

from dcpt_data import DataError
from dcpt_data.images.photograph_files import ImageFile, read_image_file, write_image_file
from dcpt_models.errors import OptionError
from dcpt_tools.photographs import app
from dcpt_tools.photographs.page.layout import Page, StopError
from dcpt_tools.photographs.page.limits import Limits
from dcpt_tools.photographs.page.sessions import Sessions

OWN = "the package's own (small)"
ROWS, DIAGNOSIS, PAIR, RESULTS = 0, 2, 4, 5  # among what the first tab's events return


@pytest.fixture(scope="module")
def server(commands: Commands, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(commands, tmp_path_factory.mktemp("app"), "--max-megapixels", "1") as running:
        yield running


@pytest.fixture
def photograph(crops: dict[str, np.ndarray], tmp_path: Path) -> Path:
    exif = Image.Exif()
    exif[271] = "A camera"
    write_image_file(tmp_path / "cat.jpg", ImageFile(crops["cat"], exif=exif.tobytes(), dpi=(300.0, 300.0)))
    return tmp_path / "cat.jpg"


def bomb(file: Path, side: int) -> Path:
    """A PNG of some bytes that says it has `side` x `side` pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return file


def files(answer: tuple) -> list[Path]:
    shown = answer[RESULTS]
    found = shown["value"] if isinstance(shown, dict) else shown
    return [Path(one) for one in found or []]


def test_the_download_is_the_file_of_restore(
    server: Server, photograph: Path, commands: Commands, tmp_path: Path
) -> None:
    deep = np.random.default_rng(0).integers(0, 2**16, (40, 56, 3)).astype(np.uint16)
    write_image_file(tmp_path / "deep.png", ImageFile(deep, alpha=deep[..., 0]))
    client = Client(server.address, verbose=False, download_files=str(tmp_path / "downloaded"))
    given = [photograph, tmp_path / "deep.png"]
    looked = client.predict([handle_file(one) for one in given], api_name="/look")
    rows = looked[ROWS]["data"]
    assert [row[0] for row in rows] == ["cat.jpg", "deep.png"]
    assert all("%" in row[1] for row in rows)
    assert looked[DIAGNOSIS]["value"]["confidences"]
    for strength in (1, 0.4):
        if strength == 1:
            answer = client.predict(OWN, strength, -1, False, 0, [], api_name="/restore")
        else:  # by the slider
            answer = client.predict(strength, 1, api_name="/blend")
        words = ("--strength", strength, "--out", f"out{strength}")
        assert commands.run("tools/restore.py", *given, *words, cwd=tmp_path).returncode == 0
        downloaded = files(answer)
        assert [file.name for file in downloaded] == ["cat.jpg", "deep.png"]
        for file in downloaded:
            assert file.read_bytes() == (tmp_path / f"out{strength}" / file.name).read_bytes()
        assert answer[ROWS]["data"][0][5] == f"restored, strength {strength}"
    told = files(client.predict(OWN, 1, -1, False, 0, ["low_light"], api_name="/restore"))
    assert (
        commands.run("tools/restore.py", *given, "--remove", "low_light", "--out", "told", cwd=tmp_path).returncode == 0
    )
    assert [file.read_bytes() for file in told] == [(tmp_path / "told" / file.name).read_bytes() for file in told]
    kept = read_image_file(downloaded[0])
    assert kept.exif and b"A camera" in kept.exif and kept.dpi == (300.0, 300.0)


def test_a_checkpoint_of_others_is_opened_on_the_page(
    server: Server, photograph: Path, commands: Commands, tmp_path: Path
) -> None:
    weights = write_other("DRUNet", tmp_path / "drunet.pth")
    client = Client(server.address, verbose=False)
    assert "drunet.pth" in str(client.predict(handle_file(weights), api_name="/open"))
    client.predict([handle_file(photograph)], api_name="/look")
    (downloaded,) = files(client.predict("drunet.pth", 1, -1, True, 0, [], api_name="/restore"))
    words = ("--weights", weights, "--self-ensemble", "--out", "out")
    assert commands.run("tools/restore.py", photograph, *words, cwd=tmp_path).returncode == 0
    assert downloaded.read_bytes() == (tmp_path / "out" / "cat.jpg").read_bytes()
    (tmp_path / "none.pth").write_bytes(b"no checkpoint")
    with pytest.raises(Exception, match=r"none\.pth"):
        client.predict(handle_file(tmp_path / "none.pth"), api_name="/open")


def test_stop_takes_effect_before_the_next_tile(tmp_path: Path) -> None:
    session, seen = Sessions(tmp_path).of("tab"), []
    report = Page._progress(session, lambda share, **words: seen.append(share), 1, 3, "cat.jpg")
    report(0.5)
    assert seen == [(1.0, 3), (1.5, 3)]
    session.stopped = True
    with pytest.raises(StopError):
        report(0.6)


def test_what_is_too_large_or_no_image_is_refused_by_its_name(server: Server, photograph: Path, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    client = Client(server.address, verbose=False)
    given = [bomb(tmp_path / "bomb.png", 60_000), tmp_path / "text.png", photograph]
    rows = client.predict([handle_file(one) for one in given], api_name="/look")[ROWS]["data"]
    assert "60000 x 60000 pixels are more than 1 megapixels" in rows[0][5]
    assert "text.png: not an image" in rows[1][5]
    assert "%" in rows[2][1]
    answer = client.predict(OWN, 1, -1, False, 2, [], api_name="/restore")
    assert [file.name for file in files(answer)] == ["cat.jpg"]


def test_a_degradation_is_tried_out(server: Server, photograph: Path) -> None:
    client = Client(server.address, verbose=False)
    words, _, shown = client.predict(handle_file(photograph), ["noise"], "sigma=25", 3, OWN, api_name="/try_out")
    found = re.search(r"noise\*\*: PSNR ([\d.]+) dB degraded, ([\d.]+) dB restored by \w+", words)
    clean = read_image_file(photograph).pixels.astype(float)
    for said, file in zip(found.groups(), shown["value"], strict=True):
        error = ((read_image_file(file).pixels - clean) ** 2).mean()
        assert float(said) == pytest.approx(10 * np.log10(255**2 / error), abs=0.006)
    assert float(found[1]) == pytest.approx(20.2, abs=0.6)
    with pytest.raises(Exception, match="did you mean 'sigma'"):
        client.predict(handle_file(photograph), ["noise"], "sigmma=25", 0, OWN, api_name="/try_out")


def ask(address: str, host: str | None = None) -> tuple[int, dict[str, str], str]:
    request = urllib.request.Request(address, headers={"Host": host} if host else {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, dict(answer.headers), answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read().decode()


def test_it_answers_this_machine_alone_and_loads_nothing_from_elsewhere(server: Server) -> None:
    status, headers, page = ask(server.address)
    assert status == 200
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy and "http" not in policy
    loaded = re.findall(r"<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=[\"']?(https?:)?//", page)
    assert loaded == []
    assert ask(server.address, "evil.example")[0] == 421
    assert ask(server.address, f"localhost:{server.port}")[0] == 200
    listening = [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if " 0A " in line]
    port = f"{server.port:04X}"
    assert [place for place in listening if place.endswith(f":{port}")] == [f"0100007F:{port}"]  # 127.0.0.1


def test_sigterm_ends_it_and_removes_everything(commands: Commands, photograph: Path, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    with serve(commands, tmp_path) as running:
        client = Client(running.address, verbose=False)
        client.predict([handle_file(photograph)], api_name="/look")
        assert list(temporary.rglob("cat.jpg"))
        running.started.send(signal.SIGTERM)
        done = running.started.wait()
    assert done.returncode == 0, done.stderr
    assert list(temporary.rglob("*")) == []


def test_mistakes_are_told_before_it_serves(commands: Commands, tmp_path: Path, server: Server) -> None:
    done = commands.run("tools/app.py", "--no-browser", "--weights", "none.pth", cwd=tmp_path)
    assert done.returncode == 1
    assert "none.pth: no such checkpoint" in done.stderr
    done = commands.run("tools/app.py", "--no-browser", "--port", str(server.port), cwd=tmp_path)
    assert done.returncode == 2
    assert f"--port {server.port}: " in done.stderr
    assert "Traceback" not in done.stderr


def test_without_gradio_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    arguments = Namespace(weights=[], device="cpu", port=0)
    with pytest.raises(OptionError, match=r'the page needs Gradio .*pip install "dcpt\[app\]"'):
        app.serve(arguments, tmp_path)


def test_limits_are_told_by_headers(tmp_path: Path) -> None:
    write_image_file(tmp_path / "a.tif", ImageFile(np.zeros((1000, 1100, 3), np.uint8)))
    Limits(megapixels=2).check(tmp_path / "a.tif")
    with pytest.raises(DataError, match="1100 x 1000 pixels are more than 1 megapixels"):
        Limits(megapixels=1).check(tmp_path / "a.tif")
    (tmp_path / "b.png").write_bytes(bytes(1_000_001))
    with pytest.raises(DataError, match="more than 1 MB"):
        Limits(megabytes=1).check(tmp_path / "b.png")


def test_a_closed_tab_leaves_nothing_and_takes_nothing_of_others(tmp_path: Path) -> None:
    uploads = tmp_path / "digest"
    uploads.mkdir()
    (uploads / "a.png").write_bytes(b"1")
    sessions = Sessions(tmp_path)
    for name in ("one", "two"):
        session = sessions.of(name)
        session.photographs = [session.take(uploads / "a.png")]
    sessions.close("one")
    assert (uploads / "a.png").exists()
    assert sessions.of("two").photographs[0].source.read_bytes() == b"1"
    sessions.close("two")
    sessions.close("nobody")
    assert list(tmp_path.iterdir()) == []
