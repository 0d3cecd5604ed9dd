"""Which ground truth belongs to which degraded image: rules given as data.

A rule is one of

* ``"same"``: equal paths below the two folders, suffixes aside;
* ``"prefix"``: the ground truth is named like the text before the degraded image's first underscore (RESIDE:
  ``0001_0.8_0.2.jpg`` -> ``0001.png``);
* ``{"lq": "rain-{}", "gt": "norain-{}"}``: templates of the paths below the folders, without suffix, in which ``{}``
  stands for the same text on both sides and never crosses a ``/`` (GoPro's archive: ``{}/blur/{}``, ``{}/sharp/{}``).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeGuard

from dcpt_data.errors import DataError
from dcpt_data.images import list_images

Rule = Literal["same", "prefix"] | dict[str, str]


def _gt_name_by(rule: Rule) -> Callable[[str], str | None]:
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


def _by_name(root: Path) -> dict[str, Path]:
    names: dict[str, Path] = {}
    for path in list_images(root):
        name = path.relative_to(root).with_suffix("").as_posix()
        if name in names:
            raise DataError(f"{names[name]} and {path.name} share one name, so pairs are ambiguous; remove one of them")
        names[name] = path
    return names


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
    gt_name = _gt_name_by(rule)
    ground_truth = _by_name(root_gt)
    pairs, unpaired = [], []
    for name, path in _by_name(root_lq).items():
        wanted = gt_name(name)
        if root_lq == root_gt and (wanted is None or ground_truth.get(wanted) == path):
            continue  # the ground truth itself, found again in the shared folder
        if wanted in ground_truth:
            pairs.append((path, ground_truth[wanted]))
        else:
            unpaired.append(path.relative_to(root_lq).as_posix())
    if unpaired or not pairs:
        shown = ", ".join(unpaired[:3]) + (", ..." if len(unpaired) > 3 else "")
        raise DataError(
            f"{root_lq}: {len(unpaired)} of {len(unpaired) + len(pairs)} images have no ground truth in {root_gt} by "
            f"the pairing rule {rule!r} ({shown or 'no name fits the template'}); the ground truth is named like "
            f"'{next(iter(ground_truth))}'"
        )
    return pairs
