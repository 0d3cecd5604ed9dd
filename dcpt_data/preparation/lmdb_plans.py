"""What goes into an LMDB: which images, in which form, under which names."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from basicsr.utils.registry import DATASET_REGISTRY

from dcpt_data.datasets.locating import LMDB_SUFFIX, Images, Opened, lmdb_of_source, locate, open_images
from dcpt_data.datasets.options import SetOptions
from dcpt_data.errors import DataError
from dcpt_data.images.pixels import stem
from dcpt_data.preparation.stand_ins import MANIFEST
from dcpt_data.sources.published import get_source
from dcpt_data.stores.folder_store import Store
from dcpt_data.stores.lmdb_format import SIDES, Form, Metadata, Side
from dcpt_data.stores.name_table import NameTable, refuse_paths


@dataclass(frozen=True)
class Part:
    """One side of an LMDB: which images of a store, in their order, and what they are called."""

    store: Store
    numbers: np.ndarray
    names: NameTable


@dataclass(frozen=True)
class Plan:
    """One LMDB to make.

    Attributes:
        out: The LMDB.
        metadata: What stands in it.
        parts: Its images by side.
        partners: For each degraded image the number of its ground truth; None without pairs.
    """

    out: Path
    metadata: Metadata
    parts: dict[Side, Part]
    partners: np.ndarray | None = None

    @property
    def count(self) -> int:
        """Images of all sides."""
        return sum(len(part.numbers) for part in self.parts.values())

    def digest(self) -> str:
        """Tells this plan from others: by form, names and pairs, not by where the images lie."""
        digest = hashlib.sha256(self.metadata.form.encode())
        for side, part in self.parts.items():
            digest.update(side.encode() + part.names.text + part.names.ends.tobytes())
        if self.partners is not None:
            digest.update(self.partners.tobytes())
        return digest.hexdigest()


def plan_lmdb(images: Images, opened: Opened, form: Form, out: Path, stand_in: bool = False) -> Plan:
    """One LMDB of a whole data set. Ground truth that several degraded images share is stored once.

    Args:
        images: What the data set is.
        opened: Its images.
        form: How they are to be stored.
        out: The LMDB.
        stand_in: Whether it is a stand-in for a published data set.

    Raises:
        DataError: If `out` has another suffix than .lmdb.
    """
    used, partners = np.unique(opened.gt_of, return_inverse=True)
    parts: dict[Side, Part] = {"gt": _part(opened.gt, used)}
    if opened.lq is not None:
        parts["lq"] = _part(opened.lq, opened.lq_of)
    metadata = _metadata(images, form, stand_in, parts)
    return Plan(_checked(out), metadata, parts, None if opened.lq is None else partners.astype("<u4"))


def plan_for_basicsr(images: Images, opened: Opened, form: Form, out: Path, stand_in: bool = False) -> list[Plan]:
    """LMDBs that BasicSR reads too, one of each side, `NAME_lq.lmdb` and `NAME_gt.lmdb`, with equal keys in both.

    BasicSR cuts keys off at the first dot, so dots in names become underscores; and it wants a ground truth under the
    name of each degraded image, so what several share is stored as often.

    Args:
        images: What the data set is.
        opened: Its images.
        form: "png" or "original"; BasicSR does not know raw pixels.
        out: NAME.lmdb; nothing of this very name is made.
        stand_in: Whether it is a stand-in for a published data set.

    Raises:
        DataError: If the form is raw, or names cannot be keys for BasicSR.
    """
    if form == "raw":
        raise DataError("BasicSR does not know raw pixels; choose --form original or png")
    _checked(out)
    leading, numbers = (opened.gt, opened.gt_of) if opened.lq is None else (opened.lq, opened.lq_of)
    stems = [_engine_key(stem(leading.names[int(number)])) for number in numbers]
    _refuse_duplicates(stems, f"{leading.root}: with underscores for dots, two images are called")
    sides: list[tuple[Side, Store, np.ndarray]] = [("gt", opened.gt, opened.gt_of)]
    if opened.lq is not None:
        sides.append(("lq", opened.lq, opened.lq_of))
    plans = []
    for side, store, chosen in sides:
        suffixes = (Path(store.names[int(number)]).suffix for number in chosen)
        part = Part(store, chosen, NameTable.of(map("".join, zip(stems, suffixes, strict=True))))
        metadata = _metadata(images, form, stand_in, {side: part})
        plans.append(Plan(out.with_name(f"{out.stem}_{side}{LMDB_SUFFIX}"), metadata, {side: part}))
    return plans


def plan_source(name: str, datasets_root: str | Path, form: Form, for_basicsr: bool = False) -> list[Plan]:
    """The LMDB of a published data set, where `io_backend: {type: lmdb}` looks for it.

    Args:
        name: Its name in sources.yml.
        datasets_root: Where its folder lies, and its LMDB will.
        form: How images are to be stored.
        for_basicsr: Make two, as `plan_for_basicsr` does.

    Raises:
        DataError: If the data set is not known, or not there.
    """
    images = locate(SetOptions(source=name, datasets_root=str(datasets_root)))
    try:
        opened = open_images(images)
    except DataError as error:
        raise DataError(
            f"{name}: {error}\nBring the data there first, from what is published ({images.about}):\n"
            f"  dcpt prepare {name} --from UNPACKED_ARCHIVE --root {datasets_root}"
        ) from error
    stand_in = Path(datasets_root, get_source(name).folder, MANIFEST).is_file()
    out = lmdb_of_source(datasets_root, name)
    if for_basicsr:
        return plan_for_basicsr(images, opened, form, out, stand_in)
    return [plan_lmdb(images, opened, form, out, stand_in)]


def sources_read(datasets: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
    """Name and root of every published data set that the `datasets` section of an option file reads."""
    kinds = ((DATASET_REGISTRY.get(opt["type"]), opt) for opt in datasets.values())
    sets = (options for kind, opt in kinds if hasattr(kind, "image_sets") for options in kind.image_sets(opt).values())
    return [
        (options.source, options.datasets_root)
        for options in sets
        if options.source and not (options.dataroot_gt or options.dataroot_lq or options.lmdb)
    ]


def _engine_key(name: str) -> str:
    key = name.replace(".", "_")
    if not key.isascii():
        raise DataError(f"'{name}' is not ASCII, which keys for BasicSR must be; rename the file")
    return key


def _part(store: Store, numbers: np.ndarray) -> Part:
    names = [store.names[int(number)] for number in numbers]
    _refuse_duplicates([stem(name) for name in names], f"{store.root}: two images are called")
    table = NameTable.of(names)
    refuse_paths(table, store.root)
    return Part(store, numbers, table)


def _refuse_duplicates(stems: list[str], what: str) -> None:
    if len(set(stems)) < len(stems):
        raise DataError(f"{what} '{Counter(stems).most_common(1)[0][0]}', suffix aside; rename one of them")


def _metadata(images: Images, form: Form, stand_in: bool, parts: dict[Side, Part]) -> Metadata:
    counts = {side: len(parts[side].numbers) for side in SIDES if side in parts}
    pairing = images.pairing if len(parts) > 1 else None
    return Metadata(form, counts, images.degradation, pairing, images.source, images.about, stand_in)


def _checked(out: Path) -> Path:
    if out.suffix != LMDB_SUFFIX:
        raise DataError(f"{out}: the name of an LMDB must end with {LMDB_SUFFIX}")
    return out
