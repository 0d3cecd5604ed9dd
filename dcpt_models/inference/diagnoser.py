"""Classifies the degradation of a photograph, and shows where it is, by a backbone and its classifier."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from basicsr.archs import build_network
from basicsr.utils.registry import MODEL_REGISTRY
from torch import nn

from dcpt_arch.backbones.base import RestorationBackbone
from dcpt_arch.checkpoints.initialise import initialise
from dcpt_arch.checkpoints.loading import load_network, read_checkpoint
from dcpt_arch.checkpoints.others import is_of_others
from dcpt_arch.layers.padding import pad_to_multiple
from dcpt_common import JOIN, sha256
from dcpt_models.errors import OptionError
from dcpt_models.inference.calibration import Calibration, familiarity, probabilities, read_calibration
from dcpt_models.inference.tiling import join, plan
from dcpt_models.options.files import read_options

UNFAMILIAR = "none or unfamiliar"
# Crops along each side of an image, at most, from which it is classified.
CROPS = 6
BATCH = 9  # crops that the network gets at once
# Side and overlap in pixels of the tiles in which a map is computed.
MAP_TILE, MAP_OVERLAP = 512, 64


@dataclass(frozen=True)
class Diagnosis:
    """What is said of one image.

    Attributes:
        answer: The degradation, several joined by "+", or `UNFAMILIAR`.
        probabilities: Of each degradation; calibrated if there is a calibration.
        familiarity: How much the image looks like those of known degradations.
        familiar: Whether that is enough; None without a calibration.
    """

    answer: str
    probabilities: dict[str, float]
    familiarity: float
    familiar: bool | None

    @property
    def leading(self) -> str:
        """The most probable degradation."""
        return max(self.probabilities, key=lambda name: self.probabilities[name])


@dataclass(frozen=True)
class Diagnoser:
    """A backbone and its classifier.

    An image is looked at by crops of the size that training had, at the resolution it has: reduced, it would lose the
    very traces that tell noise from rain. The logits of the crops, evenly spread, are averaged.

    Attributes:
        network: The backbone, in eval mode.
        classifier: Its classifier, in eval mode.
        names: The degradations, in the order of the classifier's outputs.
        multi_label: Whether an image can have several.
        crop: Side of the crops in pixels.
        weights: Name of each checkpoint -> first digits of its sha256.
        calibration: None if there is none yet.
    """

    network: RestorationBackbone
    classifier: nn.Module
    names: list[str]
    multi_label: bool
    crop: int
    weights: dict[str, str]
    calibration: Calibration | None = None

    def logits(self, image: torch.Tensor) -> np.ndarray:
        """The mean logits of the crops of an image, C x H x W in [0, 1]; one value for each class."""
        batches = spread_crops(image, self.crop).split(BATCH)
        with torch.inference_mode():
            rows = [self.classifier(self.network(crops.to(self._device()), features="only")) for crops in batches]
        return torch.cat(rows).double().mean(0).cpu().numpy()

    def diagnose(self, image: torch.Tensor) -> Diagnosis:
        """What degradation an image, C x H x W in [0, 1], has."""
        logits = self.logits(image)
        temperature = self.calibration.temperature if self.calibration else 1.0
        chances = probabilities(logits, temperature, self.multi_label)
        value = float(familiarity(logits, self.multi_label))
        familiar = value >= self.calibration.limit if self.calibration else None
        said = {name: float(chance) for name, chance in zip(self.names, chances, strict=True)}
        if self.multi_label:
            named = [name for name, chance in said.items() if chance >= 0.5]
        else:
            named = [max(said, key=lambda name: said[name])]
        answer = UNFAMILIAR if familiar is False or not named else JOIN.join(named)
        return Diagnosis(answer, said, value, familiar)

    def evidence(self, image: torch.Tensor, name: str) -> np.ndarray:
        """Where a degradation is seen: H x W, from 0 for nowhere; the greater, the more.

        Gradient times activation (HiResCAM, Draelos and Carin, 2020) on every feature level: what a feature's pixel
        adds to the logit, as far as that is linear in it. The levels are summed at the image's resolution, and what
        speaks against the degradation is left out.

        Args:
            image: C x H x W in [0, 1].
            name: One of `names`.
        """
        _, height, width = image.shape
        tiling = plan(height, width, 0, MAP_TILE, MAP_OVERLAP, self.network.size_multiple)

        def tile(top: int, left: int) -> torch.Tensor:
            part = image[None, :, top : top + tiling.down.tile, left : left + tiling.across.tile]
            return pad_to_multiple(part, self.network.size_multiple)[0]

        rows = [part for _, part in join(tiling, tile, lambda tiles: self._contributions(tiles, name))]
        return torch.cat(rows, 1)[0, :height, :width].clamp(min=0).cpu().numpy()

    def _contributions(self, tiles: torch.Tensor, name: str) -> torch.Tensor:
        """What every pixel adds to the logit of a class: N x C x H x W -> N x 1 x H x W."""
        with torch.no_grad():
            features = self.network(tiles.to(self._device()), features="only")
        leaves = [level.detach().requires_grad_() for level in features]
        logit = self.classifier(leaves)[:, self.names.index(name)].sum()
        gradients = torch.autograd.grad(logit, leaves, allow_unused=True)
        total = torch.zeros_like(tiles[:, :1], device=self._device())
        for level, gradient in zip(features, gradients, strict=True):
            if gradient is not None:  # a classifier may read the deepest level alone
                share = (level * gradient).sum(1, keepdim=True)
                area = total.shape[-2] * total.shape[-1] / (level.shape[-2] * level.shape[-1])
                total += F.interpolate(share, total.shape[-2:], mode="bilinear", align_corners=False) / area
        return total

    def _device(self) -> torch.device:
        return next(self.network.parameters()).device


def spread_crops(image: torch.Tensor, side: int) -> torch.Tensor:
    """Crops that cover an image, or are evenly spread over it where that takes more than `CROPS` along a side.

    Args:
        image: C x H x W.
        side: Of the crops; those of an image that is shorter are as short as it is.

    Returns:
        N x C x at most `side` x at most `side`.
    """

    def starts(length: int) -> list[int]:
        count = min(CROPS, math.ceil(length / side))
        return [round(i * (length - side) / (count - 1)) for i in range(count)] if count > 1 else [0]

    _, height, width = image.shape
    return torch.stack([image[:, y : y + side, x : x + side] for y in starts(height) for x in starts(width)])


def calibration_file(classifier: Path) -> Path:
    """Where the calibration of a classifier's checkpoint lies: beside it."""
    return classifier.with_suffix(".calibration.json")


