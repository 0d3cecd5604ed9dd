import sys
import types

import pytest
import torch
import torch.nn.functional as F

from dcpt_arch.layers import selective_scan as module
from dcpt_arch.layers.selective_scan import fused_scan, plain_scan, selective_scan


def inputs_of(length, dtype=torch.float32, batch=2, channels=3, states=4):
    generator = torch.Generator().manual_seed(length)

    def normal(*size):
        return torch.randn(*size, generator=generator, dtype=dtype)

    tensors = (
        normal(batch, length, channels),
        F.softplus(normal(batch, length, channels)),
        -normal(channels, states).exp(),
        normal(batch, length, states),
        normal(batch, length, states),
        normal(channels),
    )
    return tuple(tensor.requires_grad_() for tensor in tensors)


def step_by_step(x, delta, a, b, c, d):
    """The definition, one number at a time."""
    y = torch.zeros_like(x)
    for n in range(x.shape[0]):
        for e in range(x.shape[2]):
            state = torch.zeros(a.shape[1], dtype=x.dtype)
            for t in range(x.shape[1]):
                state = torch.exp(delta[n, t, e] * a[e]) * state + delta[n, t, e] * b[n, t] * x[n, t, e]
                y[n, t, e] = c[n, t] @ state + d[e] * x[n, t, e]
    return y


@pytest.fixture
def no_memory():
    """`fused_scan` remembers what it found; forget it before and after."""
    fused_scan.cache_clear()
    yield
    fused_scan.cache_clear()


@pytest.mark.parametrize("length", [1, 2, module.CHUNK, module.CHUNK + 1, 3 * module.CHUNK - 1])
def test_equals_the_recurrence(length):
    inputs = inputs_of(length, torch.float64)
    y, expected = plain_scan(*inputs), step_by_step(*inputs)
    assert torch.allclose(y, expected, rtol=1e-12, atol=1e-12)
    weights = torch.linspace(0.5, 1.5, y.numel(), dtype=y.dtype).view_as(y)
    gradients = torch.autograd.grad((y * weights).sum(), inputs)
    for ours, theirs in zip(gradients, torch.autograd.grad((expected * weights).sum(), inputs), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-10, atol=1e-10)


def test_no_token_sees_those_behind_it():
    x, *others = inputs_of(40)
    later = x.detach().clone()
    later[:, 25:] += 1
    y, changed = selective_scan(x, *others), selective_scan(later, *others)
    assert torch.equal(y[:, :25], changed[:, :25])
    assert not torch.isclose(y[:, 25:], changed[:, 25:]).any(dim=1).all()


@pytest.mark.parametrize("step", [1e-6, 1.0, 1e6])
def test_stable_in_float32(step):
    # Over 1000 tokens the factors multiply to zero, or stay at one: neither may become infinite or not a number.
    x, delta, a, b, c, d = inputs_of(1000)
    delta = torch.full_like(delta, step).requires_grad_()
    y = selective_scan(x, delta, a, b, c, d)
    exact = plain_scan(*(tensor.detach().double() for tensor in (x, delta, a, b, c, d)))
    assert torch.allclose(y.detach().double(), exact, rtol=1e-4, atol=1e-4 * float(exact.abs().max()))
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(y.sum(), (x, delta, a, b, c, d)))


def test_float32_under_autocast():
    inputs = inputs_of(20)
    with torch.autocast("cpu", torch.bfloat16):
        y = selective_scan(*inputs)
    assert y.dtype == torch.float32 and torch.equal(y, selective_scan(*inputs))


def test_only_one_state_a_chunk_is_kept():
    # What autograd holds for the backward pass is far below the states of all tokens.
    held = []
    inputs = inputs_of(10 * module.CHUNK, channels=32, states=16)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: held.append(t.numel()) or t, lambda t: t):
        selective_scan(*inputs)
    assert sum(held) < inputs[0].numel() * 16 / 2


def test_fused_kernel_is_called_in_its_own_layout(monkeypatch):
    def sequence_last(u, delta, A, B, C, D):  # noqa: N803 - the names of mamba_ssm
        assert u.shape == delta.shape == (2, 3, 20) and B.shape == C.shape == (2, 4, 20)
        u, delta, B, C = (tensor.transpose(1, 2) for tensor in (u, delta, B, C))  # noqa: N806
        return plain_scan(u, delta, A, B, C, D).transpose(1, 2)

    inputs = inputs_of(20)
    expected = selective_scan(*inputs)
    monkeypatch.setattr(module, "fused_scan", lambda device: sequence_last)
    assert torch.equal(selective_scan(*inputs), expected)


def test_fused_kernel_where_it_is_installed(monkeypatch, no_memory):
    interface = types.ModuleType("mamba_ssm.ops.selective_scan_interface")
    interface.selective_scan_fn = selective_scan
    for name in ("mamba_ssm", "mamba_ssm.ops"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, interface.__name__, interface)
    assert fused_scan("cuda") is selective_scan
    assert fused_scan("cpu") is None


def test_no_fused_kernel_where_it_is_not_installed(monkeypatch, no_memory):
    monkeypatch.setitem(sys.modules, "mamba_ssm", None)
    assert fused_scan("cuda") is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_same_on_a_gpu():
    # With mamba_ssm installed this compares the fused kernel with the plain scan.
    inputs = inputs_of(100)
    y = selective_scan(*(tensor.cuda() for tensor in inputs))
    assert torch.allclose(y.cpu(), selective_scan(*inputs), rtol=1e-3, atol=1e-3)
