"""All families of inputs."""

from __future__ import annotations

from checkpoints import CHECKPOINTS
from harness import Family
from images import IMAGES
from lines import LINES
from lmdbs import LMDBS
from option_files import OPTIONS

FAMILIES: dict[str, Family] = {family.name: family for family in (CHECKPOINTS, IMAGES, LINES, LMDBS, OPTIONS)}
