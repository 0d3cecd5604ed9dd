"""docs/README.md is the map of the tree: every sub-package and page is on it, and what it names is there."""

import re
from pathlib import Path

from test_import_direction import FLOORS

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")


def test_the_floors_are_those_that_the_test_of_imports_holds() -> None:
    drawn = TEXT.split("```")[1]
    for package, floors in FLOORS.items():
        line = drawn.split(f"\n{package} ")[1].split(";")[0].split("\ntools")[0].split("\ndcpt_")[0]
        assert [floor.replace("|", " ").split() for floor in line.split("<")] == [floor.split() for floor in floors]


def test_every_page_has_a_link_and_every_link_its_page() -> None:
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    links = set(re.findall(r"\]\((\w+(?:\.md)?)\)", TEXT))
    assert pages == {link for link in links if link.endswith(".md")}
    assert all((ROOT / "docs" / link).exists() for link in links)


def test_what_it_names_is_there() -> None:
    named = [name.replace("NAME", "*") for name in re.findall(r"`((?:dcpt_|tests/)[\w/.]+)`", TEXT)]
    assert len(named) > 20
    assert all(list(ROOT.glob(name.rstrip("/"))) for name in named), named


def test_every_link_of_every_page_leads_to_a_file() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(((?!http|#|mailto)[^)#\s]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
