"""A GPU that is pretended: programs run on `cuda` tensors without content, and errors of device, dtype and shape show.

PyTorch's FakeTensorMode does most of it. What a driver would be asked for is answered here: streams, generators,
memory, values that are read (1; 0 in lists), and the backward pass (python_backward.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any
from unittest import mock

import numpy as np
import torch
from python_backward import backward, grad
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

CUDA = torch.device("cuda", 0)
MEMORY = 80 * 2**30


@contextmanager
def pretended_cuda() -> Iterator[None]:
    """Within it tensors have no content, and there is one GPU."""
    cuda: dict[str, Any] = {
        "Stream": lambda *_, **__: Stream(),
        "current_device": lambda: 0,
        "current_stream": lambda *_: Stream(),
        "device_count": lambda: 1,
        "is_bf16_supported": lambda *_, **__: True,
        "get_device_capability": lambda *_: (9, 0),
        "get_device_name": lambda *_: "pretended",
        "max_memory_allocated": lambda *_: 0,
        "mem_get_info": lambda *_: (MEMORY, MEMORY),
        "memory_allocated": lambda *_: 0,
        "memory_reserved": lambda *_: 0,
        "stream": lambda *_: nullcontext(),
    }
    tensor: dict[str, Any] = {
        "backward": backward,
        "numpy": _numpy,
        "record_stream": lambda *_: None,
    }
    fake: dict[str, Any] = {"tolist": lambda x: np.zeros(tuple(x.shape), _kind(x)).tolist()}
    with ExitStack() as stack:
        for where, names in ((torch.cuda, cuda), (torch.Tensor, tensor), (FakeTensor, fake)):
            for name, value in names.items():
                stack.enter_context(mock.patch.object(where, name, value))
        stack.enter_context(mock.patch.object(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False))
        stack.enter_context(mock.patch.object(torch.random, "fork_rng", lambda *_, **__: nullcontext()))
        stack.enter_context(mock.patch.object(torch.autograd, "grad", grad))
        stack.enter_context(mock.patch.object(nn.Module, "_apply", _apply))
        # It draws again until values are within bounds, which tensors without content never are.
        stack.enter_context(mock.patch.object(nn.init, "trunc_normal_", lambda x, *_, **__: x))
        for name in ("rand", "randn", "randint", "poisson"):
            stack.enter_context(mock.patch.object(torch, name, _drawn(getattr(torch, name))))
        stack.enter_context(mock.patch.object(torch, "Generator", _generator))
        stack.enter_context(_Mode())
        yield


class Stream:
    """A stream, and likewise all that is done with one."""

    def wait_stream(self, other: Any) -> None:
        """There is nothing to wait for."""


class Generator:
    """A generator of random numbers on the pretended GPU."""

    device = CUDA

    def manual_seed(self, seed: int) -> Generator:
        """Nothing is drawn, so there is nothing to seed."""
        return self


def _generator(device: Any = "cpu", real: Any = torch.Generator) -> Any:
    return Generator() if torch.device(device).type == "cuda" else real(device)


class _Mode(FakeTensorMode):
    """Tensors without content, of which a single value that is read is 1, or True."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            dtype = args[0].dtype
            return True if dtype == torch.bool else 1.0 if dtype.is_floating_point else 1
        return super().__torch_dispatch__(func, types, args, kwargs)

    def __deepcopy__(self, memo: Any) -> _Mode:
        return self  # copies of a tensor are tensors of the same mode


def _numpy(x: torch.Tensor) -> np.ndarray:
    if x.device.type != "cpu":
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first")
    if x.requires_grad:
        raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
    if x.dtype == torch.bfloat16:
        raise TypeError("Got unsupported ScalarType BFloat16")
    return np.zeros(tuple(x.shape), _kind(x))


def _kind(x: torch.Tensor) -> str:
    """The name of its type in NumPy."""
    return str(x.dtype).removeprefix("torch.").replace("bfloat16", "float32")


def _apply(module: nn.Module, change: Any, recurse: bool = True) -> nn.Module:
    """`Module._apply`, which moves a network: PyTorch's own cannot put a tensor of another device into a parameter."""
    for child in module.children() if recurse else ():
        child._apply(change)
    for name, parameter in module._parameters.items():
        if parameter is not None:
            moved = change(parameter.detach())
            module._parameters[name] = nn.Parameter(moved, requires_grad=parameter.requires_grad)
    for name, buffer in module._buffers.items():
        module._buffers[name] = None if buffer is None else change(buffer)
    return module


def _drawn(function: Any) -> Any:
    """A function that draws, without the pretended generator, whose device must be that of what is drawn."""

    def draw(*arguments: Any, generator: Any = None, **others: Any) -> torch.Tensor:
        result: torch.Tensor = function(*arguments, **others)
        wanted = "cpu" if generator is None else generator.device.type
        if generator is not None and result.device.type != wanted:
            raise RuntimeError(f"Expected a '{result.device.type}' device type for generator but found '{wanted}'")
        return result

    return draw
