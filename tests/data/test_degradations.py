import random
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

import dcpt_data.degradations as degradations
from dcpt_data.degradations import (
    DEGRADATIONS,
    check_parameters,
    degradation_names,
    degrade,
    draw,
    draw_whole,
    kernels,
    register_degradation,
    registry,
)

NAMES = degradation_names()
NOT_RANDOM = {"demosaic"}
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


def test_the_ten_degradations_of_the_paper_are_there():
    five = {"haze", "rain", "noise", "motion_blur", "low_light"}
    assert five | {"defocus_blur", "jpeg", "snow", "demosaic", "inpainting"} <= set(NAMES)


def test_every_file_registers_the_degradation_it_is_named_after():
    files = {path.stem for path in (Path(degradations.__file__).parent / "kinds").glob("*.py")} - {"__init__"}
    assert files == set(DEGRADATIONS)
    for name, function in DEGRADATIONS.items():
        assert function is vars(import_module(f"dcpt_data.degradations.kinds.{name}"))[name]


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
    results = [degrade(name, crop, generator(seed)) for seed in range(8)]
    for seed in (0, 7):
        np.testing.assert_array_equal(results[seed], degrade(name, crop, generator(seed)))
    # A few choices, such as the qualities of jpeg, come again.
    assert len({result.tobytes() for result in results}) >= (1 if name in NOT_RANDOM else 3)


@every_degradation
def test_generator_moves_on(name, crop):
    rng = generator()
    results = {degrade(name, crop, rng).tobytes() for _ in range(8)}
    assert len(results) >= (1 if name in NOT_RANDOM else 3)


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
        assert 8 < psnr(degrade(name, image, generator(seed)), image) < 38


# What each one does.


@pytest.mark.parametrize("sigma", [0, 15, 50])
def test_noise_has_the_moments_it_should(sigma):
    image = load("coffee")
    difference = (degrade("noise", image, generator(), sigma=sigma) - image) * 255
    assert difference.mean() == pytest.approx(0, abs=4 * sigma / np.sqrt(image.size) + 1e-5)
    assert difference.std() == pytest.approx(sigma, rel=0.01, abs=1e-5)


def test_noise_is_independent_between_pixels_and_channels():
    difference = degrade("noise", np.zeros((200, 200, 3), np.float32), generator(), sigma=25) * 255 / 25
    for neighbours in (
        difference[1:] * difference[:-1],
        difference[:, 1:] * difference[:, :-1],
        difference[..., 1:] * difference[..., :-1],
    ):
        assert neighbours.mean() == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize(("grain", "gray"), [(0.8, 0), (1.2, 0), (0, 0.3), (0, 1), (0.8, 0.6)])
def test_noise_of_film_and_cameras(grain, gray):
    """Smoothing and a common part leave the standard deviation; neighbours and channels correlate as they should."""
    noise = degrade("noise", np.zeros((400, 400, 3), np.float32), generator(), sigma=25, grain=grain, gray=gray) * 255
    assert noise.std() == pytest.approx(25, rel=0.02)
    noise = (noise / 25).astype(np.float64)
    # A Gaussian with itself has sqrt(2) times its width.
    neighbours = np.exp(-1 / (4 * grain**2)) if grain else 0
    assert (noise[1:] * noise[:-1]).mean() == pytest.approx(neighbours, abs=0.03)
    assert (noise[:, 1:] * noise[:, :-1]).mean() == pytest.approx(neighbours, abs=0.03)
    assert (noise[..., 1:] * noise[..., :-1]).mean() == pytest.approx(gray, abs=0.03)
    assert (noise[..., 0] * noise[..., 2]).mean() == pytest.approx(gray, abs=0.03)


def test_noise_is_clipped_on_demand(crop):
    free = degrade("noise", crop, generator(), sigma=50)
    clipped = degrade("noise", crop, generator(), sigma=50, clip=True)
    assert free.min() < 0
    assert free.max() > 1
    np.testing.assert_array_equal(clipped, free.clip(0, 1))


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


