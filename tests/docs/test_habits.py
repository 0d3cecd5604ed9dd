"""What CI, hooks, citation and changelog say agrees with the package: its version, its Pythons, its linters."""

import re
from pathlib import Path

import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
SETUP = (ROOT / "setup.py").read_text(encoding="utf-8")
RUN = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
(VERSION,) = re.findall(r'version="(.*?)"', SETUP)


def test_hooks_run_the_linters_of_ci() -> None:
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    entries = [hook["entry"] for hook in repository["hooks"]]
    linters = RUN[RUN.index('echo "== linters"') : RUN.index('echo "== clean checkout"')]
    assert entries == [line for line in linters if line.startswith(("ruff", "mypy"))] != []


def test_every_python_that_can_be_installed_on_is_tested() -> None:
    job = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))["jobs"]["run"]
    first, end = map(int, re.findall(r'python_requires=">=3.(\d+),<3.(\d+)"', SETUP)[0])
    assert job["strategy"]["matrix"]["python"] == [f"3.{minor}" for minor in range(first, end)]
    assert job["steps"][-1] == {"run": "bash .ci/run"}


def test_the_citation_is_that_of_readme() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    paper = cited["preferred-citation"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8").split("```bibtex")[1]
    said = dict(re.findall(r"(\w+) += \{(.*)\}", readme))
    names = " and ".join(f"{one['family-names']}, {one['given-names']}" for one in paper["authors"])
    assert said == {
        "title": paper["title"],
        "author": names,
        "booktitle": paper["collection-title"],
        "year": str(paper["year"]),
    }
    assert str(cited["version"]) == VERSION


def test_the_changelog_has_this_version_and_what_is_to_come() -> None:
    versions = re.findall(r"^## \[(.*?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert versions[0] == "Unreleased"
    assert versions[1] == VERSION


def test_a_report_of_a_fault_has_what_env_prints() -> None:
    form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml").read_text(encoding="utf-8"))
    fields = {field["id"]: field for field in form["body"]}
    assert "`dcpt env`" in fields["env"]["attributes"]["label"]
    assert fields["env"]["validations"]["required"]


def test_what_is_required_is_imported() -> None:
    block = SETUP.split("install_requires=[")[1].split("]")[0]
    modules = {"basicsr": "basicsr", "mmcv-lite": "mmcv", "opencv-python": "cv2", "pillow": "PIL", "pyyaml": "yaml"} | {
        "scikit-image": "skimage"
    }
    names = re.findall(r'"([\w-]+)[<>=]', block)
    assert len(names) > 12
    sources = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("dcpt_*/**/*.py"))
    sources += (ROOT / "dcpt_compat.py").read_text(encoding="utf-8")
    unused = [name for name in names if not re.search(rf"^\s*(import|from) {modules.get(name, name)}\b", sources, re.M)]
    assert unused == []


def test_mmcv_may_be_the_version_that_mmagic_asks_for() -> None:
    required = (Requirement(line) for line in re.findall(r'"([\w-]+[<>=][^"]*)"', SETUP))
    mmcv = next(one for one in required if one.name == "mmcv-lite")
    assert all(mmcv.specifier.contains(version) for version in ("2.1.0", "2.2.0"))  # mmagic: <2.2.0
