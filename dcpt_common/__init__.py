"""What every package uses; each module has one idea. `progress` and `markdown` are imported by their own names."""

from dcpt_common.errors import MissingEngineError
from dcpt_common.extensions import import_extension, import_modules
from dcpt_common.files import PARTIAL, partial_path, sha256, write_atomically
from dcpt_common.json_text import to_json, with_nan
from dcpt_common.labels import CLEAN, JOIN
from dcpt_common.names import closest, nearest
from dcpt_common.ranges import Blocks, Count, Depth, Natural, NotNegative, Positive, Range, Seed
from dcpt_common.threads import wait_briefly

__all__ = [
    "CLEAN",
    "JOIN",
    "PARTIAL",
    "Blocks",
    "Count",
    "Depth",
    "MissingEngineError",
    "Natural",
    "NotNegative",
    "Positive",
    "Range",
    "Seed",
    "closest",
    "import_extension",
    "import_modules",
    "nearest",
    "partial_path",
    "sha256",
    "to_json",
    "wait_briefly",
    "with_nan",
    "write_atomically",
]