def test_haze_of_a_part_of_a_view_is_flatter_and_anywhere_in_it():
    black = np.zeros((64, 96, 3), np.float32)
    whole, part = (
        [degrade("haze", black, generator(seed), beta=1.0, airlight=0.9, view=view) for seed in range(40)]
        for view in (1, 0.25)
    )
    assert np.mean([x.std() for x in part]) < 0.5 * np.mean([x.std() for x in whole])
    means = [x.mean() for x in part]
    near, far = (
        np.mean([rows.mean() for rows in quarter]) for quarter in zip(*((x[-16:], x[:16]) for x in whole), strict=True)
    )
    assert min(means) < near + 0.05 < far - 0.05 < max(means)
    assert part[0].shape == black.shape


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


@pytest.mark.parametrize(("angle", "rows", "columns"), [(0, 1, 21), (90, 21, 1), (-90, 21, 1), (180, 1, 21)])
def test_motion_blur_at_an_angle_is_a_straight_line_of_even_weight(angle, rows, columns):
    point = np.zeros((61, 71, 3), np.float32)
    point[30, 35] = 1
    spread = degrade("motion_blur", point, generator(), size=20, angle=angle)[..., 0]
    line = spread[30 - rows // 2 : 31 + rows // 2, 35 - columns // 2 : 36 + columns // 2].ravel()
    assert line.sum() == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(line[1:-1], 1 / 20, rtol=0.05)


def test_motion_blur_at_45_degrees_goes_down_to_the_right():
    point = np.zeros((61, 71, 3), np.float32)
    point[30, 35] = 1
    spread = degrade("motion_blur", point, generator(), size=20, angle=45)[..., 0]
    rows, columns = np.nonzero(spread > 1e-3)
    assert np.abs((rows - 30) - (columns - 35)).max() <= 1
    assert rows.max() - 30 == pytest.approx(10 / np.sqrt(2), abs=1)


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


@pytest.mark.parametrize("radius", [0, 0.4, 1, 2.5, 7])
def test_a_disk_is_full_round_and_centred(radius):
    kernel = kernels.disk(radius).astype(np.float64)
    assert kernel.sum() == pytest.approx(1, abs=1e-6)
    np.testing.assert_array_equal(kernel, kernel[::-1, ::-1])
    np.testing.assert_array_equal(kernel, kernel.T)
    if radius >= 1:
        reach = len(kernel) // 2
        distance = np.hypot(*np.mgrid[-reach : reach + 1, -reach : reach + 1])
        inside, outside = kernel[distance <= radius - 0.5], kernel[distance >= radius + 0.5]
        assert (inside == kernel.max()).all() and (outside == 0).all()
        assert 1 / kernel.max() == pytest.approx(np.pi * radius**2, rel=0.1)  # its area, as its edge is smoothed


@pytest.mark.parametrize("sigma", [0, 0.8, 3, 10])
def test_a_gaussian_kernel_has_the_width_it_should(sigma):
    kernel = kernels.gaussian(sigma).astype(np.float64)
    assert kernel.sum() == pytest.approx(1, abs=1e-6)
    places = np.arange(len(kernel)) - len(kernel) // 2
    assert (kernel[:, 0] * places**2).sum() ** 0.5 == pytest.approx(sigma, rel=0.01)


def test_a_path_becomes_a_kernel_with_its_centroid():
    path = generator().normal(0, 6, (50, 2))
    kernel = kernels.along(path).astype(np.float64)
    rows, columns = np.mgrid[: len(kernel), : len(kernel)] - len(kernel) // 2
    assert kernel.sum() == pytest.approx(1, abs=1e-6)
    assert [(kernel * columns).sum(), (kernel * rows).sum()] == pytest.approx(path.mean(axis=0).tolist(), abs=1e-4)


@pytest.mark.parametrize("name", ["defocus_blur", "gaussian_blur", "downsampling"])
@every_photo
def test_what_loses_detail_keeps_the_mean(name, photo):
    image = load(photo)
    for seed in range(3):
        result = degrade(name, image, generator(seed))
        assert result.mean() == pytest.approx(image.mean(), abs=3e-3)
        assert gradient_energy(result) < 0.7 * gradient_energy(image)


@pytest.mark.parametrize(
    ("name", "parameter", "kernel"),
    [("defocus_blur", {"radius": 5.3}, kernels.disk(5.3)), ("gaussian_blur", {"sigma": 2.2}, kernels.gaussian(2.2))],
)
def test_blur_spreads_a_point_into_its_kernel(name, parameter, kernel):
    point = np.zeros((41, 45, 3), np.float32)
    point[20, 22] = 1
    expected = kernel if name == "defocus_blur" else kernel * kernel.T
    reach = len(expected) // 2
    blurred = degrade(name, point, generator(), **parameter)
    for channel in range(3):
        np.testing.assert_allclose(
            blurred[20 - reach : 21 + reach, 22 - reach : 23 + reach, channel], expected, atol=1e-6
        )
    assert blurred.sum() == pytest.approx(3, abs=1e-3)


@pytest.mark.parametrize(("name", "parameter"), [("defocus_blur", "radius"), ("gaussian_blur", "sigma")])
def test_blur_of_no_size_changes_nothing(name, parameter, crop):
    np.testing.assert_allclose(degrade(name, crop, generator(), **{parameter: 0}), crop, atol=1e-6)


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_downsampling_is_pillows_bicubic_down_and_up(crop, factor):
    height, width = crop.shape[:2]
    small = round(width / factor), round(height / factor)
    expected = [
        Image.fromarray(crop[..., channel])
        .resize(small, Image.Resampling.BICUBIC)
        .resize((width, height), Image.Resampling.BICUBIC)
        for channel in range(3)
    ]
    result = degrade("downsampling", crop, generator(), factor=factor)
    np.testing.assert_allclose(result, np.stack(expected, axis=2).clip(0, 1), atol=2e-3)


@pytest.mark.parametrize("quality", [1, 10, 50, 95])
def test_jpeg_is_opencvs_at_that_quality(quality):
    pixels = skimage.data.coffee()[50:151, 100:233]
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(pixels[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])
    expected = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1].astype(np.float32) / 255
    np.testing.assert_array_equal(
        degrade("jpeg", pixels.astype(np.float32) / 255, generator(), quality=quality), expected
    )


