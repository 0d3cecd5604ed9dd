"""Targets of classification from names of degradations: a class index, or a multi-hot vector."""

from __future__ import annotations

from collections.abc import Sequence

from dcpt_common import JOIN, nearest


def class_indices(names: Sequence[str], classes: Sequence[str]) -> list[int]:
    """The place of each name in `classes`; a composite is a class like any other.

    Args:
        names: Degradations of a batch.
        classes: `degradations` of the option file.

    Raises:
        ValueError: If `classes` does not list a name; the message has the nearest one.
    """
    if unknown := sorted(set(names) - set(classes)):
        parts = unknown[0].split(JOIN)
        hint = nearest(unknown[0], classes)
        if len(parts) > 1 and set(parts) <= set(classes):
            hint = "; it lists all parts of it, which model_type: MultiLabelDCPTModel classifies"
        raise ValueError(
            f"the data has the degradation '{unknown[0]}', which `degradations` does not list: {list(classes)}{hint}"
        )
    return [classes.index(name) for name in names]


def multi_hot(names: Sequence[str], classes: Sequence[str]) -> list[list[float]]:
    """For each name a vector over `classes`: 1 for every part of the name, 0 elsewhere.

    Args:
        names: Degradations of a batch; "haze+rain" has the parts haze and rain, in any order.
        classes: `degradations` of the option file.

    Raises:
        ValueError: If `classes` does not list a part of a name; the message has the nearest one.
    """
    labels = [name.split(JOIN) for name in names]
    for name, parts in zip(names, labels, strict=True):
        for part in parts:
            if part not in classes:
                whole = f" of '{name}'" if part != name else ""
                raise ValueError(
                    f"the data has the degradation '{part}'{whole}, which `degradations` does not list: "
                    f"{list(classes)}{nearest(part, classes)}"
                )
    return [[float(known in parts) for known in classes] for parts in labels]
