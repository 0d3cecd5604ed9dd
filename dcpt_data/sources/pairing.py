"""Pairing of degraded images with their ground truth, by rules given as data.

A rule is one of

* ``"same"``: equal paths below the two folders, suffixes aside;
* ``"prefix"``: the ground truth is named like the text before the degraded image's first underscore (RESIDE:
  ``0001_0.8_0.2.jpg`` -> ``0001.png``);
* ``{"lq": "rain-{}", "gt": "norain-{}"}``: templates of the paths below the folders, without suffix, in which ``{}``
  stands for the same text on both sides and never crosses a ``/`` (GoPro's archive: ``{}/blur/{}``, ``{}/sharp/{}``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeGuard

from dcpt_data.errors import DataError
from dcpt_data.images.pixels import list_names, stem

Rule = Literal["same", "prefix"] | dict[str, str]


def gt_name_by(rule: Rule) -> Callable[[str], str | None]:
    """A function from a degraded image's name to its ground truth's; None if the name does not fit the rule."""
    if rule == "same":
        return lambda name: name
    if rule == "prefix":

        def before_underscore(name: str) -> str:
            folder, slash, stem = name.rpartition("/")
            return folder + slash + stem.split("_")[0]

        return before_underscore
    if not _are_templates(rule) or rule["lq"].count("{}") != rule["gt"].count("{}"):
        raise DataError(
            "pairing must be 'same', 'prefix', or templates {lq: ..., gt: ...} with equally many '{}' in both; "
            f"got {rule!r}"
        )
    pattern = re.compile("([^/]+)".join(re.escape(part) for part in rule["lq"].split("{}")))

    def by_template(name: str) -> str | None:
        match = pattern.fullmatch(name)
        return rule["gt"].format(*match.groups()) if match else None

    return by_template


def _are_templates(rule: object) -> TypeGuard[dict[str, str]]:
    if not isinstance(rule, dict) or set(rule) != {"lq", "gt"}:
        return False
    # A lone brace, or one with something in it, would mean something else to str.format.
    return all(isinstance(t, str) and not set("{}") & set(t.replace("{}", "")) for t in rule.values())


def lq_name(rule: Rule, gt_name: str) -> str:
    """A name that `rule` maps to `gt_name`: how a degraded image made from that ground truth may be called."""
    if rule == "same":
        return gt_name
    if rule == "prefix":
        return f"{gt_name}_1"
    pattern = re.compile("([^/]+)".join(re.escape(part) for part in rule["gt"].split("{}")))
    match = pattern.fullmatch(gt_name)
    if match is None:
        raise DataError(f"'{gt_name}' does not fit the template '{rule['gt']}'")
    return rule["lq"].format(*match.groups())


class Matched(NamedTuple):
    """Indices in `lq` and in `gt`, pair by pair, and of the images in `lq` that have no ground truth."""

    lq: list[int]
    gt: list[int]
    unpaired: list[int]


def match_names(
    lq: Sequence[str], gt: Sequence[str], rule: Rule, root_lq: str, root_gt: str
) -> tuple[list[int], list[int]]:
    """Pair names, all of them.

    Args:
        lq: Names of the degraded images, with suffix, in the order of the pairs.
        gt: Names of the ground truth, with suffix.
        rule: See above.
        root_lq: What `lq` lies in, for messages; if `root_gt` is the same, so are the images.
        root_gt: What `gt` lies in.

    Returns:
        Indices in `lq` and in `gt`, pair by pair. Ground truth that no degraded image belongs to is left out.

    Raises:
        DataError: If a degraded image has no ground truth, or names are ambiguous.
    """
    matched = match_what_fits(lq, gt, rule, root_lq, root_gt)
    if matched.unpaired or not matched.lq:
        unpaired = [lq[index] for index in matched.unpaired]
        shown = ", ".join(unpaired[:3]) + (", ..." if len(unpaired) > 3 else "")
        raise DataError(
            f"{root_lq}: {len(unpaired)} of {len(unpaired) + len(matched.lq)} images have no ground truth in {root_gt} "
            f"by the pairing rule {rule!r} ({shown or 'no name fits the template'}); the ground truth is named like "
            f"'{stem(gt[0])}'"
        )
    return matched.lq, matched.gt


def match_what_fits(lq: Sequence[str], gt: Sequence[str], rule: Rule, root_lq: str, root_gt: str) -> Matched:
    """Pair names, and find those that have no partner; arguments as of `match_names`.

    Raises:
        DataError: If names are ambiguous.
    """
    gt_name = gt_name_by(rule)
    ground_truth = _by_stem(gt, root_gt)
    matched = Matched([], [], [])
    for index, name in enumerate(_by_stem(lq, root_lq)):
        wanted = gt_name(name)
        partner = None if wanted is None else ground_truth.get(wanted)
        if root_lq == root_gt and (wanted is None or (partner is not None and gt[partner] == lq[index])):
            continue  # the ground truth itself, found again in the shared folder
        if partner is None:
            matched.unpaired.append(index)
        else:
            matched.lq.append(index)
            matched.gt.append(partner)
    return matched


def refuse_duplicates(names: Sequence[str], root: str) -> None:
    """Refuse images that differ in their suffixes alone: whatever is made of them would have one name.

    Raises:
        DataError: If two images have the same name without suffix.
    """
    _by_stem(names, root)


def _by_stem(names: Sequence[str], root: str) -> dict[str, int]:
    """Name without suffix -> index, in order."""
    found: dict[str, int] = {}
    for index, name in enumerate(names):
        other = found.setdefault(stem(name), index)
        if other != index:
            first, second = Path(root, names[other]), Path(name).name
            raise DataError(f"{first} and {second} share one name, which is ambiguous; rename or remove one")
    return found


def find_pairs(root_lq: Path, root_gt: Path, rule: Rule) -> list[tuple[Path, Path]]:
    """Pair the images of two folders (which may be the same one, told apart by templates).

    Args:
        root_lq: Folder of the degraded images; nested folders are read too.
        root_gt: Folder of the ground truth.
        rule: See above.

    Returns:
        (degraded, ground truth) paths, sorted. Ground truth that no degraded image belongs to is left out.

    Raises:
        DataError: If a folder is missing or empty, a degraded image has no ground truth, or names are ambiguous.
    """
    lq = list_names(root_lq)
    gt = lq if root_lq == root_gt else list_names(root_gt)
    found = zip(*match_names(lq, gt, rule, str(root_lq), str(root_gt)), strict=True)
    return [(root_lq / lq[i], root_gt / gt[j]) for i, j in found]