def test_jpeg_draws_whole_qualities():
    image = load("chelsea")[:64, :64]
    at = {quality: degrade("jpeg", image, generator(), quality=quality).tobytes() for quality in (30, 31, 32)}
    drawn = {degrade("jpeg", image, generator(seed), quality=[30, 32]).tobytes() for seed in range(30)}
    assert drawn == set(at.values())
    with pytest.raises(ValueError, match=r"quality must be whole, got 30\.5"):
        check_parameters("jpeg", {"quality": 30.5})


def mosaic_of(pixels):
    """RGGB, one site after the other."""
    raw = np.empty(pixels.shape[:2], np.uint8)
    for row, column, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        raw[row::2, column::2] = pixels[row::2, column::2, channel]
    return raw


@pytest.mark.parametrize(
    ("order", "code"), [("rgb", cv2.COLOR_BAYER_BG2RGB_EA), ("released", cv2.COLOR_BAYER_BG2BGR_EA)]
)
def test_demosaic_is_opencvs(order, code):
    pixels = skimage.data.astronaut()[:200, 100:340]
    expected = cv2.cvtColor(mosaic_of(pixels), code).astype(np.float32) / 255
    image = pixels.astype(np.float32) / 255
    np.testing.assert_array_equal(degrade("demosaic", image, generator(), channel_order=order), expected)


@every_photo
def test_demosaic_has_the_right_colours_unless_asked_for_the_released_ones(photo):
    image = load(photo)
    right = degrade("demosaic", image, generator())
    released = degrade("demosaic", image, generator(), channel_order="released")
    np.testing.assert_array_equal(right[..., ::-1], released)
    assert psnr(right, image) > 27
    assert psnr(released, image) < psnr(right, image) - 7
    # No channel is moved by a pixel: each site of the mosaic keeps the value that was measured there.
    for row, column, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        site = np.s_[2 + row : -2 : 2, 2 + column : -2 : 2, channel]
        np.testing.assert_array_equal(right[site], image[site])


def test_demosaic_of_an_odd_size_is_that_of_the_even_one_inside():
    image = load("coffee")[:101, :99]
    odd = degrade("demosaic", image, generator())
    even = degrade("demosaic", np.ascontiguousarray(image[:100, :98]), generator())
    np.testing.assert_array_equal(odd[:96, :94], even[:96, :94])
    assert psnr(odd[-3:], image[-3:]) > 25 and psnr(odd[:, -3:], image[:, -3:]) > 25