def option_file_of(classifier: Path) -> Path:
    """The option file that is archived in the run of a checkpoint, RUN/models/net_dc_N.pth.

    Raises:
        OptionError: If there is none.
    """
    files = sorted(classifier.absolute().parent.parent.glob("*.yml"), key=lambda file: file.stat().st_mtime)
    if not files:
        raise OptionError(f"{classifier}: no option file in the folder above; give the one it was trained with by -opt")
    return files[-1]


def load_diagnoser(
    classifier: Path, backbone: Path | None, option_file: Path, device: torch.device, calibrated: bool = True
) -> Diagnoser:
    """Build backbone and classifier from their checkpoints.

    Args:
        classifier: net_dc_N.pth of a run.
        backbone: By default net_g_N.pth beside it.
        option_file: What the run was trained with.
        device: Where both run.
        calibrated: Whether the calibration is read, if there is one.

    Raises:
        OptionError: If the option file has no classifier, or the backbone is not to be found.
        CheckpointError: If a checkpoint is bad or does not fit, or the calibration is of other weights.
    """
    options = read_options(option_file).values
    content = read_checkpoint(classifier)
    names = content.get("degradations") or options.get("degradations")
    if not options.get("network_dc") or not names:
        raise OptionError(f"{option_file} has no `network_dc` and `degradations`; give that of the classifier's run")
    if backbone is None:
        backbone = classifier.with_name(classifier.name.replace("net_dc", "net_g"))
        if backbone == classifier or not backbone.is_file():
            raise OptionError(f"{classifier}: no net_g beside it; give the backbone's checkpoint by --weights")
    if is_of_others(backbone):
        raise OptionError(
            f"{backbone}: a network that spandrel opens has no features that a classifier reads; give net_g of the "
            f"classifier's run. To restore by it with a diagnosis: dcpt restore PHOTO --weights {backbone} --diagnose"
        )
    network = load_network(backbone)
    built: dict[str, Any] = {**options["network_dc"], "feature_info": network.feature_info, "classes": len(names)}
    head = build_network(built)
    initialise(head, classifier)
    weights = {file.name: sha256(file)[:16] for file in (backbone, classifier)}
    stored = calibration_file(classifier)
    crop = (options.get("datasets", {}).get("train") or {}).get("gt_size", 128)
    calibration = read_calibration(stored, weights) if calibrated and stored.is_file() else None
    return Diagnoser(
        network.to(device),
        head.to(device).eval(),
        list(names),
        MODEL_REGISTRY.get(options["model_type"]).multi_label,
        crop,
        weights,
        calibration,
    )
