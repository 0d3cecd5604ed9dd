"""`tools/benchmark.py step` measures the real models beside the published forms."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from commands import Commands
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

from dcpt_tools.measuring.timing import count, in_turns


def test_both_kinds_of_iterations_are_measured(commands: Commands, tmp_path: Path) -> None:
    small = ("--batch", 2, "--crop", 16, "--repeats", 1, "--threads", 1, "--json")
    done = commands.run("tools/benchmark.py", "step", *small, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    dcpt, restoration = json.loads(done.stdout)["tables"]
    assert "DCPT" in dcpt["title"] and "restoration" in restoration["title"]
    for table in (dcpt, restoration):
        assert [row["what"] for row in table["rows"]] == ["ours, fp32", "ours, bf16", "published form"]
        for row in table["rows"]:
            assert row["ms"] > 0 and row["GFLOP"] > 0 and row["of the floor"] > 0
        assert all(ratio > 0 for ratio in table["faster"].values())
    # The classifier, and a second pass through the network.
    assert dcpt["rows"][0]["GFLOP"] > 2 * restoration["rows"][0]["GFLOP"]
    # Both forms are given the same work, but for what the classification pass leaves out.
    ours, published = dcpt["rows"][0]["GFLOP"], dcpt["rows"][2]["GFLOP"]
    assert 0.9 * published < ours <= published
    assert not list(tmp_path.iterdir())


def test_what_comes_before_a_timed_call_is_of_the_same_function_and_not_timed() -> None:
    calls: list[str] = []
    found = in_turns({name: lambda name=name: calls.append(name) for name in "ab"}, repeats=2, warmup=1, before=2)
    assert calls == list("aaabbb" * 3)
    assert {name: len(times) for name, times in found.seconds.items()} == {"a": 2, "b": 2}


def test_a_network_that_is_not_known_is_wrong_usage(commands: Commands, tmp_path: Path) -> None:
    done = commands.run("tools/benchmark.py", "step", "--networks", "NAFnet", cwd=tmp_path)
    assert done.returncode == 2
    assert "NAFNet" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("groups", [1, 8])
def test_a_backward_pass_is_counted_as_two_forward_ones(groups: int) -> None:
    conv = nn.Conv2d(8, 8, 3, padding=1, groups=groups)
    x = torch.rand(2, 8, 16, 16, requires_grad=True)
    forward = count(lambda: conv(x)).flops
    assert forward == 2 * x.numel() * (8 // groups) * 9
    y = conv(x)
    assert count(lambda: y.sum().backward()).flops == 2 * forward


def test_operations_are_counted_in_inference_mode_as_well() -> None:
    layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, groups=8), nn.Linear(14, 5))
    x = torch.rand(1, 3, 16, 16)
    with torch.inference_mode():
        counted = count(lambda: layers(x))
    plain = count(lambda: layers(x))
    expected = 2 * (16 * 16 * 8 * 27 + 14 * 14 * 8 * 9 + 8 * 14 * 14 * 5)
    assert counted.flops == plain.flops == expected
    assert counted.bytes == pytest.approx(plain.bytes, rel=0.1)
