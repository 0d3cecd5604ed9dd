"""The studies that were run: what docs/ says of them follows from the values of every image beside it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from dcpt_models.analysis.study.arms import read_study
from dcpt_models.analysis.study.bootstrap import AVERAGE
from dcpt_models.analysis.study.results import Comparison, paired, read_images

ROOT = Path(__file__).resolve().parents[2]
STUDIES = sorted(folder for folder in (ROOT / "docs" / "studies").iterdir())
SUMMARY = (ROOT / "docs" / "REPRODUCTION.md").read_text(encoding="utf-8")
every_study = pytest.mark.parametrize("folder", STUDIES, ids=lambda folder: folder.name)


def results(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return found


@every_study
def test_comparisons_are_those_of_the_images(folder: Path) -> None:
    found = results(folder)
    tests = {
        arm: [read_images(folder / arm / f"seed_{seed}" / "test") for seed in found["seeds"]] for arm in found["scores"]
    }
    assert len(found["comparisons"]) >= len(tests) - 1
    for one in found["comparisons"]:
        arm, baseline, metric = one["arm"], one["baseline"], one["metric"]
        again = Comparison.of(arm, baseline, metric, paired(tests[arm], tests[baseline], metric))
        assert again.by_seed == pytest.approx(one["by_seed"])
        for name, interval in again.found.items():
            said = one["difference"][name]
            assert tuple(interval) == pytest.approx((said["mean"], said["low"], said["high"]), abs=1e-9)


@every_study
def test_a_page_is_of_the_study_file_of_its_name(folder: Path) -> None:
    found = results(folder)
    study = read_study(ROOT / "options" / "mini" / f"study_{folder.name.removeprefix('mini_')}.yml", [])
    assert (study.name, study.seeds, study.reference, study.control) == tuple(
        found[key] for key in ("name", "seeds", "reference", "control")
    )
    assert list(study.arms) == list(found["scores"])
    page = (folder / "page.md").read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)]+)\)", page):
        assert (folder / link).is_file()


@every_study
def test_the_summary_has_the_figures_of_the_page(folder: Path) -> None:
    found = results(folder)
    compared = {(one["arm"], one["baseline"]): one for one in found["comparisons"] if one["metric"] == "psnr"}
    (section,) = re.findall(rf"studies/{folder.name}/page\.md.*?(?=^## |^### |\Z)", SUMMARY, re.S | re.M)
    rows = {match[1]: match[0] for match in re.finditer(r"^\| `(\w+)`.*$", section, re.M)}
    assert list(rows) == list(found["scores"])
    for arm, row in rows.items():
        values = found["scores"][arm]["psnr"][AVERAGE]
        assert f"| {sum(values) / len(values):.2f} |" in row
        for baseline in filter(None, (found["reference"], found["control"])):
            if arm != baseline:
                said = compared[arm, baseline]["difference"][AVERAGE]
                interval = f"[{said['low']:+.2f}, {said['high']:+.2f}]"
                assert f"{said['mean']:+.2f} {interval}" in row
        if arm != found["reference"]:
            assert ", ".join(f"{value:+.2f}" for value in compared[arm, found["reference"]]["by_seed"]) in row
