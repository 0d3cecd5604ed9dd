"""`tools/benchmark.py loop` runs the real training loop beside a bare one."""

from __future__ import annotations

import json
from pathlib import Path

from commands import Commands


def test_both_loops_are_measured_in_one_run(commands: Commands, tmp_path: Path) -> None:
    small = ("--batch", 1, "--crop", 16, "--repeats", 2, "--threads", 1, "--json")
    done = commands.run("tools/benchmark.py", "loop", *small, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    plain, with_average = json.loads(done.stdout)["tables"]
    for table in (plain, with_average):
        ours, bare = table["rows"]
        assert (ours["what"], bare["what"]) == ("ours", "bare loop")
        assert min(ours["ms"], bare["ms"], ours["processor time, ms"], bare["processor time, ms"]) > 0
        # At this size the loop's own work shows; it is a few ms, not a multiple of the network's.
        assert -0.5 < table["overhead"]["of processor time"] < 1
    assert "clipping" in with_average["title"]
    assert not list(tmp_path.iterdir())
