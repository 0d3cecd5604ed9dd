"""The page of `dcpt app` in a Chromium: upload, wait, drag the slider, download, close the tab; wide and narrow."""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from app_server import Server, serve
from commands import Commands

from dcpt_data.images.photograph_files import ImageFile, write_image_file

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
MISSING = "no Chromium and chromedriver here (Debian: apt-get install chromium chromium-driver)"
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=MISSING)
webdriver = pytest.importorskip("selenium.webdriver", reason="drives the browser: pip install selenium")
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # needed by root, in containers
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("browser")


@pytest.fixture(scope="module")
def server(commands: Commands, folder: Path) -> Iterator[Server]:
    with serve(commands, folder) as running:
        yield running
        running.started.send(signal.SIGINT)
        assert running.started.wait().returncode == 0
        assert list((folder / "temporary").iterdir()) == []


@pytest.fixture
def browser(folder: Path) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(folder / "downloads")})
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield opened
    opened.quit()


def wait(condition: Any, seconds: float = 120) -> Any:
    """What a condition gives once it gives something; elements that the page replaces are looked for again."""
    from selenium.common.exceptions import WebDriverException

    end, last = time.monotonic() + seconds, None
    while time.monotonic() < end:
        try:
            if found := condition():
                return found
        except (IndexError, WebDriverException) as error:  # not there yet, or replaced meanwhile
            last = error
        time.sleep(0.2)
    raise TimeoutError(f"it did not come: {last}")


def test_a_visit(
    browser: Any, server: Server, folder: Path, crops: dict[str, np.ndarray], commands: Commands, tmp_path: Path
) -> None:
    def all_of(selector: str) -> list[Any]:
        return browser.find_elements("css selector", selector)

    write_image_file(tmp_path / "cat.png", ImageFile(crops["cat"]))
    browser.set_window_size(1280, 1000)
    browser.get(server.address)
    wait(lambda: all_of("#photographs input[type=file]"))[0].send_keys(str(tmp_path / "cat.png"))
    wait(lambda: all_of("#map img"))
    wait(lambda: "%" in all_of("#diagnosis")[0].text)
    all_of("#restore")[0].click()
    images = wait(lambda: len(found := all_of("#pair img")) >= 2 and found)
    wait(lambda: all(image.get_property("naturalWidth") == 96 for image in images))  # both have loaded

    # The slider shows more of the one photograph once it is dragged.
    clip = "return getComputedStyle(document.querySelectorAll('#pair img')[1]).clipPath"
    before = browser.execute_script(clip)
    handle = all_of("#pair [role=slider], #pair .outer, #pair .inner")[0]
    actions = webdriver.ActionChains(browser)
    actions.click_and_hold(handle).move_by_offset(-40, 0).release().perform()
    wait(lambda: browser.execute_script(clip) != before)

    # The download is the file of `dcpt restore`.
    wait(lambda: all_of("#results a[download]"))[0].click()
    downloaded = folder / "downloads" / "cat.png"
    wait(downloaded.exists)
    assert commands.run("tools/restore.py", tmp_path / "cat.png", "--out", "out", cwd=tmp_path).returncode == 0
    assert downloaded.read_bytes() == (tmp_path / "out" / "cat.png").read_bytes()

    # Nothing is wider than a telephone's window.
    browser.set_window_size(420, 900)
    wait(lambda: browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth"))

    # Nothing was asked of another machine.
    logged = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [one["params"] for one in logged if one["method"] == "Network.requestWillBeSent"]
    asked = [one["request"]["url"] for one in sent if one["documentURL"].startswith(server.address)]
    assert len(asked) > 10
    assert [url for url in asked if not url.startswith((server.address, "data:", "blob:"))] == []

    # A closed tab leaves nothing.
    assert list((folder / "temporary").rglob("cat.png"))
    browser.get("about:blank")
    wait(lambda: not list((folder / "temporary").rglob("cat.png")))


def test_the_second_tab(browser: Any, server: Server, crops: dict[str, np.ndarray], tmp_path: Path) -> None:
    write_image_file(tmp_path / "cat.png", ImageFile(crops["cat"]))
    browser.set_window_size(1280, 1000)
    browser.get(server.address)
    tabs = wait(lambda: browser.find_elements("css selector", "button[role=tab]"))
    next(tab for tab in tabs if "degradation" in tab.text).click()
    wait(lambda: browser.find_elements("css selector", "#clean input[type=file]"))[0].send_keys(
        str(tmp_path / "cat.png")
    )
    wait(lambda: "cat" in browser.find_element("css selector", "#clean").text)
    browser.find_element("css selector", "#try").click()
    wait(lambda: "dB restored by" in browser.find_element("css selector", "#psnr").text)
    wait(lambda: len(browser.find_elements("css selector", "#tried img")) >= 2)
