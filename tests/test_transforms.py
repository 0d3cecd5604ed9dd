"""Cropping, flipping and padding: the images of a sample stay aligned, and every outcome occurs."""

from __future__ import annotations

import numpy as np
import pytest

from dcpt_data.errors import DataError
from dcpt_data.transforms import pad_to, random_crop, random_flip


def positions(height, width):
    """An image each pixel of which tells where it was: row, column, 0."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.zeros_like(rows)], axis=2).astype(np.uint8)


def sample(height=12, width=17):
    """Ground truth and a degraded image of another depth with the same positions in it."""
    gt = positions(height, width)
    return [gt, gt.astype(np.uint16) * 257]


def assert_alike(images):
    first, second = images
    assert first.dtype == np.uint8 and second.dtype == np.uint16
    np.testing.assert_array_equal(first.astype(np.uint16) * 257, second)


@pytest.mark.parametrize("seed", range(10))
def test_all_images_of_a_sample_are_treated_alike(seed):
    rng = np.random.default_rng(seed)
    images = random_flip(random_crop(pad_to(sample(), 14), 14, rng), rng, flip=True, rotate=True)
    assert images[0].shape == (14, 14, 3)
    assert_alike(images)


def test_a_crop_is_one_window_of_the_image_without_a_copy():
    images = sample()
    cropped = random_crop(images, 5, np.random.default_rng(3))
    top, left = cropped[0][0, 0, :2]
    for whole, part in zip(images, cropped, strict=True):
        np.testing.assert_array_equal(part, whole[top : top + 5, left : left + 5])
        assert np.shares_memory(part, whole)


def test_every_window_occurs_equally_often():
    rng = np.random.default_rng(0)
    image = positions(6, 7)
    corners = [tuple(random_crop([image], 4, rng)[0][0, 0, :2].tolist()) for _ in range(2400)]
    expected = {(top, left) for top in range(3) for left in range(4)}
    assert set(corners) == expected
    # 200 of each on average, with a standard deviation of 14.
    assert all(130 < corners.count(corner) < 270 for corner in expected)


@pytest.mark.parametrize("shape", [(6, 6), (6, 9), (9, 6)])
def test_a_crop_may_be_as_large_as_the_image(shape):
    cropped = random_crop([positions(*shape)], 6, np.random.default_rng(0))[0]
    assert cropped.shape == (6, 6, 3)


@pytest.mark.parametrize("shape", [(5, 9), (9, 5)])
def test_a_crop_larger_than_the_image_is_refused(shape):
    with pytest.raises(DataError, match=f"{shape[0]} x {shape[1]} pixels is smaller than the crop of 6"):
        random_crop([positions(*shape)], 6, np.random.default_rng(0))


def orientations(flip, rotate, draws):
    rng = np.random.default_rng(0)
    image = positions(4, 4)
    return [random_flip([image], rng, flip, rotate)[0].tobytes() for _ in range(draws)]


@pytest.mark.parametrize(("flip", "rotate", "count"), [(True, True, 8), (True, False, 2), (False, True, 4)])
def test_every_orientation_occurs_equally_often(flip, rotate, count):
    found = orientations(flip, rotate, 200 * count)
    image = positions(4, 4)
    mirrored = [image, image[:, ::-1]] if flip else [image]
    expected = {np.rot90(m, turns).tobytes() for m in mirrored for turns in (range(4) if rotate else [0])}
    assert set(found) == expected and len(expected) == count
    assert all(140 < found.count(orientation) < 260 for orientation in expected)


def test_without_augmentation_nothing_is_turned():
    assert set(orientations(flip=False, rotate=False, draws=20)) == {positions(4, 4).tobytes()}


def test_an_image_that_is_large_enough_is_not_padded():
    images = sample()
    assert pad_to(images, 12) is images


@pytest.mark.parametrize("shape", [(5, 20), (20, 5), (5, 7), (12, 11)])
def test_padding_reflects_at_the_lower_and_right_edge(shape):
    height, width = shape
    images = pad_to(sample(*shape), 12)
    assert_alike(images)
    padded = images[0]
    assert padded.shape == (max(12, height), max(12, width), 3)
    np.testing.assert_array_equal(padded[:height, :width], positions(*shape))

    def mirrored(index, length):  # 0 1 2 3 4 3 2 1 0 1 2 ...: the edge itself is not repeated
        period = 2 * (length - 1)
        return min(index % period, period - index % period)

    np.testing.assert_array_equal(padded[:, 0, 0], [mirrored(i, height) for i in range(len(padded))])
    np.testing.assert_array_equal(padded[0, :, 1], [mirrored(i, width) for i in range(padded.shape[1])])


@pytest.mark.parametrize("shape", [(1, 20), (20, 1), (1, 1)])
def test_sides_of_one_pixel_are_repeated(shape):
    images = pad_to(sample(*shape), 9)
    assert_alike(images)
    rows, columns = images[0][..., 0], images[0][..., 1]
    assert min(images[0].shape[:2]) == 9
    if shape[0] == 1:
        assert (rows == 0).all()
    if shape[1] == 1:
        assert (columns == 0).all()
