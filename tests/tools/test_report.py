"""The report of a run: what is in it, what it says of what is gone, and how a browser shows it."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import Commands, Done
from small_runs import NAMES, dcpt_options, launch, restoration_options, write

from dcpt_models import OptionError
from dcpt_models.analysis.report.contents import describe
from dcpt_models.analysis.report.figures import charts_of_training, charts_of_validation
from dcpt_models.analysis.report.page import CONFUSION, EXAMPLES, POINTS, RunReport, page
from dcpt_models.analysis.report.samples import Samples, rows_of
from dcpt_models.analysis.run_records import curves, find_runs, newest, started_in, validated

SMALL = ["--points", "6", "--crop", "32"]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

# What a test adds to a page: the first part notes whatever goes wrong, the second uses the page as a reader would.
WATCH = """<script>
const problems = [];
addEventListener("error", (event) => problems.push(`error: ${event.message || event.target.outerHTML}`), true);
addEventListener("securitypolicyviolation", (event) => problems.push(`refused: ${event.blockedURI}`));
console.error = console.warn = (...words) => problems.push(words.join(" "));
</script>"""
USE = """<script>
addEventListener("load", async () => {
  const sliders = [];
  for (const figure of document.querySelectorAll(".example")) {
    const [input, image] = [figure.querySelector("input"), figure.querySelector("img + img")];
    const seen = [getComputedStyle(image).clipPath];
    input.value = 20;
    input.dispatchEvent(new Event("input"));
    seen.push(getComputedStyle(image).clipPath);
    const button = figure.querySelector("button");
    const before = image.src;
    button?.click();
    sliders.push({ seen, swapped: image.src !== before, label: figure.querySelector("span + span").textContent });
  }
  const images = [...document.images];
  await Promise.all(images.map((image) => image.decode().catch((error) => problems.push(String(error)))));
  const sizes = images.map((image) => [image.naturalWidth, image.clientWidth]);
  const result = document.createElement("pre");
  result.id = "result";
  result.textContent = JSON.stringify({ problems, sliders, sizes, width: document.documentElement.scrollWidth });
  document.body.append(result);
});
</script>"""


@pytest.fixture(scope="module")
def runs(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny pre-training run and a tiny fine-tuning run."""
    home = tmp_path_factory.mktemp("report")
    pretraining = dcpt_options(photographs, home / "runs" / "dcpt")
    pretraining["name"] = "pre <training>"
    launch(write(pretraining, home, "dcpt.yml"))
    tuning = restoration_options(photographs, home / "runs" / "tuned")
    tuning["val"]["measure_input"] = True
    launch(write(tuning, home, "tuned.yml"))
    return home / "runs"


@pytest.fixture(scope="module")
def report(runs: Path, commands: Commands) -> tuple[Done, Path]:
    """The command's end, and the report of both runs."""
    done = commands.run("tools/report.py", runs, *SMALL, "--json", cwd=runs.parent)
    return done, runs / "report.html"


def test_a_report_has_all_parts_of_both_runs(runs: Path, report: tuple[Done, Path]) -> None:
    done, file = report
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record == {"file": str(file), "runs": [str(runs / "dcpt"), str(runs / "tuned")], "notes": record["notes"]}
    assert record["notes"] == {"pre <training>": {}, "tiny": {}}
    text = file.read_text(encoding="utf-8")
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    assert not re.search(r"url\(|@import|https?:", re.sub(r"<pre>.*?</pre>", "", text, flags=re.DOTALL))
    assert "<training>" not in text
    titles = re.findall(r'<section id="run-(\d)-[a-z-]+"><h3>([\w ]+)</h3>', text)
    first = ["Results", "Curves", "Confusion matrix", "Features", "Examples", "Options"]
    assert titles == [("0", title) for title in first] + [("1", title) for title in first if "Confusion" not in title]
    assert text.count('class="example"') == 1 + len(NAMES)
    last = json.loads((runs / "tuned" / "validation.jsonl").read_text().splitlines()[-1])["results"]
    assert f"<td>{last['average']['psnr']:.2f}" in text
    assert "l_pix" in text
    assert "ema_decay: 0.9" in text


