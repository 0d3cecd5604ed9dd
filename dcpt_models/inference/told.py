"""Restoring what somebody says is wrong with a photograph, instead of what the network sees by itself."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from dcpt_arch.backbones.guided_nafnet_arch import GuidedNAFNet
from dcpt_common import CLEAN, JOIN, nearest
from dcpt_models.errors import OptionError
from dcpt_models.inference.diagnoser import option_file_of
from dcpt_models.options.files import read_options


def tell(network: nn.Module, removed: str, weights: Path) -> torch.Tensor:
    """What a `Restorer` is told, so that its network removes one degradation, or several joined by +.

    Args:
        network: That of `weights`.
        removed: The degradations.
        weights: Its checkpoint, in a folder with the option file that names its classes.

    Returns:
        1 x classes, 1 for each of the degradations and 0 for the others.

    Raises:
        OptionError: If the network cannot be told, or does not know one of them.
    """
    if not isinstance(network, GuidedNAFNet):
        raise OptionError(
            f"{weights}: a {getattr(network, 'architecture', type(network).__name__)} cannot be told what to remove; "
            "leave --remove out, or take a GuidedNAFNet such as the one that comes with the package"
        )
    known, names = classes(weights), removed.split(JOIN)
    for name in names:
        if name not in known:
            raise OptionError(f"--remove {removed}: this network does not know {name!r}{nearest(name, known)}")
    if len(known) != network.steer_middle.linear.in_features:
        raise OptionError(
            f"{weights}: the option file beside it names {len(known)} degradations, the network has others; put "
            "the one there that it was trained with"
        )
    return torch.tensor([[float(name in names) for name in known]])


def classes(weights: Path) -> list[str]:
    """The degradations that a network of a run, or of a folder made by `dcpt pack`, was trained to remove.

    Raises:
        OptionError: If no option file is there.
    """
    packed = weights.parent / "options.yml"
    try:
        file = packed if packed.is_file() else option_file_of(weights)
    except OptionError:
        raise OptionError(
            f"{weights}: no option file in the folder above that names what it removes; put the one there that it was "
            "trained with"
        ) from None
    return [name for name in read_options(file).values.get("degradations", []) if name != CLEAN]
