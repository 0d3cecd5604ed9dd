"""Restored validation images and the confusion matrix of a run's newest checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import cv2
import torch
from basicsr.models import build_model

from dcpt_models.methods.base_model import DegradationModel
from dcpt_models.methods.dcpt_model import DCPTModel
from dcpt_models.metrics.by_name import measure, to_pixels

LARGEST = 384  # pixels; larger images are cut out of their centre, so that a report is made soon and opens quickly
JPEG_QUALITY = 95
PSNR = {"psnr": {"type": "calculate_psnr", "crop_border": 0}}


@dataclass(frozen=True)
class Example:
    """An image before and after, as JPEG, with the ground truth.

    Attributes:
        title: Its set and name.
        before: What the network was given.
        after: What it made of it.
        target: The ground truth.
        psnr: Of `before` and of `after`, in dB.
    """

    title: str
    before: bytes
    after: bytes
    target: bytes
    psnr: tuple[float, float]


@dataclass
class Samples:
    """All that was observed.

    Attributes:
        classes: What the classifier tells apart; empty where there is none.
        said: Degradation -> for each class, how often it was said of the images with that degradation.
        examples: Pictures.
        reproduces: Whether the network was given clean images, to give them back.
    """

    classes: list[str]
    said: dict[str, list[int]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    examples: list[Example] = field(default_factory=list)
    reproduces: bool = False


@torch.inference_mode()
def observe(
    opt: dict[str, Any],
    loaders: Iterable[Any],
    examples: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Samples:
    """Run the model of an option file over validation sets.

    Args:
        opt: Completed options for testing.
        loaders: One for each set, one image at a time.
        examples: How many pictures of each set are kept; of the first one alone where clean images are given back.
        progress: Called with how many images of how many of a set are done.
    """
    model: DegradationModel = build_model(opt)
    result = Samples(list(model.degradations) if "dc" in model.networks else [])
    # Before fine-tuning nothing is restored; what is trained and validated is that clean images are given back.
    result.reproduces = isinstance(model, DCPTModel)
    for network in model.networks.values():
        network.eval()
    for place, loader in enumerate(loaders):
        name = loader.dataset.opt["name"]
        wanted = len(loader) if result.classes else min(examples, len(loader))
        for number, batch in enumerate(islice(loader, wanted)):
            model.feed_data({**batch, "lq": centre(batch["lq"]), "gt": centre(batch["gt"])})
            if result.classes:
                _count(result, model)
            if number < examples and not (result.reproduces and place):  # every set would have the same clean images
                result.examples.append(_example(f"{name}: {batch['name'][0]}", model, result.reproduces))
            progress(number + 1, wanted)
    return result


def _example(title: str, model: DegradationModel, reproduces: bool) -> Example:
    given = model.gt if reproduces else model.lq
    made = model.networks["g"](given)
    before, after = (measure(one, model.gt, PSNR, rounded=True)["psnr"] for one in (given, made))
    return Example(title, encoded(given), encoded(made), encoded(model.gt), (before, after))


def _count(result: Samples, model: DegradationModel) -> None:
    logits = model.networks["dc"](model.networks["g"](model.lq, features="only"))[0]
    classes = len(result.classes)
    said = (logits > 0).int() if model.multi_label else torch.nn.functional.one_hot(logits.argmax(), classes)
    row = result.said.setdefault(model.names[0], [0] * classes)
    result.said[model.names[0]] = [a + b for a, b in zip(row, said.tolist(), strict=True)]
    result.counts[model.names[0]] = result.counts.get(model.names[0], 0) + 1


def centre(images: torch.Tensor, largest: int = LARGEST) -> torch.Tensor:
    """The centre of images, N x C x H x W, no larger than `largest` either way."""
    top, left = (max(0, (side - largest) // 2) for side in images.shape[-2:])
    return images[..., top : top + largest, left : left + largest]


def encoded(image: torch.Tensor) -> bytes:
    """1 x C x H x W in [0, 1] -> the bytes of a JPEG file."""
    _, data = cv2.imencode(".jpg", to_pixels(image, rounded=True), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return data.tobytes()


def rows_of(samples: Samples) -> list[tuple[str, int, Sequence[float]]]:
    """For each degradation its number of images, and the share of them of which each class was said."""
    order = [name for name in samples.classes if name in samples.said]
    order += [name for name in samples.said if name not in order]
    return [(name, samples.counts[name], [n / samples.counts[name] for n in samples.said[name]]) for name in order]
