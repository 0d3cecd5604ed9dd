"""A backward pass walked in Python, for tensors whose device does not exist: PyTorch's engine would ask its driver."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any
from unittest import mock

import torch
from torch.autograd.function import BackwardCFunction

Gradients = list[torch.Tensor | None]
_numbers = itertools.count(1)


def backward(tensor: torch.Tensor, *_: Any, **__: Any) -> None:
    """`Tensor.backward` of a scalar: adds the gradients of all leaves to their `grad`.

    Raises:
        RuntimeError: If an operator's gradient has another device than what it is the gradient of.
    """
    if tensor.grad_fn is None:
        raise RuntimeError("the loss depends on nothing that has a gradient")
    # What is computed again (torch.utils.checkpoint) is computed once a pass, which it tells by the number of the pass.
    number = next(_numbers)
    with torch.no_grad(), mock.patch.object(torch._C, "_current_graph_task_id", lambda: number):
        _walk(tensor.grad_fn, torch.ones_like(tensor))


def grad(output: torch.Tensor, leaves: Sequence[torch.Tensor], *_: Any, **__: Any) -> Gradients:
    """`torch.autograd.grad` of a scalar by leaves, which have no `grad` of their own."""
    backward(output)
    found: Gradients = []
    for leaf in leaves:
        found.append(leaf.grad)
        leaf.grad = None
    return found


def _walk(root: Any, gradient: torch.Tensor) -> None:
    waiting = _uses(root)
    given: dict[Any, Gradients] = {root: [gradient]}
    ready = [root]
    while ready:
        node = ready.pop()
        results = _gradients(node, given.pop(node, None))
        for (source, index), result in zip(node.next_functions, results, strict=False):
            if source is None:
                continue
            if result is not None:
                _add(given.setdefault(source, [None] * len(source._input_metadata)), source, index, result)
            waiting[source] -= 1
            if not waiting[source]:
                ready.append(source)


def _uses(root: Any) -> Counter[Any]:
    """How many operators give each one a gradient."""
    uses: Counter[Any] = Counter()
    seen, stack = {root}, [root]
    while stack:
        for source, _ in stack.pop().next_functions:
            if source is not None:
                uses[source] += 1
                if source not in seen:
                    seen.add(source)
                    stack.append(source)
    return uses


def _gradients(node: Any, given: Gradients | None) -> tuple[torch.Tensor | None, ...]:
    """What an operator gives for each of its inputs; a leaf keeps what it is given."""
    if given is None:  # nothing came of any of its results
        return (None,) * len(node.next_functions)
    if hasattr(node, "variable"):
        leaf = node.variable
        leaf.grad = given[0] if leaf.grad is None else leaf.grad + given[0]
        return ()
    if isinstance(node, BackwardCFunction):
        metadata = zip(given, node._input_metadata, strict=True)
        given = [_zeros(of) if value is None else value for value, of in metadata]
        results = node._forward_cls.backward(node, *given)
    else:
        results = node(*given)
    return results if isinstance(results, tuple) else (results,)


def _zeros(of: Any) -> torch.Tensor:
    return torch.zeros(of.shape, dtype=of.dtype, device=of.device)


def _add(gradients: Gradients, node: Any, index: int, gradient: torch.Tensor) -> None:
    """Add to what an operator has been given, in the shape and precision of its result, as PyTorch's engine does."""
    of = node._input_metadata[index]
    if gradient.device != of.device:
        raise RuntimeError(f"{node.name()} has a result on {of.device}, and is given a gradient on {gradient.device}")
    gradient = gradient.sum_to_size(of.shape) if gradient.shape != of.shape else gradient
    gradient = gradient.to(of.dtype)
    before = gradients[index]
    gradients[index] = gradient if before is None else before + gradient
