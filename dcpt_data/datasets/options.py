"""The options of `datasets` sections, as dataclasses against which option files are checked."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal, get_args, get_type_hints

from dcpt_common import Count, Range, Seed, nearest
from dcpt_data.datasets.sampling import Stage, samples_of_process
from dcpt_data.errors import DataError
from dcpt_data.sources.pairing import Rule


@dataclass(kw_only=True)
class SetOptions:
    """Which images: a published data set by name (`source`), or folders of one's own.

    Attributes:
        source: Name in sources.yml; gives the defaults of everything below but `parameters`.
        degradation: The class label, and the degradation to synthesise where there is no `dataroot_lq`.
        dataroot_gt: Folder of the ground truth, or an LMDB of it (a folder named `*.lmdb`).
        dataroot_lq: The same of the degraded images; none to synthesise them.
        lmdb: An LMDB of all images, made by `dcpt lmdb`, instead of folders.
        pairing: How names are matched; see `dcpt_data.sources.pairing`.
        parameters: Parameters of the synthesised degradation.
        datasets_root: Folder that sources lie in.
        limit: Use so many images only, evenly spread over the sorted names; for quicker validation.
    """

    source: str | None = None
    degradation: str | None = None
    dataroot_gt: str | None = None
    dataroot_lq: str | None = None
    lmdb: str | None = None
    pairing: Rule | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    datasets_root: str = "datasets"
    limit: Count | None = None


@dataclass(kw_only=True)
class IOBackend:
    """What a `source` is read from, named as BasicSR names it.

    Attributes:
        type: "disk" for the folders of sources.yml, "lmdb" for `lmdb/NAME.lmdb` below the same root, as
            `dcpt lmdb` makes it. Folders and LMDBs of one's own are told by their names instead.
        stage_to: Folder on a disk of the machine that LMDBs are copied to first, once for all its processes; `$TMPDIR`
            and the like are filled in. None to read them where they lie.
    """

    type: Literal["disk", "lmdb"] = "disk"
    stage_to: str | None = None

    def __post_init__(self) -> None:
        known = get_args(get_type_hints(IOBackend)["type"])
        if self.type not in known:
            raise DataError(f"no io_backend of type '{self.type}'{nearest(self.type, known)}")


@dataclass(kw_only=True)
class ReadingOptions:
    """How the images are read.

    Attributes:
        name: Name in logs and tables; the section's key by default.
        phase: "train" crops and augments; "val" and "test" give whole images, degraded alike every time.
        scale: Always 1; BasicSR passes it.
        gt_size: Side of the training crop in pixels.
        use_hflip: Flip horizontally at random.
        use_rot: Turn by multiples of 90 degrees at random.
        gray: Share of the training samples that are made gray, before a degradation is synthesised.
        seed: Seed of all randomness in training; the option file's `manual_seed` by default.
        io_backend: What sources are read from, in a mixture those of all its parts.
    """

    name: str = ""
    phase: Literal["train", "val", "test"] = "train"
    scale: Literal[1] = 1
    gt_size: Count = 128
    use_hflip: bool = True
    use_rot: bool = True
    gray: Annotated[float, Range(least=0, most=1)] = 0.0
    seed: Seed = 0
    io_backend: IOBackend = field(default_factory=IOBackend)


@dataclass(kw_only=True)
class LoaderOptions:
    """How batches are made; only a training set's section uses more than `type`.

    Attributes:
        type: The registered class of the data set.
        batch_size_per_gpu: Samples of one process in one iteration; 1 by default.
        batch_size: In its place, samples of all processes together: a run goes on with another number of processes and
            makes the same updates.
        num_worker_per_gpu: Worker processes of one process; 0 reads in the process itself. Results do not depend on it.
        pin_memory: Copy batches to page-locked memory, for a GPU.
        progressive: Stages of progressive training before `gt_size` and `batch_size_per_gpu` hold, each with the last
            iteration it is for: `{until: 10000, gt_size: 64, batch_size_per_gpu: 16}`, or `batch_size`.
    """

    type: str
    batch_size_per_gpu: Count | None = None
    batch_size: Count | None = None
    num_worker_per_gpu: Annotated[int, Range(least=0, most=1024)] = 0
    pin_memory: bool = False
    progressive: list[Stage] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.progressive = [Stage(**stage) if isinstance(stage, dict) else stage for stage in self.progressive]
        self.samples_of_process(1)
        for stage in self.progressive:
            stage.samples_of_process(1)
        ends = [stage.until for stage in self.progressive]
        if ends != sorted(set(ends)):
            raise DataError(f"datasets:train:progressive: the stages must end one after the other, not at {ends}")

    def samples_of_process(self, world_size: int) -> int:
        """Samples of one process in one iteration, behind the last stage."""
        return samples_of_process(self.batch_size_per_gpu, self.batch_size, world_size)


def pick(kind: type, options: dict[str, Any]) -> dict[str, Any]:
    """The entries of `options` that are fields of the dataclass `kind`; a section becomes what its field declares."""
    picked = {f.name: options[f.name] for f in fields(kind) if f.name in options}
    if isinstance(picked.get("io_backend"), dict):
        picked["io_backend"] = IOBackend(**picked["io_backend"])
    return picked
