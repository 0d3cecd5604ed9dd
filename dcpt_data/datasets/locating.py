"""Resolves the options of a set of images to paths, and opens its stores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dcpt_data.datasets.options import IOBackend, SetOptions
from dcpt_data.degradations import check_parameters
from dcpt_data.errors import DataError
from dcpt_data.sources.pairing import Rule, match_names, refuse_duplicates
from dcpt_data.sources.published import get_source
from dcpt_data.stores.folder_store import FolderStore, Picture, Store
from dcpt_data.stores.lmdb_format import Side
from dcpt_data.stores.lmdb_store import open_lmdb, peek_metadata
from dcpt_data.stores.staging import is_url, stage

LMDB_SUFFIX = ".lmdb"


@dataclass(frozen=True)
class Images:
    """A resolved `SetOptions`: the degradation, and the LMDB or the folders.

    Attributes:
        degradation: The class label.
        root_gt: Folder (or LMDB of its own) of the ground truth; None where `lmdb` has it.
        root_lq: The same of the degraded images; None to synthesise them, or where `lmdb` has them.
        pairing: How the names of two folders are matched.
        about: The data set in words.
        source: Its name in sources.yml, if it has one.
        lmdb: One LMDB of all images.
    """

    degradation: str
    root_gt: Path | None
    root_lq: Path | None
    pairing: Rule
    about: str
    source: str | None = None
    lmdb: Path | None = None

    def how_to_make_lmdb(self) -> str:
        """The command that makes `lmdb`."""
        if self.lmdb is not None and self.source and self.lmdb.name == self.source + LMDB_SUFFIX:
            return f"dcpt lmdb --source {self.source} --root {self.lmdb.parent.parent}"
        return f"dcpt lmdb --gt A --lq B --degradation {self.degradation} --out {self.lmdb}"


def lmdb_of_source(datasets_root: str | Path, name: str) -> Path:
    """Where the LMDB of a data set in sources.yml lies."""
    return Path(datasets_root, "lmdb", name + LMDB_SUFFIX)


def _lmdb_at(place: str, backend: IOBackend | None) -> Path:
    """An LMDB where it can be read: there, or a copy of it on a disk of this machine."""
    if backend is not None and backend.stage_to and (is_url(place) or Path(place).is_dir()):
        return stage(place, backend.stage_to)
    if is_url(place):
        raise DataError(f"{place} is no folder: say `io_backend: {{type: lmdb, stage_to: DIR}}` to have it copied")
    return Path(place)


def locate(options: SetOptions, backend: IOBackend | None = None) -> Images:
    """Fill in what a `source` says, and check that what remains names a set of images.

    Args:
        options: The options.
        backend: Whether sources are read from folders (the default) or from their LMDBs.

    Raises:
        DataError: If the degradation or the ground truth is not known, or synthesis cannot make the degradation.
    """
    source = get_source(options.source) if options.source else None
    about = f"{source.about}; {source.where}" if source else "your own folder"
    lmdb = _lmdb_at(options.lmdb, backend) if options.lmdb else None
    own_folders = options.dataroot_gt is not None or options.dataroot_lq is not None
    if lmdb is not None and (own_folders or options.pairing):
        raise DataError(f"`lmdb: {lmdb}` says where all images are and how they pair; leave dataroot_* and pairing out")
    if lmdb is None and source and backend and backend.type == "lmdb" and not own_folders:
        root = options.datasets_root.rstrip("/")
        lmdb = _lmdb_at(f"{root}/lmdb/{source.name}{LMDB_SUFFIX}", backend)
    degradation = options.degradation or (source.degradation if source else None)
    if lmdb is not None:
        there = lmdb.is_dir()
        metadata = peek_metadata(lmdb) if there else None
        degradation = degradation or (metadata.degradation if metadata else None)
        if degradation is None:
            what = "names no degradation; say `degradation` beside `lmdb`" if there else "no such LMDB"
            raise DataError(f"{lmdb}: {what}")
        if there and (metadata is None or "lq" not in metadata.images):
            _check_synthesis(degradation, options)
        elif there and options.parameters:
            raise _needless_parameters(lmdb)
        return Images(degradation, None, None, "same", about, options.source, lmdb)

    gt, lq = source.roots(options.datasets_root) if source else (None, None)
    root_gt = Path(options.dataroot_gt) if options.dataroot_gt else gt
    # Ground truth of one's own replaces both folders of a source.
    root_lq = Path(options.dataroot_lq) if options.dataroot_lq else lq if options.dataroot_gt is None else None
    if not degradation or not root_gt:
        raise DataError(
            "a data set needs a `source`, or `degradation` and `dataroot_gt` (and `dataroot_lq` for pairs), or `lmdb`"
        )
    if root_lq is None:
        _check_synthesis(degradation, options)
    elif options.parameters:
        raise _needless_parameters(root_lq)
    pairing = options.pairing or (source.pairing if source else "same")
    return Images(degradation, root_gt, root_lq, pairing, about, options.source)


def _check_synthesis(degradation: str, options: SetOptions) -> None:
    try:
        check_parameters(degradation, options.parameters)
    except ValueError as error:
        raise DataError(f"'{degradation}' cannot be synthesised ({error}); give `dataroot_lq` for pairs") from error


def _needless_parameters(place: object) -> DataError:
    return DataError(f"`parameters` are for synthesised degradations, but '{place}' has degraded images already")


@dataclass(frozen=True)
class Opened:
    """The images of a set, opened for reading: pairs by number, or ground truth alone.

    Attributes:
        gt: Where the ground truth comes from.
        lq: Where the degraded images come from; None to synthesise them.
        gt_of: For each sample the number of its ground truth in `gt`.
        lq_of: For each sample the number of its degraded image in `lq`; of no meaning without.
    """

    gt: Store
    lq: Store | None
    gt_of: np.ndarray
    lq_of: np.ndarray

    def __len__(self) -> int:
        return len(self.gt_of)

    def name(self, index: int) -> str:
        """A sample's name, with suffix: that of its degraded image, since several may share a ground truth."""
        return self.gt.names[int(self.gt_of[index])] if self.lq is None else self.lq.names[int(self.lq_of[index])]

    def places(self, index: int) -> tuple[str | None, str]:
        """Where a sample's degraded image (None to synthesise it) and its ground truth lie."""
        lq = None if self.lq is None else self.lq.place(int(self.lq_of[index]))
        return lq, self.gt.place(int(self.gt_of[index]))

    def pictures(self, index: int) -> list[Picture]:
        """A sample's ground truth, and its degraded image unless that is to be synthesised."""
        gt = self.gt.picture(int(self.gt_of[index]))
        return [gt] if self.lq is None else [gt, self.lq.picture(int(self.lq_of[index]))]

    def spread(self, limit: int) -> Opened:
        """At most `limit` of the samples, evenly spread."""
        if limit < 1:
            raise DataError(f"limit must be 1 or more, not {limit}")
        step = max(1.0, len(self) / limit)
        kept = (np.arange(min(limit, len(self))) * step).astype(int)
        return Opened(self.gt, self.lq, self.gt_of[kept], self.lq_of[kept])


def open_images(images: Images) -> Opened:
    """Open what `locate` found.

    Raises:
        DataError: If folders are missing or empty, images have no partner, two images share one name, or an LMDB cannot
            be read.
    """
    if images.lmdb is not None:
        contents = open_lmdb(images.lmdb)
        if contents.partners is None:
            return _alone(contents.side("gt"))
        partners = contents.partners.astype(np.int64)
        return Opened(contents.side("gt"), contents.side("lq"), partners, np.arange(len(partners)))
    assert images.root_gt is not None  # locate found either
    if images.root_lq is None:
        return _alone(_open_root(images.root_gt, "gt"))
    lq, gt = _open_root(images.root_lq, "lq"), _open_root(images.root_gt, "gt")
    lq_of, gt_of = match_names(list(lq.names), list(gt.names), images.pairing, lq.root, gt.root)
    return Opened(gt, lq, np.array(gt_of), np.array(lq_of))


def _open_root(root: Path, side: Side) -> Store:
    return open_lmdb(root).side(side) if root.suffix == LMDB_SUFFIX else FolderStore(root)


def _alone(gt: Store) -> Opened:
    refuse_duplicates(gt.names, gt.root)
    every = np.arange(len(gt))
    return Opened(gt, None, every, every)
