"""The values of every image, saved as they are measured, so that an interrupted evaluation can be resumed.

Each process appends what it observes to a file of its own in `measured/`. A line is used again only if all that its
values depend on is the same: the evaluation's `key` (weights, network, metrics, code, see
`dcpt_models.evaluation.testing`) and the checksum of the very pixels that were read.
"""

from __future__ import annotations

import csv
import json
import logging
import time
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from dcpt_common import write_atomically
from dcpt_models.validation.validate import Observation

# Seconds between log lines about the progress of an evaluation.
REPORT_EVERY = 30.0


class PerImage:
    """Observations of an evaluation, on file; the `Records` of `dcpt_models.validation.validate`.

    All processes of an evaluation must make theirs, since they wait for each other.

    Args:
        folder: The evaluation's folder of results.
        key: What identifies the evaluation.
        rank: This process.
        again: Whether what was measured before is left aside.

    Attributes:
        known: Set and name of an image -> checksum and observation, from earlier calls.
        reused: How many of these this process has used.
        observed: Set -> the observations of all processes, once the evaluation is complete.
    """

    def __init__(self, folder: Path, key: str, rank: int = 0, again: bool = False) -> None:
        self.folder, self.key = folder / "measured", key
        self.folder.mkdir(parents=True, exist_ok=True)
        self.known = {} if again else self._read()
        _wait_for_all()
        if rank == 0:
            self._tidy()
        _wait_for_all()
        self.file = (self.folder / f"{rank}.jsonl").open("a", encoding="utf-8")
        self.reused = self.measured = 0
        self.reported = time.monotonic()
        self.observed: dict[str, list[Observation]] = {}

    def _read(self) -> dict[tuple[str, str], tuple[int, Observation]]:
        """What is on file of this evaluation; a last line that was cut off is passed over."""
        known = {}
        for file in sorted(self.folder.glob("*.jsonl")):
            for line in file.read_text(encoding="utf-8").splitlines():
                try:
                    entry = json.loads(line)
                except json.JSONDecodeError:
                    continue
                if entry["key"] == self.key:
                    observation = Observation(**entry["observation"])
                    known[entry["set"], observation.image] = entry["checksum"], observation
        return known

    def _tidy(self) -> None:
        """Leave one file, with what is known."""
        kept = self.folder / "kept.jsonl"
        lines = [self._line(name, checksum, one) for (name, _), (checksum, one) in self.known.items()]
        with write_atomically(kept) as unfinished:
            unfinished.write_text("".join(lines), encoding="utf-8")
        for file in self.folder.glob("*.jsonl"):
            if file != kept:
                file.unlink()

    def _line(self, name: str, checksum: int, observation: Observation) -> str:
        entry = {"key": self.key, "set": name, "checksum": checksum, "observation": asdict(observation)}
        return json.dumps(entry) + "\n"

    def find(self, name: str, batch: dict[str, Any]) -> Observation | None:
        """The observation of an image of the set `name`, if its pixels are those that were measured before."""
        checksum, observation = self.known.get((name, batch["name"][0]), (None, None))
        if observation is None or checksum != checksum_of(batch):
            return None
        self.reused += 1
        return observation

    def add(self, name: str, batch: dict[str, Any], observation: Observation) -> None:
        """Put an observation on file at once."""
        self.file.write(self._line(name, checksum_of(batch), observation))
        self.file.flush()
        self.measured += 1
        if time.monotonic() - self.reported > REPORT_EVERY:
            self.reported = time.monotonic()
            logging.getLogger("basicsr").info(f"{name}: {self.measured} images measured by this process so far")

    def complete(self, observed: dict[str, list[Observation]]) -> None:
        """Take what all processes have observed."""
        self.observed = observed

    def close(self) -> None:
        """Close this process's file."""
        self.file.close()


def checksum_of(batch: dict[str, Any]) -> int:
    """A checksum of a batch's lq and gt."""
    result = 0
    for key in ("lq", "gt"):
        pixels: torch.Tensor = batch[key]
        result = zlib.crc32(pixels.cpu().contiguous().numpy().data, result)
    return result


def write_csv(file: Path, observed: dict[str, list[Observation]]) -> None:
    r"""Write a line for each image, sorted within each set: set, image, degradation, and its values.

    Bytes of a name that are no UTF-8 are written as `\udcXX`.
    """
    metrics = list(dict.fromkeys(metric for images in observed.values() for one in images for metric in one.values))
    with file.open("w", encoding="utf-8", errors="backslashreplace", newline="") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow(["set", "image", "degradation", *metrics])
        for name, images in observed.items():
            for one in sorted(images, key=lambda one: one.image):
                writer.writerow([name, one.image, one.degradation, *(one.values.get(metric, "") for metric in metrics)])


def _wait_for_all() -> None:
    if dist.is_initialized():
        dist.barrier()