def test_demosaic_keeps_a_uniform_colour_up_to_the_border():
    orange = np.broadcast_to(np.float32([1, 0.6, 0.2]), (9, 8, 3))
    np.testing.assert_allclose(degrade("demosaic", orange, generator()), orange, atol=1e-6)


def test_inpainting_hides_pixels_in_white_or_black_and_leaves_the_others(crop):
    image = crop * 0.8 + 0.1  # neither white nor black of its own
    colours = set()
    for seed in range(20):
        result = degrade("inpainting", image, generator(seed))
        hidden = (result != image).any(axis=2)
        (colour,) = np.unique(result[hidden])
        colours.add(float(colour))
        assert 0.05 < hidden.mean() < 0.9
    assert colours == {0.0, 1.0}
    for colour, value in (("white", 1), ("black", 0)):
        assert value in degrade("inpainting", image, generator(), colour=colour)
    with pytest.raises(ValueError, match="colour must be one of any, white, black, got 'blue'"):
        check_parameters("inpainting", {"colour": "blue"})


def test_inpainting_has_as_many_lines_of_that_thickness_as_asked_for():
    black = np.zeros((300, 400, 3), np.float32)
    one = degrade("inpainting", black, generator(), lines=1, thickness=5, colour="white")[..., 0]
    assert cv2.connectedComponents(one.astype(np.uint8))[0] - 1 == 1
    widths = []
    for seed in range(12):
        line = degrade("inpainting", black, generator(seed), lines=1, thickness=9, colour="white")[..., 0]
        widths.append(2 * cv2.distanceTransform(line.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE).max() - 1)
    assert np.mean(widths) == pytest.approx(9, abs=0.7)
    thin, thick = (
        np.mean([degrade("inpainting", black, generator(s), lines=6, thickness=t, colour="white") for s in range(20)])
        for t in (5, 10)
    )
    assert thick == pytest.approx(2 * thin, rel=0.2)  # a little less, as lines cross


@pytest.mark.parametrize("peak", [10, 100, 10_000])
def test_poisson_noise_has_the_signal_as_mean_and_a_variance_in_proportion(peak):
    for level in (0.05, 0.2, 0.4):
        flat = np.full((200, 200, 3), level, np.float32)
        noisy = degrade("poisson_noise", flat, generator(), peak=peak).astype(np.float64)
        assert noisy.mean() == pytest.approx(level, rel=0.02)
        assert noisy.var() == pytest.approx(level / peak, rel=0.05)
        assert np.corrcoef(noisy[..., 0].ravel(), noisy[..., 1].ravel())[0, 1] == pytest.approx(0, abs=0.02)


def test_poisson_noise_leaves_black_as_it_is():
    assert not degrade("poisson_noise", np.zeros((9, 9, 3), np.float32), generator()).any()


@every_photo
def test_snow_lightens_a_part_of_the_pixels_only(photo):
    image = load(photo)
    for seed in range(3):
        change = degrade("snow", image, generator(seed)) - image
        touched = (np.abs(change) > 0.05).any(axis=2)
        assert change.min() >= -1e-6
        assert 0.01 < touched.mean() < 0.4


@pytest.mark.parametrize("density", [0.03, 0.1])
@pytest.mark.parametrize("size", [6, 14])
def test_snow_covers_the_share_it_should(density, size):
    black = np.zeros((300, 400, 3), np.float32)
    snowy = [degrade("snow", black, generator(seed), density=density, size=size, opacity=1.0) for seed in range(6)]
    assert np.mean([image > 0.2 for image in snowy]) == pytest.approx(density, rel=0.25)


@pytest.mark.parametrize("angle", [-40, 0, 40])
def test_snow_is_smeared_in_the_direction_of_its_fall(angle):
    snowy = degrade("snow", np.zeros((300, 300, 3), np.float32), generator(), angle=angle, speed=4.0)[..., 0]
    down, right = np.gradient(snowy)
    across = 0.5 * np.arctan2(2 * (right * down).mean(), (right**2).mean() - (down**2).mean())
    assert np.rad2deg(across) == pytest.approx(angle, abs=5)


def test_snow_flakes_differ_in_size_and_opacity():
    snowy = degrade("snow", np.zeros((400, 400, 3), np.float32), generator(), density=0.03, size=14, speed=0)[..., 0]
    count, place, stats, _ = cv2.connectedComponentsWithStats((snowy > 0.1).astype(np.uint8))
    areas = np.sort(stats[1:, cv2.CC_STAT_AREA])
    assert areas[int(0.9 * len(areas))] > 4 * areas[int(0.3 * len(areas))]
    brightest = [snowy[place == flake].max() for flake in range(1, count)]
    assert np.std(brightest) > 0.08


