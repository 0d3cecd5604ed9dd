"""What the page computes, without the page: the networks that it has, and how a photograph goes through them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from dcpt_arch.checkpoints.others import open_network
from dcpt_common import JOIN
from dcpt_data.degradations import degrade, labels
from dcpt_data.images.photograph_files import ImageFile, check_format, write_image_file
from dcpt_data.images.pixels import to_float, to_uint8
from dcpt_models.errors import OptionError
from dcpt_models.inference.diagnoser import Diagnoser, load_diagnoser
from dcpt_models.inference.diagnosis_sheet import heat
from dcpt_models.inference.packaged import default_package
from dcpt_models.inference.restorer import Restorer
from dcpt_models.inference.told import classes, tell
from dcpt_models.metrics.by_name import psnr
from dcpt_models.runtime.devices import choose_device
from dcpt_tools.photographs.degrade import parameters
from dcpt_tools.photographs.page.sessions import Photograph
from dcpt_tools.photographs.steps import as_shown, as_tensor, restore_image

OWN = "the package's own (small)"
SHOWN = 1600  # pixels of the longer side of what is shown; what is downloaded has all
Progress = Callable[[float], None]


class Engine:
    """The networks of a page.

    Args:
        arguments: `device`, `precision`, `overlap`, `max_memory` as `dcpt restore` has them, and `weights`, a list.

    Attributes:
        files: Name -> checkpoint, of those that can be chosen.
        removes: The degradations that the package's own network can be told to remove.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments, self.device = arguments, choose_device(arguments.device)
        package = default_package()
        self.files: dict[str, Path] = {OWN: package.network}
        self.removes = classes(package.network)
        self.diagnoser: Diagnoser = load_diagnoser(package.classifier, package.network, package.options, self.device)
        self._last: tuple[Path, torch.nn.Module] | None = None
        for file in arguments.weights:
            self.add(file)

    def add(self, file: Path) -> str:
        """Let a checkpoint be chosen; returns its name.

        Raises:
            CheckpointError, RestoreError: If it is no network for photographs.
        """
        Restorer(self._network(file), self.device)
        taken = {name for name, other in self.files.items() if other != file}
        name = file.name if file.name not in taken else str(file)
        self.files[name] = file
        return name

    def restorer(self, name: str, tile: int | None, ensemble: bool, removed: Sequence[str] = ()) -> Restorer:
        """A network as `dcpt restore` would run it on the same photographs.

        Raises:
            OptionError: If there is no such network, it cannot be told to remove these degradations, or tiles are
                smaller than twice the overlap.
        """
        if name not in self.files:
            raise OptionError(f"no network {name!r} here; choose one of the list")
        given = self.arguments
        network, memory = self._network(self.files[name]), given.max_memory and int(1e9 * given.max_memory)
        told = tell(network, JOIN.join(removed), self.files[name]) if removed else None
        return Restorer(network, self.device, given.precision, ensemble, tile, given.overlap, memory, told)

    def _network(self, file: Path) -> torch.nn.Module:
        if self._last is None or self._last[0] != file:
            self._last = file, open_network(file)
        return self._last[1]

    def diagnose(self, photograph: Photograph) -> None:
        """Look at a photograph; a picture of where its degradation is seen goes to its folder.

        Raises:
            DataError: If it cannot be read.
        """
        pixels = photograph.original().pixels
        image = as_tensor(pixels)
        photograph.diagnosis = found = self.diagnoser.diagnose(image)
        shown = heat(as_shown(pixels), self.diagnoser.evidence(image, found.leading))
        write_image_file(photograph.folder / "map.png", ImageFile(reduced(shown)))

    def restore(self, photograph: Photograph, restorer: Restorer, strength: float, progress: Progress) -> None:
        """Restore a photograph, and write the file to download.

        Raises:
            DataError, RestoreError: If it cannot be read, restored or written.
        """
        original = photograph.original()
        check_format(original, photograph.result)
        photograph.keep(restore_image(original, restorer, progress))
        self.write(photograph, strength)

    def write(self, photograph: Photograph, strength: float) -> None:
        """Write the file to download at a strength, and what is shown of it; needs a restoration.

        Raises:
            DataError: If it cannot be written.
        """
        made = photograph.restoration()
        if made is None:
            return
        result = made.at(strength)
        lost = (*result.lost, *write_image_file(photograph.result, result))
        photograph.facts |= {"strength": strength, "lost": list(lost)}
        show_pair(photograph.folder, made.original, result)


def show_pair(folder: Path, original: ImageFile, result: ImageFile) -> None:
    """Write before.png and after.png, of one size, as a page shows them."""
    height, width, _ = result.pixels.shape
    factor = min(1.0, SHOWN / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    for name, image in (("before", original), ("after", result)):
        shown = resized(as_shown(image.pixels), size)
        profile = image.profile if image.pixels.shape[2] == 3 else None
        write_image_file(folder / f"{name}.png", ImageFile(shown, profile=profile))


def reduced(pixels: np.ndarray) -> np.ndarray:
    """A picture of at most `SHOWN` pixels a side."""
    height, width, _ = pixels.shape
    factor = min(1.0, SHOWN / max(height, width))
    return resized(pixels, (max(1, round(width * factor)), max(1, round(height * factor))))


def resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """H x W x 3, uint8, of a width and height."""
    if pixels.shape[1::-1] == size:
        return pixels
    shrinks = size[0] < pixels.shape[1]
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def try_out(
    photograph: Photograph, restorer: Restorer, name: str, texts: list[str], seed: int, progress: Progress
) -> dict[str, Any]:
    """Degrade a photograph, restore it, and measure both; degraded.png and restored.png go to its folder.

    Args:
        photograph: A clean one.
        restorer: What restores it.
        name: A degradation, or several joined by +.
        texts: Its parameters, as `dcpt degrade --parameters` takes them.
        seed: Of what is random.
        progress: As `Restorer.restore`.

    Returns:
        `input` and `restored`, PSNR in dB, and `order`, the degradations in the order in which they were applied.

    Raises:
        OptionError: If the name or a parameter is wrong, or the network enlarges.
        DataError, RestoreError: If the photograph cannot be read or restored.
    """
    if restorer.scale != 1:
        raise OptionError(f"{restorer.name} enlarges by {restorer.scale}; a PSNR needs images of one size")
    values = parameters(name, texts)
    original = photograph.original()
    clean = as_shown(original.pixels)
    lq = to_uint8(degrade(name, to_float(clean), np.random.default_rng(seed), **values))
    made = restore_image(ImageFile(lq), restorer, progress)
    for word, pixels in (("degraded", lq), ("restored", made.result.pixels)):
        write_image_file(photograph.folder / f"{word}.png", replace(ImageFile(pixels), profile=None))
    show_pair(photograph.folder, ImageFile(lq), made.result)
    target = _as_batch(clean)
    return {
        "input": float(psnr(_as_batch(lq), target)),
        "restored": float(psnr(_as_batch(made.result.pixels), target)),
        "order": list(labels(name)),
    }


def _as_batch(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None].float()
