"""Cropping, flipping and padding: the images of a sample stay aligned, and every outcome occurs."""

from __future__ import annotations

import numpy as np
import pytest

from dcpt_data.images.transforms import pad_to, random_flip, random_gray, random_window


def positions(height, width):
    """An image each pixel of which tells where it was: row, column, 0."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.zeros_like(rows)], axis=2).astype(np.uint8)


def sample(height=12, width=17):
    """Ground truth and a degraded image of another depth with the same positions in it."""
    gt = positions(height, width)
    return [gt, gt.astype(np.uint16) * 257]


def cut(image, window):
    return image[window.top : window.top + window.height, window.left : window.left + window.width]


def assert_alike(images):
    first, second = images
    assert first.dtype == np.uint8 and second.dtype == np.uint16
    np.testing.assert_array_equal(first.astype(np.uint16) * 257, second)


@pytest.mark.parametrize("seed", range(10))
def test_all_images_of_a_sample_are_treated_alike(seed):
    rng = np.random.default_rng(seed)
    window = random_window(12, 17, 14, rng)
    images = random_flip(pad_to([cut(image, window) for image in sample()], 14), rng, flip=True, rotate=True)
    assert images[0].shape == (14, 14, 3)
    assert_alike(images)


def test_every_window_occurs_equally_often():
    rng = np.random.default_rng(0)
    windows = [random_window(6, 7, 4, rng) for _ in range(2400)]
    expected = {(top, left, 4, 4) for top in range(3) for left in range(4)}
    assert set(windows) == expected
    # 200 of each on average, with a standard deviation of 14.
    assert all(130 < windows.count(window) < 270 for window in expected)


@pytest.mark.parametrize("shape", [(6, 6), (6, 9), (9, 6)])
def test_a_window_may_be_as_large_as_the_image(shape):
    window = random_window(*shape, 6, np.random.default_rng(0))
    assert cut(positions(*shape), window).shape == (6, 6, 3)


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (5, 4)])
def test_of_an_image_that_is_smaller_the_window_has_what_there_is(shape):
    window = random_window(*shape, 6, np.random.default_rng(0))
    cropped = cut(positions(*shape), window)
    assert cropped.shape[:2] == (min(6, shape[0]), min(6, shape[1]))
    # The same pixels as of the padded image's window, which is what a padded crop is of.
    (padded,) = pad_to([positions(*shape)], 6)
    rows, columns = slice(window.top, window.top + 6), slice(window.left, window.left + 6)
    np.testing.assert_array_equal(pad_to([cropped], 6)[0], padded[rows, columns])


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


def test_a_share_becomes_gray():
    """Both images of a sample or none, in their own types; without a share nothing is drawn."""
    rng = np.random.default_rng(1)
    images = [sample()[0] * 7 + np.arange(3, dtype=np.uint8), sample()[1] / np.float32(65535)]
    gray = [made for made in (random_gray(images, rng, 0.3) for _ in range(400)) if made is not images]
    assert 90 < len(gray) < 150
    for made, image in zip(gray[0], images, strict=True):
        assert made.dtype == image.dtype
        assert (made == made[..., :1]).all()
        luma = image.astype(np.float64) @ [0.299, 0.587, 0.114]
        np.testing.assert_allclose(made[..., 0], luma, atol=0.51 if made.dtype == np.uint8 else 1e-6)
    before = rng.bit_generator.state
    assert random_gray(images, rng, 0.0) is images
    assert rng.bit_generator.state == before
