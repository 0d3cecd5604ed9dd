"""Some inputs of each family, always the same; tools/fuzz.py tries thousands. And what the trial itself must notice."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from families import FAMILIES
from harness import Family, Fault, Finding, block, refusal_is_clear
from hypothesis import strategies as st

# As many as take two or three seconds each.
INPUTS = {"checkpoints": 80, "images": 350, "lines": 80, "lmdbs": 280, "options": 60}


@pytest.mark.parametrize("name", FAMILIES)
def test_no_input_is_at_fault(name: str, tmp_path: Path) -> None:
    outcomes: list[str] = []
    findings: list[Finding] = []

    def seen(case: object, outcome: str, finding: Finding | None) -> None:
        outcomes.append(outcome)
        findings.extend([finding] if finding else [])

    block(FAMILIES[name], INPUTS[name], 0, tmp_path, seen)
    assert not findings, f"{findings[0].kind}\n{findings[0].case}\n{findings[0].text}"
    assert len(outcomes) == INPUTS[name]
    assert len(set(outcomes)) > 1  # some are read, and some are refused


def found(check: object, tmp_path: Path) -> str:
    kinds: list[str] = []
    family = Family("x", st.booleans, check)  # type: ignore[arg-type]
    block(family, 1, 0, tmp_path, lambda case, outcome, finding: kinds.append(finding.kind if finding else outcome))
    return kinds[0]


def test_a_traceback_and_a_file_elsewhere_are_noticed(tmp_path: Path) -> None:
    def wrong(case: bool, folder: Path) -> str:
        return {}["x"]  # type: ignore[no-any-return]

    def outside(case: bool, folder: Path) -> str:
        (folder.parent.parent / "elsewhere").write_text("")
        return "right"

    def right(case: bool, folder: Path) -> str:
        (folder / "inside").write_text("")
        return "right"

    assert found(wrong, tmp_path).startswith("KeyError in test_fuzz.py")
    assert found(outside, tmp_path).startswith("Fault: outside: wrote")
    assert found(right, tmp_path) == "right"


def test_the_seed_alone_says_which_inputs_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hypothesis would draw constants of the modules that are loaded, which are others in each worker."""
    family = Family("x", lambda: st.tuples(st.integers(), st.text()), lambda case, folder: "right")

    def drawn() -> list[object]:
        cases: list[object] = []
        block(family, 150, 1, tmp_path, lambda case, outcome, finding: cases.append(case))
        return cases

    before = drawn()
    (tmp_path / "full_of_constants.py").write_text(
        f"A = {list(range(12345, 12545))}\nB = {[f'w{i}' for i in range(200)]}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("full_of_constants")
    assert drawn() == before
    assert len({repr(case) for case in before}) > 100


@pytest.mark.parametrize("message", ["", "'x'", "a.png: Traceback (most recent call last)", "b.png: is no image"])
def test_a_message_of_no_use_is_noticed(message: str) -> None:
    with pytest.raises(Fault):
        refusal_is_clear(message, "a.png")