def test_the_matrix_agrees_with_the_validation(runs: Path, report: tuple[Done, Path]) -> None:
    by_class = json.loads((runs / "dcpt" / "validation.jsonl").read_text().splitlines()[-1])["results"]
    text = report[1].read_text(encoding="utf-8")
    rows = re.findall(r"<tr><td>(\w+) \((\d+)\)</td>((?:<td style[^>]+>\d+%)+)", text)
    assert [row[0] for row in rows] == NAMES
    for i, (name, count, cells) in enumerate(rows):
        shares = [int(share) for share in re.findall(r">(\d+)%", cells)]
        assert count == "1"
        assert sum(shares) == 100
        assert shares[i] == 100 * by_class["accuracy by class"][name]


def test_a_browser_shows_it(report: tuple[Done, Path], tmp_path: Path) -> None:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no browser here: none of {', '.join(BROWSERS)} is installed (Debian: apt-get install chromium)")
    text = report[1].read_text(encoding="utf-8")
    page_, watched = tmp_path / "page.html", text.replace("<meta charset", f"{WATCH}<meta charset", 1)
    page_.write_text(watched.replace("</html>", f"{USE}</html>"), encoding="utf-8")
    line = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    line += ["--window-size=1200,900", "--virtual-time-budget=10000", "--enable-logging=stderr", "--dump-dom"]
    done = subprocess.run([*line, page_.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in done.stderr, done.stderr
    found = re.search(r'<pre id="result">(.*?)</pre>', done.stdout, flags=re.DOTALL)
    assert found, done.stdout[-2000:]
    result = json.loads(html.unescape(found[1]))
    assert result["problems"] == []
    assert len(result["sliders"]) == 1 + len(NAMES)
    for i, slider in enumerate(result["sliders"]):
        assert slider["seen"] == ["inset(0px 0px 0px 50%)", "inset(0px 0px 0px 20%)"]
        assert (slider["swapped"], slider["label"]) == ((True, "ground truth") if i else (False, "given back"))
    assert len(result["sizes"]) > 12
    assert all(natural > 50 and shown > 50 for natural, shown in result["sizes"])
    assert result["width"] <= 1200  # nothing stands out to the right


def change(run: Path, folder: Path, key: str, value: Any) -> Path:
    """A copy of a run with another entry at the top of its option file, or in its validation sets."""
    shutil.copytree(run, folder)
    file = next(folder.glob("*.yml"))
    options = yaml.safe_load(file.read_text())
    sections = [section for name, section in options["datasets"].items() if name != "train"]
    for section in sections if key in sections[0] else [options]:
        section[key] = value
    file.write_text(yaml.safe_dump(options, sort_keys=False))
    return folder


def test_what_is_gone_is_said_in_its_place(runs: Path, commands: Commands, tmp_path: Path) -> None:
    folder = change(runs / "dcpt", tmp_path / "runs" / "moved", "dataroot_gt", str(tmp_path / "gone"))
    shutil.copytree(runs / "tuned", tmp_path / "runs" / "weightless")
    for file in (tmp_path / "runs" / "weightless" / "models").iterdir():
        file.unlink()
    (folder / "metrics.csv").unlink()
    (folder / "validation.jsonl").unlink()
    done = commands.run("tools/report.py", "runs", "--out", "here/it.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.match(r"here/it\.html: (pre <training>, tiny|tiny, pre <training>), ", done.stdout)
    assert "Traceback" not in done.stderr
    text = html.unescape((tmp_path / "here" / "it.html").read_text(encoding="utf-8"))
    for said in (
        f"Cannot be made any more: 1 folders of data are missing:\n  {tmp_path / 'gone'}",
        "no checkpoints models/net_g_N.pth in it",
        "The run has no metrics.csv",
        "The run was not validated",
    ):
        assert said in text
    assert text.count("ema_decay: 0.9") == 1
    assert 'class="example"' not in text


def test_results_stand_beside_a_published_row(runs: Path) -> None:
    report = describe(runs / "tuned", ("5d", "DCPT-NAFNet"))
    text = page("Report", [report], "")
    assert "DCPT-NAFNet" in text
    assert re.search(r"<td>\d+\.\d\d \(\d\d\.\d\d\)", text)
    assert "ICLR 2025" in text
    with pytest.raises(OptionError, match="no table '6d'"):
        describe(runs / "tuned", ("6d", "NAFNet"))
    with pytest.raises(OptionError, match="no row 'NAFNett'"):
        describe(runs / "tuned", ("5d", "NAFNett"))


def test_relative_paths_are_meant_from_where_a_run_was_started(runs: Path, tmp_path: Path) -> None:
    elsewhere = Path("/repository")
    assert started_in(runs / "tuned", elsewhere) == elsewhere
    run = change(runs / "tuned", tmp_path / "home" / "runs" / "tuned", "path", {"experiments_root": "runs/tuned"})
    assert started_in(run, elsewhere) == tmp_path / "home"
    run = change(runs / "tuned", tmp_path / "home" / "runs" / "moved", "path", {"experiments_root": "runs/tuned"})
    assert started_in(run, elsewhere) == elsewhere


def test_records_of_a_run(runs: Path) -> None:
    assert find_runs(runs) == [runs / "dcpt", runs / "tuned"]
    assert find_runs(runs / "tuned") == [runs / "tuned"]
    assert newest(runs / "dcpt", "dc").name == "net_dc_latest.pth"
    last = json.loads((runs / "tuned" / "validation.jsonl").read_text().splitlines()[-1])
    assert validated(runs / "tuned")[3] == last["results"]["average"]
    logged = curves(runs / "dcpt")
    assert [iteration for iteration, _ in logged["losses/l_cls"]] == [1, 2, 3]
    titles = [chart.title for chart in charts_of_training(logged)]
    assert titles[:2] == ["l_cls", "l_pix"]
    assert titles.count("lr") == 1
    of_tuned = charts_of_validation({3: last["results"]})
    assert [chart.title for chart in of_tuned] == ["PSNR (dB), validation", "SSIM, validation"]  # no input_psnr
    assert list(of_tuned[0].lines) == [*NAMES, "average"]


def test_of_several_labels_an_image_counts_in_several_columns() -> None:
    samples = Samples(["haze", "rain"], {"haze+rain": [2, 1], "rain": [0, 4]}, {"haze+rain": 2, "rain": 4})
    assert rows_of(samples) == [("rain", 4, [0, 1]), ("haze+rain", 2, [1, 0.5])]
    text = page("Report", [RunReport("run", {}, "", samples=samples)], "")
    assert re.findall(r"rgb\((\d+) [\d ]+/ ([\d.]+)\)", text) == [
        ("213", "0.00"),
        ("0", "1.00"),
        ("0", "1.00"),
        ("0", "0.50"),
    ]


def test_notes_make_sections_of_their_own() -> None:
    report = RunReport("run", {}, "a: <b>")
    for section in (CONFUSION, POINTS, EXAMPLES):
        report.note(section, "why & how")
    text = page("Report", [report], "")
    assert text.count('<div class="note">why &amp; how</div>') == 3
    assert "a: &lt;b&gt;" in text


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere"], 2, "nowhere: no such folder"),
        (["{runs}/.."], 2, "no training run"),
        (["{runs}", "--table", "5e", "NAFNet"], 2, "no table '5e'"),
        (["{runs}", "--points", "2"], 2, "--points must be 0, or 3 and more"),
        (["{runs}", "--images", "none"], 2, "must be a whole number from 1"),
        (["{runs}", "--out", "{runs}"], 2, "is a folder; give --out a file"),
    ],
)
def test_mistakes_are_told(
    arguments: list[str], code: int, message: str, runs: Path, commands: Commands, tmp_path: Path
) -> None:
    done = commands.run("tools/report.py", *(one.format(runs=runs) for one in arguments), cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
