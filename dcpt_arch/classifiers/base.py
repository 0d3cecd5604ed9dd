"""What every degradation classifier has in common: which feature levels it reads, and how much each of them counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from dcpt_arch.backbones.base import FeatureInfo

if TYPE_CHECKING:
    from typing_extensions import Self

Levels = Literal["all", "deepest"]


class LevelClassifier(nn.Module):
    """The base of the classifiers: their constructor's arguments checked, levels chosen, a coefficient for each.

    Args:
        feature_info: The levels that the backbone declares (`net.feature_info`), highest resolution first.
        classes: Number of degradations.
        levels: "all" feature levels, or the "deepest" alone (the ablation of Table 11).
        width: Upper bound of the classifier's channels; None for no bound.

    Attributes:
        used: The declared levels that are read.
        mixing_weights: The scaling coefficients (Section 3.2) are the softmax over these; all equal at the start.

    Raises:
        ValueError: If there are no levels, fewer than two classes, or `width` is below 1.
    """

    def __init__(self, feature_info: Sequence[FeatureInfo], classes: int, levels: Levels, width: int | None) -> None:
        super().__init__()
        if not feature_info or classes < 2 or (width is not None and width < 1):
            raise ValueError(
                "a classifier needs at least one feature level, two classes and a width of 1 or more; "
                f"got {len(feature_info)} levels, {classes} classes, width {width}"
            )
        if levels not in ("all", "deepest"):
            raise ValueError(f"levels must be 'all' or 'deepest', not {levels!r}")
        self.levels = levels
        self.declared = len(feature_info)
        self.used = tuple(feature_info[-1:] if levels == "deepest" else feature_info)
        self.mixing_weights = nn.Parameter(torch.ones(len(self.used)))

    @classmethod
    def from_features(cls, features: Sequence[torch.Tensor], classes: int, **arguments: Any) -> Self:
        """Build a classifier for the features of any network, of which some are given.

        Args:
            features: One N x C_i x H_i x W_i for each level, highest resolution first; of any image.
            classes: Number of degradations.
            arguments: Further ones of the class.

        Raises:
            ValueError: If they are no maps, or not in this order.
        """
        shapes = [tuple(feature.shape) for feature in features]
        if any(len(shape) != 4 for shape in shapes):
            raise ValueError(f"features must be maps, N x C x H x W, each; got {shapes}")
        if shapes != sorted(shapes, key=lambda shape: -shape[-1] * shape[-2]):
            raise ValueError(f"features must be in order, the highest resolution first; got {shapes}")
        info = [FeatureInfo(channels=shape[1], stride=round(shapes[0][-1] / shape[-1])) for shape in shapes]
        return cls(info, classes, **arguments)

    def select(self, features: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        """Choose those of a backbone's features that are read; there must be one for each declared level."""
        if len(features) != self.declared:
            raise ValueError(
                f"this classifier was built for {self.declared} feature levels, got {len(features)}; "
                "build it from the feature_info of the network that gives the features"
            )
        return features[-1:] if self.levels == "deepest" else features

    def coefficients(self) -> torch.Tensor:
        """Give the scaling coefficient of each level that is read; they sum to 1."""
        return self.mixing_weights.softmax(dim=0)


def check_positive(values: Mapping[str, float]) -> None:
    """Refuse options, given by name, that are not above 0.

    Raises:
        ValueError: Naming the first such option.
    """
    for name, value in values.items():
        if value <= 0:
            raise ValueError(f"{name} must be above 0; got {value}")
