"""Takes the outputs of modules while a network runs, and ends the pass once it has all of them.

The taps stay in the network and do nothing until `Collector.take`: hooks that come and go would mean recompiling, and
hooks that are closures would, in a copy of the network, still belong to the original.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


class Complete(Exception):  # noqa: N818 - no error: it ends a pass that has given all that was asked for
    """All features are there."""


class Collector:
    """What the taps of a network have in common.

    Args:
        modules: The modules that are tapped, in the order in which their outputs are wanted.
    """

    def __init__(self, modules: list[nn.Module]) -> None:
        self.count = len(modules)
        self.wanted = self.stops = False
        self.found: dict[int, torch.Tensor] = {}
        for number, module in enumerate(modules):
            module.register_forward_hook(Tap(self, number))

    def take(self, run: Callable[[torch.Tensor], Any], x: torch.Tensor, stop: bool) -> tuple[Any, list[torch.Tensor]]:
        """Run a network and take the outputs.

        Args:
            run: The network that the modules belong to.
            x: What it is given.
            stop: Whether the pass ends with the last output that is wanted; nothing behind it is computed.

        Returns:
            What the network gives, None if it was stopped; and the outputs.

        Raises:
            RuntimeError: If a module has not run.
        """
        self.found, self.wanted, self.stops = {}, True, stop
        output = None
        try:
            output = run(x)
        except Complete:
            pass
        finally:
            self.wanted = False
        found, self.found = self.found, {}
        if len(found) != self.count:
            raise RuntimeError(
                f"of {self.count} feature levels {len(found)} were computed: the network went another way"
            )
        return output, [found[number] for number in range(self.count)]


class Tap:
    """A forward hook on one module. An object, not a function: copying a network copies it and what it refers to."""

    def __init__(self, collector: Collector, number: int) -> None:
        self.collector, self.number = collector, number

    def __call__(self, module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        collector = self.collector
        if not collector.wanted:  # in a pass for the image alone, or when activations are computed again
            return
        collector.found[self.number] = output
        if collector.stops and len(collector.found) == collector.count:
            raise Complete
