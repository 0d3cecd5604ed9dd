"""Checkpoints: reading files of any project, loading them into networks, writing files for other programs.

It imports `backbones` and `layers`.
"""

from dcpt_arch.checkpoints.loading import (
    CheckpointError,
    Difference,
    Weights,
    compare,
    detect_family,
    find_weights,
    likely_reason,
    load_network,
    read_checkpoint,
    to_our_layout,
    to_published_layout,
)
from dcpt_arch.checkpoints.others import SpandrelNetwork, open_network

__all__ = [
    "CheckpointError",
    "Difference",
    "SpandrelNetwork",
    "Weights",
    "compare",
    "detect_family",
    "find_weights",
    "likely_reason",
    "load_network",
    "open_network",
    "read_checkpoint",
    "to_our_layout",
    "to_published_layout",
]
