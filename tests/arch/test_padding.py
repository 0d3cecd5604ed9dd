import pytest
import torch

from dcpt_arch.layers.padding import pad_to_multiple


def source_indices(side, multiple):
    """Which pixel each padded position shows: reflected while pixels last, then the last one shown, again and again."""
    padded = -(-side // multiple) * multiple
    reflected = [*range(side), *range(side - 2, -1, -1)]
    return [reflected[min(i, len(reflected) - 1)] for i in range(padded)]


@pytest.mark.parametrize("multiple", [1, 2, 8, 16])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 3), (3, 50), (8, 5), (16, 16), (33, 47)])
def test_every_pixel_comes_from_where_it_should(size, multiple):
    x = torch.rand(2, 3, *size)
    rows, columns = source_indices(size[0], multiple), source_indices(size[1], multiple)
    assert torch.equal(pad_to_multiple(x, multiple), x[..., rows, :][..., columns])


def test_an_image_that_fits_is_not_copied():
    x = torch.rand(1, 3, 16, 24)
    assert pad_to_multiple(x, 8) is x


def test_input_is_left_alone():
    x = torch.rand(1, 1, 5, 6)
    before = x.clone()
    pad_to_multiple(x, 4).zero_()
    assert torch.equal(x, before)


def test_gradients_reach_the_image_once_for_each_copy():
    x = torch.rand(1, 1, 3, 3, requires_grad=True)
    pad_to_multiple(x, 4).sum().backward()
    # The fourth row and column show the second again.
    assert x.grad[0, 0].tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]
