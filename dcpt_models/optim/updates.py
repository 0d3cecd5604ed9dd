"""The updates of an iteration: gradients summed over micro-batches, averaged over processes, checked, and applied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

Precision = Literal["fp32", "bf16", "fp16"]

AUTOCAST: dict[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}


class LossScale:
    """The factor that keeps small gradients within the range of fp16; changed on the device, never waited for.

    It is halved where a gradient overflowed, to no less than 1, and doubled after `PATIENCE` updates without one. (What
    PyTorch's GradScaler does. That decides for each optimiser alone and waits for the device unless it is fused.)

    Args:
        device: Where the factor lives.
    """

    START, PATIENCE = 2.0**16, 2000

    def __init__(self, device: torch.device) -> None:
        self.value = torch.tensor(self.START, device=device)
        self._since = torch.zeros((), device=device)

    def update(self, sound: torch.Tensor) -> None:
        """Take in whether the gradients of an update were finite."""
        self._since = torch.where(sound, self._since + 1, 0)
        grown = self._since >= self.PATIENCE
        self.value = torch.where(sound, torch.where(grown, self.value * 2, self.value), (self.value / 2).clamp_min(1))
        self._since = torch.where(grown, 0, self._since)

    def state_dict(self) -> dict[str, float]:
        """What `load_state_dict` needs to continue exactly."""
        return {"value": self.value.item(), "since": self._since.item()}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on from `state_dict`."""
        self.value.fill_(state["value"])
        self._since.fill_(state["since"])


class Updates:
    """Makes the updates of trained networks, each for `accumulate` micro-batches.

    An update whose losses or gradients are NaN or infinite is not made: weights and optimisers stay as they were. On a
    GPU the optimiser itself leaves it out, and nobody waits for it, if it is a fused one; all others wait.

    Several processes make the same updates, of gradients averaged over them. DistributedDataParallel averages them
    while the backward pass still computes others, for methods in which every update has a part for every parameter.
    For the others it would have to search the graph of every forward pass for the parameters without one; their
    gradients are averaged in one piece after the backward pass. Which parameters have a gradient is the same
    everywhere, since all processes do the same.

    Args:
        networks: The trained networks, by label, not wrapped.
        optimizers: Their optimisers, in the same order.
        device: The device that the networks are on.
        precision: What convolutions and matrix products compute in; weights and updates are fp32.
        accumulate: Micro-batches of an update.
        grad_clip: Largest norm of each network's gradient; none for no clipping.
    """

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        optimizers: Sequence[torch.optim.Optimizer],
        device: torch.device,
        precision: Precision = "fp32",
        accumulate: int = 1,
        grad_clip: float | None = None,
    ) -> None:
        self.parameters = {label: list(network.parameters()) for label, network in networks.items()}
        self.optimizers, self.device = optimizers, device
        self.precision, self.accumulate, self.grad_clip = precision, accumulate, grad_clip
        self.scale = LossScale(device) if precision == "fp16" else None
        self.replicas: list[DistributedDataParallel] = []  # what averages its gradients itself
        self.averaged_over = 1  # processes whose gradients are averaged here
        self.waits = device.type == "cpu"  # whether to look at a result on the device costs nothing
        self.begin()

    def begin(self) -> None:
        """Forget what the last iteration reported."""
        self._losses_sound = torch.ones((), dtype=torch.bool, device=self.device)
        self._sound = self._losses_sound

    @contextmanager
    def micro_batch(self, last: bool) -> Iterator[None]:
        """Around the forward and backward pass of a micro-batch, the `last` one of its update or not."""
        with ExitStack() as stack:
            if not last:
                for replica in self.replicas:
                    stack.enter_context(replica.no_sync())
            yield

    def forward(self) -> torch.autocast:
        """Around the forward pass alone; the backward pass takes the precision of each operator's forward pass."""
        dtype = AUTOCAST.get(self.precision)
        return torch.autocast(self.device.type, dtype, enabled=dtype is not None)

    def backward(self, losses: Mapping[str, torch.Tensor]) -> None:
        """Add the gradients of the sum of a micro-batch's losses."""
        total = torch.stack([loss.float() for loss in losses.values()]).sum()
        sound = total.detach().isfinite()
        self._losses_sound = self._losses_sound & sound
        # Some losses that are not finite have gradients that are: of |NaN| it is 0. This makes them NaN, here and, once
        # averaged, in all processes. Where the loss is finite, it divides by the number of micro-batches alone.
        total = total * torch.where(sound, 1 / self.accumulate, torch.nan)
        (total if self.scale is None else total * self.scale.value).backward()

    def apply(self) -> dict[str, torch.Tensor]:
        """Make the update, unless a gradient is not finite; returns the norm of each network's gradient."""
        if self.averaged_over > 1:
            average_gradients([p for parameters in self.parameters.values() for p in parameters], self.averaged_over)
        used = {label: [p for p in ps if p.grad is not None] for label, ps in self.parameters.items()}
        gradients = {label: [p.grad for p in ps if p.grad is not None] for label, ps in used.items() if ps}
        if self.scale is not None:
            for each in gradients.values():
                torch._foreach_mul_(each, 1 / self.scale.value)
        norms = {label: nn.utils.get_total_norm(each) for label, each in gradients.items()}
        sound = torch.stack(list(norms.values())).isfinite().all()
        if self.grad_clip is not None:
            for label, norm in norms.items():
                nn.utils.clip_grads_with_norm_(used[label], self.grad_clip, norm)
        self._step_if(sound)
        for optimizer in self.optimizers:
            optimizer.zero_grad()  # now, so that the next forward pass finds their memory free
        if self.scale is not None:
            self.scale.update(sound)
        self._sound = self._sound & sound
        return norms

    def outcome(self) -> torch.Tensor:
        """How the iteration went, as a tensor on the device, so that nobody waits for it.

        Returns:
            Whether an update was left out, and whether a loss of this process was not finite (0 or 1 each); the loss
            scale after it (1 without one).
        """
        scale = torch.ones_like(self._sound, dtype=torch.float32) if self.scale is None else self.scale.value
        return torch.stack([(~self._sound).float(), (~self._losses_sound).float(), scale])

    def _step_if(self, sound: torch.Tensor) -> None:
        for optimizer in self.optimizers:
            # A fused optimiser does nothing where `found_inf` is 1. Before its first update it has no state to leave.
            fused = optimizer.state and all(group.get("fused") for group in optimizer.param_groups)
            if fused and not self.waits:
                optimizer.found_inf = (~sound).float()  # type: ignore[attr-defined]
            elif not sound.item():
                continue
            optimizer.step()


def average_gradients(parameters: Sequence[nn.Parameter], world_size: int) -> None:
    """Average the gradients of those parameters that have one over all processes, which must all call."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    dist.all_reduce(flat)
    flat /= world_size
    averaged = flat.split([gradient.numel() for gradient in gradients])
    torch._foreach_copy_(gradients, [a.view(g.shape) for a, g in zip(averaged, gradients, strict=True)])


def split(batch: dict[str, Any], parts: int) -> list[dict[str, Any]]:
    """Split a batch into micro-batches of equal size; all its values are tensors or lists, one entry a sample.

    Raises:
        ValueError: If the samples cannot be split evenly.
    """
    if parts == 1:
        return [batch]
    count = len(next(iter(batch.values())))
    if count % parts:
        raise ValueError(f"a batch of {count} cannot be split into {parts} equal micro-batches; see train:accumulate")
    size = count // parts
    return [{key: value[i : i + size] for key, value in batch.items()} for i in range(0, count, size)]
