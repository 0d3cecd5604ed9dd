"""The selective scan of Mamba (Gu & Dao, 2023): a linear recurrence whose decay and input depend on the token."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch.utils.checkpoint import checkpoint

# Tokens whose states are held at once. Larger chunks leave the cache of a processor, smaller ones add overhead.
CHUNK = 16


def selective_scan(
    x: torch.Tensor, delta: torch.Tensor, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, d: torch.Tensor
) -> torch.Tensor:
    """Run a selective state space (Algorithm 2) over a sequence, with state 0 before the first token.

    h_t = exp(delta_t a) h_(t-1) + delta_t b_t x_t and y_t = c_t h_t + d x_t, for each channel by itself: Eq. 2 with the
    discretisation of Eq. 4, its factor of b to first order as in Mamba's own kernel. Computed in float32 whatever the
    inputs and autocast are: rounding errors would add up along the sequence.

    On a GPU the fused kernel of the package `mamba_ssm` is used where it is installed, and `plain_scan` otherwise.

    Args:
        x: N x L x E.
        delta: Step sizes, N x L x E, above 0.
        a: E x S, below 0, so that every factor exp(delta a) lies in (0, 1).
        b: N x L x S.
        c: N x L x S.
        d: E.

    Returns:
        y, N x L x E, float32.
    """
    with torch.autocast(x.device.type, enabled=False):
        x, delta, a, b, c, d = (tensor.float() for tensor in (x, delta, a, b, c, d))
        if (fused := fused_scan(x.device.type)) is not None:
            # Its layout has the sequence last: N x E x L and N x S x L.
            x, delta, b, c = (tensor.transpose(1, 2).contiguous() for tensor in (x, delta, b, c))
            return fused(x, delta, a, b, c, d).transpose(1, 2)
        return plain_scan(x, delta, a, b, c, d)


@cache
def fused_scan(device: str) -> Callable[..., torch.Tensor] | None:
    """Give `selective_scan_fn` of the optional package `mamba_ssm`; None where it is not installed or not for `device`.

    Args:
        device: A device type; the kernel runs on "cuda" alone.
    """
    if device != "cuda":
        return None
    try:
        from mamba_ssm.ops.selective_scan_interface import selective_scan_fn
    except ImportError:
        return None
    return selective_scan_fn


def plain_scan(
    x: torch.Tensor, delta: torch.Tensor, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, d: torch.Tensor
) -> torch.Tensor:
    """`selective_scan` in plain PyTorch, for any floating dtype.

    Only products of factors below 1 are taken, never a quotient of two, so nothing overflows. The states, N x L x E x
    S, are never held as a whole: one state a chunk is kept, the others are computed again in the backward pass
    (Section 3.3.2).
    """
    state = x.new_zeros(x.shape[0], *a.shape)
    outputs = []
    for x_, delta_, b_, c_ in zip(*(tensor.split(CHUNK, dim=1) for tensor in (x, delta, b, c)), strict=True):
        y, state = checkpoint(_scan_chunk, state, x_, delta_, a, b_, c_, use_reentrant=False, preserve_rng_state=False)
        outputs.append(y)
    return torch.cat(outputs, dim=1) + d * x


def _scan_chunk(
    state: torch.Tensor, x: torch.Tensor, delta: torch.Tensor, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Go on from `state` (N x E x S) over some tokens; returns c_t h_t for each of them and the last state."""
    decays = torch.exp(delta.unsqueeze(-1) * a)
    entries = (delta * x).unsqueeze(-1) * b.unsqueeze(2)
    states = []
    for decay, entry in zip(decays.unbind(1), entries.unbind(1), strict=True):
        state = torch.addcmul(entry, decay, state)
        states.append(state)
    return torch.einsum("nles,nls->nle", torch.stack(states, dim=1), c), state
