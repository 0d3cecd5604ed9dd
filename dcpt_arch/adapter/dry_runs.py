"""Passes that compute shapes and no values: what each module of a network gives, and in which order."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

Size = tuple[int, int]
Shape = tuple[int, ...]


@dataclass
class Call:
    """One call of a module: the places of its begin and its end in the pass, and what came out.

    Attributes:
        begin: A number that grows with every begin and end of a call.
        end: Likewise.
        shape: Of the tensor that came out; None if it was no tensor.
        kind: The type of what came out.
        trained: Whether a parameter, or what is computed of one, is in it, so that a loss on it trains something.
    """

    begin: int
    end: int = -1
    shape: Shape | None = None
    kind: str = ""
    trained: bool = False


@dataclass
class Pass:
    """What a pass has shown.

    Attributes:
        size: Height and width of the image.
        calls: Name of a module -> its calls, in order. A module under several names has the first one.
        output: What the network gave; its tensors have shapes alone.
        reached: Names of the parameters that the output depends on.
        opaque: Whether parts of the graph hide their parameters (re-entrant activation checkpointing).
    """

    size: Size
    calls: dict[str, list[Call]] = field(default_factory=dict)
    output: Any = None
    reached: set[str] = field(default_factory=set)
    opaque: bool = False


def without_values(network: nn.Module) -> nn.Module:
    """A copy of a network on PyTorch's meta device, which has shapes and no values."""
    # A copy, since networks may keep what they compute, in which what stands for a tensor is not copied but replaced.
    shapes: dict[int, Any] = {
        id(p): nn.Parameter(torch.empty_like(p, device="meta"), p.requires_grad) for p in network.parameters()
    }
    shapes.update({id(buffer): torch.empty_like(buffer, device="meta") for buffer in network.buffers()})
    return copy.deepcopy(network, shapes)


class DryRuns:
    """Passes of images through a copy of a network.

    Nothing is computed where PyTorch's meta device suffices; of a network that does what has no meaning without values,
    small images are. No random state is changed.

    Args:
        network: The network; it is not changed.
        channels: Of the image.
    """

    def __init__(self, network: nn.Module, channels: int = 3) -> None:
        self.network, self.channels = network, channels
        self._copy: nn.Module | None = None

    def first(self, size: Size) -> Pass:
        """A pass that also finds out whether values are needed.

        Raises:
            Exception: Whatever the network raises on an image of zeros.
        """
        try:
            self._copy = without_values(self.network)
            return self.run(size)
        except Exception:  # it may do what has no meaning without values
            self._copy = copy.deepcopy(self.network).cpu()
            return self.run(size)

    def run(self, size: Size, training: bool = False, graph: bool = True) -> Pass:
        """A pass as the first one, or without its graph (`trained`, `reached`); raises what the network raises."""
        assert self._copy is not None, "first() comes first"
        network = self._copy.train(training)
        device = next((p.device for p in network.parameters()), torch.device("cpu"))
        image = torch.zeros(1, self.channels, *size, device=device)
        found = Pass(size)
        with _quiet(), torch.set_grad_enabled(graph), _watched(network, found):
            found.output = network(image)
        _follow(network, found)
        return found

    def fits(self, size: Size) -> Pass | None:
        """A pass, or None if the network does not take an image of this size."""
        try:
            return self.run(size, graph=False)
        except Exception:  # of any kind
            return None


@contextmanager
def _quiet() -> Iterator[None]:
    with torch.random.fork_rng([]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _watched(network: nn.Module, found: Pass) -> Iterator[None]:
    clock = iter(range(2**62))
    hooks = []
    for name, module in network.named_modules():

        def begin(module: nn.Module, inputs: Any, name: str = name) -> None:
            found.calls.setdefault(name, []).append(Call(next(clock)))

        def end(module: nn.Module, inputs: Any, output: Any, name: str = name) -> None:
            # Of a module within itself, the call that is still open ends.
            call = next(call for call in reversed(found.calls[name]) if call.end < 0)
            call.end, call.kind = next(clock), type(output).__name__
            if isinstance(output, torch.Tensor):
                call.shape, call.trained = tuple(output.shape), output.requires_grad

        hooks += [module.register_forward_pre_hook(begin), module.register_forward_hook(end)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _follow(network: nn.Module, found: Pass) -> None:
    """Find the parameters that the output depends on, in the graph that autograd has noted."""
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    waiting = [tensor.grad_fn for tensor in tensors_in(found.output) if tensor.grad_fn is not None]
    seen: set[Any] = set()
    while waiting:
        node: Any = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        found.opaque |= type(node).__name__ == "CheckpointFunctionBackward"
        if hasattr(node, "variable") and id(node.variable) in names:
            found.reached.add(names[id(node.variable)])
        waiting += [inner for inner, _ in node.next_functions if inner is not None]


def tensors_in(output: Any) -> list[torch.Tensor]:
    """The tensors in what a network gives, at any depth of lists, tuples and dicts."""
    if isinstance(output, torch.Tensor):
        return [output]
    if isinstance(output, dict):
        output = list(output.values())
    return [t for each in output for t in tensors_in(each)] if isinstance(output, (list, tuple)) else []
