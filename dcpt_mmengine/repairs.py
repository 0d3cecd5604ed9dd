"""What of mmengine 0.10 does not work with today's PyTorch, mended in this one place.

What is not mended here is refused by `MethodLoop` with the way that works, or named in docs/MMENGINE.md.
"""

import pickle
from typing import Any

import numpy as np
import torch
from mmengine.logging.history_buffer import HistoryBuffer

# mmengine's own checkpoints hold the curves of a run, and torch.load reads plain values alone since 2.6: resuming one
# ends with "Unsupported global". (What this project writes holds plain values and tensors.) What the curves are pickled
# with is allowed, and no more: arrays of NumPy, under both names that its versions give the module, and `getattr`, by
# which pickle finds the statistics of a curve and which stands for nothing else here.


def _statistic(kind: Any, name: str) -> Any:
    """`getattr` in a pickled curve."""
    if kind is not HistoryBuffer or name not in HistoryBuffer._statistics_methods:
        raise pickle.UnpicklingError(f"a checkpoint of mmengine holds {kind}.{name}, which is no statistic of a curve")
    return getattr(kind, name)


def _allow_curves() -> None:
    array: Any = np.zeros(1).__reduce__()[0]
    scalar: Any = np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32, np.bool_)]
    allowed: list[Any] = [HistoryBuffer, np.ndarray, np.dtype, *kinds, array, scalar, (_statistic, "builtins.getattr")]
    for function in (array, scalar):
        name = f"{function.__module__}.{function.__name__}"
        allowed.append((function, name.replace("numpy._core", "numpy.core")))
    torch.serialization.add_safe_globals(allowed)


HistoryBuffer()  # which fills in the names of its statistics
_allow_curves()