@pytest.mark.parametrize("name", ["snow", "raindrop"])
def test_flakes_and_drops_are_as_dense_at_the_borders_as_inside(name):
    options = {"snow": {"size": 14}, "raindrop": {"size": 30}}[name]
    black = np.zeros((64, 64, 3), np.float32)
    white = 1 - black
    base = black if name == "snow" else white  # a drop on white is darker at its rim
    mean = np.mean([np.abs(degrade(name, base, generator(s), **options) - base) for s in range(300)], axis=0)
    inside = mean[16:-16, 16:-16].mean()
    for border in (mean[:8], mean[-8:], mean[:, :8], mean[:, -8:]):
        assert border.mean() == pytest.approx(inside, rel=0.2)


@pytest.mark.parametrize("density", [0.05, 0.2])
def test_raindrops_cover_the_share_they_should(density):
    rows = np.linspace(0.2, 1, 300, dtype=np.float32)[:, None, None]
    image = np.broadcast_to(rows, (300, 400, 3))
    touched = [np.abs(degrade("raindrop", image, generator(s), density=density) - image) > 1e-3 for s in range(8)]
    # They overlap at times, as drops thrown at random do.
    assert np.mean(touched) == pytest.approx(1 - np.exp(-density), rel=0.2)


def test_what_is_seen_in_a_raindrop_is_upside_down():
    """Where the scene becomes lighter downwards, a drop becomes darker."""
    image = np.broadcast_to(np.linspace(0.3, 0.7, 120, dtype=np.float32)[:, None, None], (120, 120, 3))
    slopes = []
    for seed in range(30):
        wet = degrade("raindrop", image, generator(seed), density=0.03, size=40, refraction=3)[..., 0]
        inside = np.abs(wet - image[..., 0]) > 1e-3
        core = cv2.erode(inside.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)
        slopes += np.gradient(wet, axis=0)[core].tolist()
    assert len(slopes) > 500
    assert np.median(slopes) < -2 * 0.4 / 120  # and the view is wider, so that it changes faster


@every_photo
def test_raindrops_leave_the_rest_of_the_photograph(photo):
    image = load(photo)
    for seed in range(3):
        same = (np.abs(degrade("raindrop", image, generator(seed)) - image) < 1e-6).all(axis=2)
        assert 0.5 < same.mean() < 0.99


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


def test_a_whole_range_has_both_its_ends_and_none_is_favoured():
    rng = generator()
    values, counts = np.unique([draw_whole(rng, (5, 10), "x", 0, 20) for _ in range(3000)], return_counts=True)
    assert values.tolist() == [5, 6, 7, 8, 9, 10]
    assert counts.min() > 400
    assert draw_whole(rng, 7, "x", 0, 20) == draw_whole(rng, (7, 7), "x", 0, 20) == 7
    assert {draw_whole(rng, [1, 4, 9], "x", 0, 20) for _ in range(60)} == {1, 4, 9}


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
        if isinstance(default, str):
            with pytest.raises(ValueError, match=rf"{parameter} must be one of .*, got 'purple'"):
                check_parameters(name, {parameter: "purple"})
        elif not isinstance(default, bool):
            with pytest.raises(ValueError, match=rf"{parameter} must lie in \[.*\], got 1000000000"):
                check_parameters(name, {parameter: 1e9})


@pytest.mark.parametrize("check", [check_parameters, lambda name, p: degrade(name, None, generator(), **p)])
def test_unknown_names_are_answered_with_the_nearest(check):
    with pytest.raises(ValueError, match=r"unknown degradation 'rian'; did you mean 'rain'\?"):
        check("rian", {})
    with pytest.raises(ValueError, match=r"'rain' has no parameter 'densty'; did you mean 'density'\?"):
        check("rain", {"densty": 0.1})
    with pytest.raises(ValueError, match=r"'noise' has no parameter 'xyz'; known: sigma, clip, grain, gray"):
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

    with pytest.raises(ValueError, match=r"'rain' is registered already, by dcpt_data\.degradations\.kinds\.rain"):
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
