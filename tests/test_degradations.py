import random
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch

import dcpt_data.degradations as degradations
from dcpt_data.degradations import (
    DEGRADATIONS,
    check_parameters,
    degradation_names,
    degrade,
    draw,
    evaluation_noise,
    register_degradation,
    registry,
)

NAMES = degradation_names()
PHOTOS = ["astronaut", "chelsea", "coffee", "rocket"]

every_degradation = pytest.mark.parametrize("name", NAMES)
every_photo = pytest.mark.parametrize("photo", PHOTOS)


def load(photo):
    return getattr(skimage.data, photo)().astype(np.float32) / 255


def generator(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture
def crop():
    return np.ascontiguousarray(load("astronaut")[60:155, 180:291])


def psnr(image, reference):
    return -10 * np.log10(np.mean((image.clip(0, 1) - reference) ** 2, dtype=np.float64))


def gradient_energy(image):
    return sum(np.mean(np.diff(image, axis=axis) ** 2) for axis in (0, 1))


# What holds for every degradation.


def test_the_five_degradations_of_the_paper_are_there():
    assert {"haze", "rain", "noise", "motion_blur", "low_light"} <= set(NAMES)


def test_every_file_registers_the_degradation_it_is_named_after():
    files = {path.stem for path in Path(degradations.__file__).parent.glob("*.py")} - {"__init__", "registry"}
    assert files == set(DEGRADATIONS)
    for name, function in DEGRADATIONS.items():
        assert function is vars(import_module(f"dcpt_data.degradations.{name}"))[name]


@every_degradation
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (5, 3), (33, 64), (95, 111)])
def test_result_is_a_new_contiguous_finite_image_of_the_same_kind(name, size):
    image = generator(7).random((*size, 3), dtype=np.float32)
    before = image.copy()
    for seed in range(5):
        result = degrade(name, image, generator(seed))
        assert result.shape == image.shape
        assert result.dtype == np.float32
        assert result.flags.c_contiguous
        assert np.isfinite(result).all()
        assert not np.shares_memory(result, image)
    np.testing.assert_array_equal(image, before)


@every_degradation
def test_result_lies_in_the_unit_range_but_for_noise(name, crop):
    black_and_white = (crop > 0.5).astype(np.float32)
    result = degrade(name, black_and_white, generator())
    assert (result.min() >= 0 and result.max() <= 1) == (name != "noise")


