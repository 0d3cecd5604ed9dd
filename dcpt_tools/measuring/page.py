"""The page of a device: what was checked, what failed, how fast it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from dcpt_tools.measuring.session import failures
from dcpt_tools.measuring.timing import table_of

NOTES = {
    "Networks": "Differences from the processor (float64; float32 for ViT and Vim), relative to what is compared.",
    "Degradations": "The greatest difference of the means over squares of 16 x 16 pixels, values in [0, 1].",
    "Methods": "The losses of the first iteration in float32; two iterations in the reduced precisions stay finite.",
}
SPEED = (
    "The published form computes in float32 without TF32. Of the floor: what the operators would take at the rates "
    "above, as a share of the time."
)


def file_name(device: str) -> str:
    """The name of a device as that of a file."""
    return re.sub(r"[^a-z0-9]+", "_", device.lower()).strip("_")


def page(record: Mapping[str, Any]) -> str:
    """The page as Markdown."""
    wrong = failures(record)
    reached = [title for title in record["planned"] if title in record["parts"]]
    checks = sum("ok" in row for part in record["parts"].values() for row in part["rows"])
    verdict = f"{checks} checks; " + (f"{len(wrong)} failed:" if wrong else "none failed.")
    time = f"{record['seconds'] / 60:.1f} of {record['minutes']:g} minutes"
    missing = [title for title in record["planned"] if title not in reached]
    left = "" if record["complete"] else f" The time was up in: {reached[-1] if reached else 'the first part'}."
    left += f" Not reached: {', '.join(missing)}." if missing else ""
    size = " Networks and images are small, as on every processor." if record["small"] else ""
    lines = [
        f"# {record['device']}",
        f"    {record['command']}",
        f"{verdict} {time}.{left}{size}",
        *(["\n".join(f"* {one}" for one in wrong)] if wrong else []),
        "\n".join(f"* {key}: {value}" for key, value in record["conditions"].items()),
    ]
    for title, part in record["parts"].items():
        lines.append(f"## {title}")
        if part["rows"]:
            lines.append(table_of([{key: _shown(value) for key, value in row.items()} for row in part["rows"]]))
        if "error" in part:
            lines.append(f"It ended with: {part['error']}")
        note = NOTES.get(title) or (SPEED if "of the floor" in str(part["rows"]) else "")
        lines += [note] if note else []
    return "\n\n".join(lines) + "\n"


def _shown(value: Any) -> Any:
    return {True: "yes", False: "**no**"}[value] if isinstance(value, bool) else value
