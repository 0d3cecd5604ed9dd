"""What `dcpt plan` prints of what was found, for people and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from dcpt_tools.planning.planner import Planned


def record_of(one: Planned) -> dict[str, Any]:
    """What is printed of an option file as JSON."""
    found = one.estimate
    return {
        "name": one.opt["name"],
        "model_type": one.opt["model_type"],
        "option_file": one.opt["option_file"],
        "iterations": one.opt["train"]["total_iter"],
        "batch": one.opt["datasets"]["train"].get("batch_size_per_gpu", 1),
        "seconds_per_iteration": found.iteration,
        "data_wait_share": found.waiting,
        "seconds": found.total,
        "parts": found.seconds,
        "memory_bytes": found.memory,
        "free_bytes": found.free,
        "checkpoint_bytes": found.checkpoints,
        "largest_batch": one.largest_batch,
        "switches": one.switches,
        "sets": [asdict(each) for each in one.sets],
    }


def spoken(seconds: float) -> str:
    """A length of time as people say it."""
    for unit, length in (("days", 48 * 3600), ("h", 3600), ("min", 90)):
        if seconds >= length:
            return f"{seconds / {'days': 86400, 'h': 3600, 'min': 60}[unit]:.1f} {unit}"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1e3 * seconds:.0f} ms"


def gib(count: float) -> str:
    """Bytes as people say them."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def text_of(one: Planned) -> str:
    """What is printed of an option file."""
    found, data = one.estimate, one.opt["datasets"]["train"]
    parts = ", ".join(f"{name} {spoken(value)}" for name, value in found.seconds.items() if value)
    wait = f", {found.waiting:.0%} of it waiting for data" if found.waiting >= 0.005 else ""
    lines = [
        f"\n{one.opt['name']} ({one.opt['model_type']}): {spoken(found.total)}",
        f"  {one.opt['train']['total_iter']:,} iterations of {data.get('batch_size_per_gpu', 1)} crops of "
        f"{data.get('gt_size', 128)} pixels, {spoken(found.iteration)} each{wait}",
        f"  of that: {parts}",
        f"  memory: {gib(found.memory)} of {gib(found.free)} that are free; checkpoints: {gib(found.checkpoints)}",
    ]
    if one.largest_batch is not None:
        lines.append(f"  largest batch that fits: {one.largest_batch}, by what two batches took")
    for switch in one.switches:
        if "failed" in switch:
            lines.append(f"  {switch['switch']:30} does not work here: {switch['failed']}")
        else:
            total = found.total + found.seconds["iterations"] * (1 / switch["speed"] - 1)
            lines.append(
                f"  {switch['switch']:30} {switch['speed']:.2f} x as fast, {switch['memory']:.2f} x the memory: "
                f"{spoken(total)}"
            )
    if found.guessed:
        lines.append(f"  by their pixels, since another set took long: {', '.join(found.guessed)}")
    return "\n".join(lines)


def lmdbs(plans: list[Planned]) -> dict[str, int]:
    """Bytes of the LMDB of each set of images, each set once."""
    found: dict[str, int] = {}
    for one in plans:
        sections = one.opt["datasets"]
        for known in one.sets:
            _, key, *part = known.name.split(":")
            section = sections[key]["sets"][part[0]] if part else sections[key]
            found[section.get("source") or section.get("lmdb") or section.get("dataroot_lq") or known.name] = (
                known.lmdb_bytes
            )
    return found
