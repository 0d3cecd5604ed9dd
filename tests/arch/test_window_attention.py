"""SwinIR's windows: which pixels they hold, which of these are neighbours, and attention within them."""

from __future__ import annotations

import pytest
import torch

from dcpt_arch.layers.window_attention import APART, attention, reorder, shifted_window_mask, windows_of

SHAPES = [(1, 8, 8), (2, 8, 12), (1, 4, 16), (3, 4, 4)]
WINDOW = 4
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def positions(shape: tuple[int, int, int]) -> torch.Tensor:
    """Image, row and column of each pixel, T x 3."""
    axes = [torch.arange(side) for side in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)


@every_shape
def test_windows_are_squares_of_one_image(shape: tuple[int, int, int]) -> None:
    windows = windows_of(shape, WINDOW, masked=True)
    pixels = reorder(positions(shape), windows.enter)
    for window in pixels.view(-1, WINDOW**2, 3):
        corner = window[0]
        assert (corner[1:] % WINDOW == 0).all()
        assert torch.equal(window, positions((1, WINDOW, WINDOW)) + corner)


@every_shape
def test_shifted_windows_are_those_of_the_shifted_image(shape: tuple[int, int, int]) -> None:
    n, height, width = shape
    windows = windows_of(shape, WINDOW, masked=True)
    pixels = reorder(reorder(positions(shape), windows.enter), windows.shift).view(-1, WINDOW**2, 3)
    corners = {tuple(window[0].tolist()) for window in pixels}
    half = WINDOW // 2
    assert corners == {(i, y, x) for i in range(n) for y in range(half, height, 4) for x in range(half, width, 4)}
    for window in pixels:
        wrapped = (positions((1, WINDOW, WINDOW)) + window[0]) % torch.tensor([n + 1, height, width])
        assert torch.equal(window, wrapped)


@every_shape
def test_only_windows_at_the_border_have_a_mask_and_it_parts_what_was_wrapped(shape: tuple[int, int, int]) -> None:
    n, height, width = shape
    windows = windows_of(shape, WINDOW, masked=True)
    assert windows.mask is not None
    rows, columns = height // WINDOW, width // WINDOW
    assert len(windows.mask) == n * (rows + columns - 1)
    pixels = reorder(reorder(positions(shape), windows.enter), windows.shift).view(-1, WINDOW**2, 3)
    wrapped = pixels < pixels[:, :1]  # above or left of the window's first pixel
    near = (wrapped[:, :, None] == wrapped[:, None, :]).all(-1)
    first = len(pixels) - len(windows.mask)
    assert near[:first].all()
    assert torch.equal(windows.mask, (~near[first:]) * APART)
    assert windows_of(shape, WINDOW, masked=False).mask is None


def test_the_mask_of_all_windows_is_that_of_the_border_and_nothing_inside() -> None:
    full = shifted_window_mask(8, 12, WINDOW).view(2, 3, 16, 16)
    border = windows_of((1, 8, 12), WINDOW, masked=True).mask
    assert border is not None and not full[:-1, :-1].any()
    assert torch.equal(torch.cat((full[-1], full[:-1, -1])), border)


@every_shape
def test_orders_are_undone_by_their_inverse_with_gradients(shape: tuple[int, int, int]) -> None:
    windows = windows_of(shape, WINDOW, masked=False)
    x = torch.rand(len(positions(shape)), 2, dtype=torch.float64, requires_grad=True)
    for order in (windows.enter, windows.shift):
        assert torch.equal(reorder(reorder(x, order), order.inverse()), x)
        assert torch.autograd.gradcheck(lambda x, order=order: reorder(x, order), (x,))


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("last", [0, 2, 5])
@pytest.mark.parametrize("training", [True, False])
def test_attention_is_the_formula(biased: bool, last: int, training: bool) -> None:
    torch.manual_seed(0)
    qkv = torch.randn(5, 9, 3, 2, 4)
    bias = torch.randn(2, 9, 9) if biased else None
    mask = torch.where(torch.rand(last, 9, 9) < 0.3, APART, 0.0) if last else None
    given = [tensor.requires_grad_(training) for tensor in (qkv, bias) if tensor is not None]

    def by_formula(qkv: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        q, k, v = qkv.double().permute(2, 0, 3, 1, 4)
        logits = q @ k.mT / 2
        if bias is not None:
            logits = logits + bias.double()
        if mask is not None:
            logits = torch.cat((logits[: 5 - last], logits[5 - last :] + mask[:, None].double()))
        return (logits.softmax(-1) @ v).transpose(1, 2)

    found, expected = attention(qkv, bias, mask), by_formula(*given)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    if training:
        weights = torch.randn_like(expected)
        ours = torch.autograd.grad((found * weights.float()).sum(), given)
        theirs = torch.autograd.grad((expected * weights).sum(), given)
        for a, b in zip(ours, theirs, strict=True):
            assert (a - b).norm() < 1e-5 * b.norm()