@every_degradation
def test_result_follows_from_the_seed(name, crop):
    first, again, other = (degrade(name, crop, generator(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@every_degradation
def test_generator_moves_on(name, crop):
    rng = generator()
    assert not np.array_equal(degrade(name, crop, rng), degrade(name, crop, rng))


@every_degradation
def test_global_random_state_is_neither_read_nor_changed(name, crop):
    results = []
    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 - the global state is what this is about
        torch.manual_seed(seed)
        before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
        results.append(degrade(name, crop, generator()))
        after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
        assert before == after
    np.testing.assert_array_equal(*results)


@every_degradation
def test_memory_layout_does_not_matter(name, crop):
    for view in (crop[:, ::-1], crop.transpose(1, 0, 2), crop[::2, 1::3], crop[..., ::-1]):
        result = degrade(name, view, generator())
        assert result.flags.c_contiguous
        np.testing.assert_array_equal(result, degrade(name, view.copy(), generator()))


def test_registered_functions_are_given_contiguous_images(monkeypatch, crop):
    monkeypatch.setattr(registry, "_registered", {})

    @register_degradation
    def probe(image, rng):
        assert image.flags.c_contiguous
        return image + np.float32(0.1)

    np.testing.assert_array_equal(degrade("probe", crop.transpose(1, 0, 2), generator()).transpose(1, 0, 2), crop + 0.1)


@every_degradation
def test_read_only_images_work(name, crop):
    crop.flags.writeable = False
    assert not np.array_equal(degrade(name, crop, generator()), crop)


@every_degradation
def test_legacy_generator_works(name, crop):
    first, again = (degrade(name, crop, np.random.RandomState(5)) for _ in range(2))
    np.testing.assert_array_equal(first, again)


@every_degradation
@every_photo
def test_photographs_are_visibly_but_not_wholly_degraded(name, photo):
    image = load(photo)
    for seed in range(3):
        assert 8 < psnr(degrade(name, image, generator(seed)), image) < 35


# What each one does.


@pytest.mark.parametrize("sigma", [0, 15, 50])
def test_noise_has_the_moments_it_should(sigma):
    image = load("coffee")
    difference = (degrade("noise", image, generator(), sigma=sigma) - image) * 255
    assert difference.mean() == pytest.approx(0, abs=4 * sigma / np.sqrt(image.size) + 1e-5)
    assert difference.std() == pytest.approx(sigma, rel=0.01, abs=1e-5)


def test_noise_is_independent_between_pixels_and_channels():
    difference = degrade("noise", np.zeros((200, 200, 3), np.float32), generator()) * 255 / 25
    for neighbours in (
        difference[1:] * difference[:-1],
        difference[:, 1:] * difference[:, :-1],
        difference[..., 1:] * difference[..., :-1],
    ):
        assert neighbours.mean() == pytest.approx(0, abs=0.02)


def test_noise_is_clipped_on_demand(crop):
    free = degrade("noise", crop, generator(), sigma=50)
    clipped = degrade("noise", crop, generator(), sigma=50, clip=True)
    assert free.min() < 0
    assert free.max() > 1
    np.testing.assert_array_equal(clipped, free.clip(0, 1))


@pytest.mark.parametrize("sigma", [15, 25, 50])
def test_evaluation_noise_is_the_released_protocol_to_the_bit(sigma, crop):
    random_state = np.random.get_state()[1].copy()  # noqa: NPY002
    for image in (crop, crop[:, ::-1]):
        expected = image + np.random.RandomState(0).normal(0, sigma / 255, image.shape)
        np.testing.assert_array_equal(evaluation_noise(image, sigma), expected.astype(np.float32))
    np.testing.assert_array_equal(np.random.get_state()[1], random_state)  # noqa: NPY002


def test_legacy_stream_is_the_one_that_the_protocol_was_recorded_with():
    values = evaluation_noise(np.zeros((1, 1, 3), np.float32), 25) * 255 / 25
    np.testing.assert_allclose(values.ravel(), [1.764052, 0.400157, 0.978738], rtol=1e-5)


@every_photo
def test_haze_lightens_and_flattens(photo):
    image = load(photo)
    for seed in range(3):
        hazy = degrade("haze", image, generator(seed), airlight=0.9)
        assert hazy.mean() > image.mean() + 0.02
        assert gradient_energy(hazy) < 0.85 * gradient_energy(image)


def test_haze_thickens_towards_the_horizon():
    black = np.zeros((96, 96, 3), np.float32)
    for seed in range(10):
        hazy = degrade("haze", black, generator(seed))
        assert hazy[:16].mean() > 1.3 * hazy[-16:].mean()
        assert hazy[:16, :, 0].std(axis=1).max() > 1e-3  # the relief


def test_haze_is_the_scattering_model():
    """Black and white under the same haze give A (1 - t) and t + A (1 - t), so that t and A can be solved for."""
    black, white = (degrade("haze", np.full((40, 50, 3), v, np.float32), generator(), airlight=0.8) for v in (0, 1))
    transmission = white - black
    np.testing.assert_allclose(black, 0.8 * (1 - transmission), atol=1e-5)
    assert 0.1 < transmission.min() < transmission.max() <= 1


@every_photo
def test_rain_lightens_a_part_of_the_pixels_only(photo):
    image = load(photo)
    for seed in range(3):
        change = degrade("rain", image, generator(seed)) - image
        touched = (np.abs(change) > 0.03).any(axis=2)
        assert change.min() >= -1e-6
        assert 0.005 < touched.mean() < 0.25


@pytest.mark.parametrize("density", [0.02, 0.1])
def test_rain_covers_the_share_it_should(density):
    black = np.zeros((300, 400, 3), np.float32)
    rainy = [degrade("rain", black, generator(seed), density=density, strength=1.0) for seed in range(8)]
    assert np.mean([image > 0.1 for image in rainy]) == pytest.approx(density, rel=0.15)


@pytest.mark.parametrize("angle", [-40, 0, 40])
def test_rain_falls_in_the_direction_it_should(angle):
    rainy = degrade("rain", np.zeros((300, 300, 3), np.float32), generator(), angle=angle)[..., 0]
    down, right = np.gradient(rainy)
    # The structure tensor's main direction is across the streaks.
    across = 0.5 * np.arctan2(2 * (right * down).mean(), (right**2).mean() - (down**2).mean())
    assert np.rad2deg(across) == pytest.approx(angle, abs=3)


def test_rain_is_as_dense_at_the_borders_as_inside():
    black = np.zeros((96, 96, 3), np.float32)
    mean = np.mean([degrade("rain", black, generator(seed), length=60, angle=20) for seed in range(300)], axis=0)
    inside = mean[24:-24, 24:-24].mean()
    for border in (mean[:8], mean[-8:], mean[:, :8], mean[:, -8:]):
        assert border.mean() == pytest.approx(inside, rel=0.15)


@every_photo
def test_motion_blur_keeps_the_mean_and_smooths(photo):
    image = load(photo)
    for seed in range(3):
        blurred = degrade("motion_blur", image, generator(seed))
        assert blurred.mean() == pytest.approx(image.mean(), abs=2e-3)
        assert gradient_energy(blurred) < 0.6 * gradient_energy(image)


@pytest.mark.parametrize("size", [0, 3, 15, 60])
def test_motion_blur_spreads_a_point_without_shifting_it(size):
    point = np.zeros((81, 91, 3), np.float32)
    point[40, 45] = 1
    for seed in range(10):
        spread = degrade("motion_blur", point, generator(seed), size=size)[..., 0].astype(np.float64)
        spread[spread < 1e-5] = 0  # the rounding of a convolution by Fourier transform
        rows, columns = np.nonzero(spread)
        weights = spread[rows, columns]
        assert weights.sum() == pytest.approx(1, abs=2e-3)
        assert np.average(rows, weights=weights) == pytest.approx(40, abs=0.05)
        assert np.average(columns, weights=weights) == pytest.approx(45, abs=0.05)
        reach = np.hypot(rows - 40, columns - 45).max()
        assert size / 2 - 1 <= reach <= size / 2 + 1.5


def test_motion_blur_of_no_size_changes_nothing(crop):
    np.testing.assert_allclose(degrade("motion_blur", crop, generator(), size=0), crop, atol=1e-6)


@every_photo
def test_low_light_darkens(photo):
    image = load(photo)
    for seed in range(3):
        assert 0.05 * image.mean() < degrade("low_light", image, generator(seed)).mean() < 0.6 * image.mean()


def test_low_light_is_noisier_where_it_is_darker_relative_to_the_signal():
    """In linear light the noise's variance is shot * light + read^2."""
    grey = np.full((200, 200, 3), 0.8, np.float32)
    for exposure in (0.1, 0.5):
        dark = degrade("low_light", grey, generator(), exposure=exposure, gamma=1, shot=4e-4, read=1e-3)
        linear = dark.astype(np.float64) ** 2.2
        light = exposure * 0.8**2.2
        assert linear.mean() == pytest.approx(light, rel=0.01)
        assert linear.var() == pytest.approx(4e-4 * light + 1e-6, rel=0.03)


def test_low_light_without_noise_is_exposure_and_gamma(crop):
    dark = degrade("low_light", crop, generator(), exposure=0.25, gamma=1.2, shot=0, read=0)
    np.testing.assert_allclose(dark, (0.25 * crop ** (2.2 * 1.2)) ** (1 / 2.2), atol=1e-5)


# Parameters and messages.


def test_a_number_stands_for_itself_and_draws_nothing():
    rng = generator()
    assert draw(rng, 3, "x", 0, 10) == 3.0
    assert rng.random() == generator().random()


def test_two_numbers_are_a_range():
    values = [draw(rng, [2, 6], "x", 0, 10) for rng in [generator()] for _ in range(2000)]
    assert 2 <= min(values) < 2.1
    assert 5.9 < max(values) <= 6
    assert np.mean(values) == pytest.approx(4, abs=0.1)


def test_three_and_more_numbers_are_choices():
    values = [draw(rng, (15, 25, 50), "x", 0, 255) for rng in [generator()] for _ in range(900)]
    choices, counts = np.unique(values, return_counts=True)
    assert choices.tolist() == [15, 25, 50]
    assert counts.min() > 240


@pytest.mark.parametrize("value", ["25", None, True, [], [1, "2"], {"low": 1}, float("nan"), 300, -1, (1, 300), (9, 3)])
def test_values_that_are_no_number_range_or_choice_are_refused(value):
    with pytest.raises(ValueError, match="sigma"):
        degrade("noise", np.zeros((2, 2, 3), np.float32), generator(), sigma=value)


@every_degradation
def test_every_default_and_every_range_is_checked(name):
    check_parameters(name, {})
    defaults = DEGRADATIONS[name].__kwdefaults__
    check_parameters(name, defaults)
    for parameter, default in defaults.items():
        if not isinstance(default, bool):
            with pytest.raises(ValueError, match=rf"{parameter} must lie in \[.*\], got 1000000000"):
                check_parameters(name, {parameter: 1e9})


@pytest.mark.parametrize("check", [check_parameters, lambda name, p: degrade(name, None, generator(), **p)])
def test_unknown_names_are_answered_with_the_nearest(check):
    with pytest.raises(ValueError, match=r"unknown degradation 'rian'; did you mean 'rain'\? Known: .*haze.*rain"):
        check("rian", {})
    with pytest.raises(ValueError, match=r"'rain' has no parameter 'densty'; did you mean 'density'\? Known: .*angle"):
        check("rain", {"densty": 0.1})
    with pytest.raises(ValueError, match=r"'noise' has no parameter 'xyz'\. Known: sigma, clip"):
        check("noise", {"xyz": 0.1})


@pytest.mark.parametrize(
    ("image", "got"),
    [
        (np.zeros((4, 4, 3), np.uint8), r"got dtype uint8; convert with .*/ 255"),
        (np.zeros((4, 4, 3), np.float64), "got dtype float64"),
        (np.zeros((4, 4), np.float32), r"got shape \(4, 4\)"),
        (np.zeros((3, 4, 4), np.float32), r"got shape \(3, 4, 4\)"),
        (np.zeros((0, 4, 3), np.float32), r"got shape \(0, 4, 3\)"),
        (torch.zeros(4, 4, 3), "got Tensor"),
    ],
)
@every_degradation
def test_images_of_another_kind_are_refused(name, image, got):
    with pytest.raises(ValueError, match=f"expected a float32 array, H x W x 3.*{got}"):
        degrade(name, image, generator())


def test_registering_a_name_twice_is_refused():
    def rain(image, rng):
        return image

    with pytest.raises(ValueError, match=r"'rain' is registered already, by dcpt_data\.degradations\.rain"):
        register_degradation(rain)


@pytest.mark.parametrize(
    "function",
    [
        lambda picture, rng: picture,
        lambda image: image,
        lambda image, rng, strength=1.0: image,
        lambda image, rng, *, strength: image,
        lambda image, rng, *, strength=1.0: image,  # no annotation
        lambda image, rng, **parameters: image,
    ],
)
def test_signatures_that_could_hide_a_typing_error_are_refused(function):
    with pytest.raises(TypeError, match="must"):
        register_degradation(function)
    assert degradation_names() == NAMES
