import pytest
import torch

from dcpt_arch.layers.local_average import GlobalAveragePool
from dcpt_arch.layers.norm_and_stage import LayerNorm2d

both_kinds = pytest.mark.parametrize("bias_free", [False, True], ids=["with_bias", "bias_free"])


def randomised(channels, bias_free, **arguments):
    torch.manual_seed(0)
    norm = LayerNorm2d(channels, bias_free=bias_free, **arguments)
    for parameter in norm.parameters():
        torch.nn.init.normal_(parameter)
    return norm


@both_kinds
@pytest.mark.parametrize("eps", [1e-6, 1e-2])
def test_against_the_formula(bias_free, eps):
    norm = randomised(5, bias_free, eps=eps).double()
    x = 3 + 2 * torch.randn(2, 5, 4, 3, dtype=torch.float64)
    mean = x.mean(1, keepdim=True)
    deviation = (((x - mean) ** 2).sum(1, keepdim=True) / 5 + eps).sqrt()
    weight = norm.weight[:, None, None]
    expected = x / deviation * weight if bias_free else (x - mean) / deviation * weight + norm.bias[:, None, None]
    torch.testing.assert_close(norm(x), expected)


@both_kinds
def test_gradients(bias_free):
    norm = randomised(3, bias_free).double()
    x = torch.randn(2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    parameters = tuple(norm.parameters())

    def apply(x, *_):
        return norm(x)

    assert torch.autograd.gradcheck(apply, (x, *parameters))


def test_bias_free_has_no_bias():
    assert [name for name, _ in LayerNorm2d(4, bias_free=True).named_parameters()] == ["weight"]
    assert [name for name, _ in LayerNorm2d(4).named_parameters()] == ["weight", "bias"]


@both_kinds
def test_memory_layout_does_not_matter(bias_free):
    norm = randomised(6, bias_free)
    x = torch.randn(2, 6, 5, 7)
    torch.testing.assert_close(norm(x.to(memory_format=torch.channels_last)), norm(x), rtol=1e-6, atol=1e-6)


@both_kinds
def test_flat_channels_stay_finite(bias_free):
    norm = LayerNorm2d(4, bias_free=bias_free)
    x = torch.full((1, 4, 2, 2), 0.5, requires_grad=True)
    y = norm(x)
    y.sum().backward()
    assert y.isfinite().all() and x.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_the_average_over_all_pixels(dtype: torch.dtype) -> None:
    # Their sum is beyond the range of float16.
    x = (100 + torch.rand(2, 3, 40, 48)).to(dtype).contiguous(memory_format=torch.channels_last).requires_grad_()
    average = GlobalAveragePool()(x)
    assert average.shape == (2, 3, 1, 1) and average.dtype == dtype
    torch.testing.assert_close(
        average, torch.nn.AdaptiveAvgPool2d(1)(x), rtol=1e-2 if dtype.itemsize == 2 else 1e-6, atol=0
    )
    average.sum().backward()
    torch.testing.assert_close(x.grad, torch.full_like(x, 1 / (40 * 48)))
