"""Compositions of degradations, and the form of each that evaluation uses."""

from __future__ import annotations

import zlib
from itertools import permutations

import numpy as np
import pytest
import skimage.data
import torch

from dcpt_data.degradations import (
    CLEAN,
    DEGRADATIONS,
    check_parameters,
    degradation_names,
    degrade,
    degrade_batch,
    degrade_for_evaluation,
    evaluation_defaults,
    labels,
    register_degradation,
    registry,
)

NAMES = degradation_names()
MIXED = "low_light+haze+rain"
every_degradation = pytest.mark.parametrize("name", [*NAMES, MIXED])


@pytest.fixture
def crop() -> np.ndarray:
    return np.ascontiguousarray(skimage.data.astronaut()[60:155, 180:291]).astype(np.float32) / 255


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# Compositions


def test_a_single_degradation_has_one_label():
    assert [labels(name) for name in NAMES] == [(name,) for name in NAMES]


def test_clean_is_a_copy_with_a_label_of_its_own(crop):
    assert labels(CLEAN) == ("clean",)
    rng = generator()
    for result in (degrade(CLEAN, crop, rng), degrade_for_evaluation(CLEAN, crop, "a.png")):
        assert np.array_equal(result, crop) and not np.shares_memory(result, crop)
    assert rng.random() == generator().random()
    batch = torch.from_numpy(crop).permute(2, 0, 1)[None].contiguous()
    assert torch.equal(degrade_batch(batch, CLEAN, torch.Generator()), batch)
    with pytest.raises(ValueError, match="'clean' is no degradation and has no parameters, got sigma"):
        check_parameters(CLEAN, {"sigma": 1})
    with pytest.raises(ValueError, match="unknown degradation 'clean'"):
        labels("clean+rain")


def test_labels_are_in_the_order_of_cdd_11():
    assert labels("haze+low_light+rain") == ("low_light", "rain", "haze")
    assert labels("haze+snow+low_light") == ("low_light", "snow", "haze")
    for cdd in ("low_light+haze", "low_light+rain", "low_light+snow"):
        assert "+".join(labels(cdd)) == cdd
    assert labels("haze+rain") == ("rain", "haze")


def test_all_others_follow_the_light_into_the_file():
    order = labels("+".join(NAMES))
    assert sorted(order) == NAMES
    assert order == (
        *("low_light", "rain", "snow", "haze", "raindrop", "defocus_blur", "gaussian_blur", "motion_blur"),
        *("downsampling", "poisson_noise", "noise", "demosaic", "jpeg", "inpainting"),
    )


def test_the_order_of_the_parts_does_not_matter(crop):
    results = [degrade("+".join(order), crop, generator()) for order in permutations(MIXED.split("+"))]
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_a_composition_is_its_parts_one_after_the_other(crop):
    before, rng = crop.copy(), generator()
    expected = degrade("haze", degrade("rain", degrade("low_light", crop, rng), rng), rng)
    np.testing.assert_array_equal(degrade(MIXED, crop, generator()), expected)
    np.testing.assert_array_equal(crop, before)


def test_parameters_are_given_by_part(crop):
    given = {"rain": {"density": 0.3, "angle": 5}, "haze": {"beta": 0.2}}
    rng = generator()
    expected = degrade("haze", degrade("rain", crop, rng, density=0.3, angle=5), rng, beta=0.2)
    np.testing.assert_array_equal(degrade("haze+rain", crop, generator(), **given), expected)
    check_parameters("haze+rain", given)
    check_parameters("haze+rain", {})


def test_everything_at_once_is_still_an_image(crop):
    for size in ((1, 1), (5, 3), (33, 64)):
        result = degrade("+".join(NAMES), crop[: size[0], : size[1]], generator())
        assert result.shape == (*size, 3) and result.dtype == np.float32 and result.flags.c_contiguous
        assert result.min() >= 0 and result.max() <= 1  # what comes after noise is of 8 bit


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("low_ligt+rain", {}, r"unknown degradation 'low_ligt'; did you mean 'low_light'\?"),
        ("low+haze+rain", {}, r"unknown degradation 'low'.* known: .*low_light"),
        ("rain+", {}, "unknown degradation ''; known: defocus_blur"),
        ("rain+haze+rain", {}, r"'rain\+haze\+rain' has 'rain' 2 times; name each degradation once at most"),
        ("rain+haze", {"snow": {}}, r"'rain\+haze' has no part 'snow'.* given by part, such as rain: \{\.\.\.\}"),
        ("rain+haze", {"density": 0.1}, r"'rain\+haze' has no part 'density'"),
        ("rain+haze", {"hase": {}}, r"no part 'hase'; did you mean 'haze'\?"),
        ("rain+haze", {"rain": 0.1}, r"parameters of 'rain' in 'rain\+haze' must be a mapping by name, got 0\.1"),
        ("rain+haze", {"rain": {"densty": 0.1}}, r"'rain' has no parameter 'densty'; did you mean 'density'\?"),
        ("rain+haze", {"rain": {"density": 2}}, r"density must lie in \[0, 1\], got 2"),
    ],
)
def test_what_is_wrong_in_a_composition_is_told(name, parameters, message, crop):
    for run in (
        lambda: check_parameters(name, parameters),
        lambda: degrade(name, crop, generator(), **parameters),
        lambda: degrade_for_evaluation(name, crop, "x.png", **parameters),
    ):
        with pytest.raises(ValueError, match=message):
            run()


def test_a_degradation_that_names_no_stage_comes_last(monkeypatch):
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    monkeypatch.setattr(registry, "_traits", dict(registry._traits))

    @register_degradation
    def zzz(image, rng):
        return image.copy()

    @register_degradation(stage="light")
    def dusk(image, rng):
        return image.copy()

    assert labels("zzz+jpeg+dusk") == ("dusk", "jpeg", "zzz")


def test_traits_that_are_not_known_are_refused():
    def dusk(image, rng, *, depth: float = 1.0):
        return image.copy()

    with pytest.raises(ValueError, match=r"'dusk' has no stage 'lihgt'; did you mean 'light'\?"):
        register_degradation(stage="lihgt")(dusk)
    with pytest.raises(ValueError, match=r"'dusk' has no parameter 'deph'; did you mean 'depth'\?"):
        register_degradation(evaluation={"deph": 2})(dusk)
    assert degradation_names() == NAMES


# Evaluation


@every_degradation
def test_evaluation_is_the_same_each_time_whatever_came_before(name, crop):
    before = crop.copy()
    first = degrade_for_evaluation(name, crop, "a/1.png")
    np.random.seed(3)  # noqa: NPY002 - the global state is what this is about
    for other in ("rain", "noise", name):
        degrade_for_evaluation(other, crop[:20], "other.png")
    np.testing.assert_array_equal(degrade_for_evaluation(name, crop, "a/1.png"), first)
    np.testing.assert_array_equal(crop, before)
    assert first.shape == crop.shape and first.dtype == np.float32 and first.flags.c_contiguous
    assert not np.array_equal(first, crop)


@every_degradation
def test_images_of_another_name_are_degraded_otherwise_unless_nothing_is_random(name, crop):
    results = {degrade_for_evaluation(name, crop, f"{i}.png").tobytes() for i in range(4)}
    fixed = {"demosaic", "downsampling", "gaussian_blur", "jpeg"}
    assert len(results) == (1 if name in fixed or name == "noise" else 4)  # noise: the protocol has one for all


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"noise"}))
def test_evaluation_draws_from_the_names_crc32(name, crop):
    expected = degrade(name, crop, generator(zlib.crc32(b"a/1.png")), **evaluation_defaults(name))
    np.testing.assert_array_equal(degrade_for_evaluation(name, crop, "a/1.png"), expected)


@every_degradation
def test_evaluation_neither_reads_nor_changes_the_global_state(name, crop):
    results = []
    for seed in (1, 2):
        np.random.seed(seed)  # noqa: NPY002
        before = np.random.get_state()[1].tolist()  # noqa: NPY002
        results.append(degrade_for_evaluation(name, crop, "x"))
        assert np.random.get_state()[1].tolist() == before  # noqa: NPY002
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("sigma", [15, 25, 50, None])
def test_noise_of_one_sigma_is_the_released_protocols_to_the_bit(sigma, crop):
    given = {} if sigma is None else {"sigma": sigma}
    for image in (crop, crop[:, ::-1]):
        expected = image + np.random.RandomState(0).normal(0, (sigma or 25) / 255, image.shape)
        for key in ("a", "b"):
            np.testing.assert_array_equal(
                degrade_for_evaluation("noise", image, key, **given), expected.astype(np.float32)
            )
    clipped = degrade_for_evaluation("noise", crop, "a", clip=True)
    np.testing.assert_array_equal(clipped, degrade_for_evaluation("noise", crop, "b").clip(0, 1))


def test_the_legacy_stream_is_the_one_that_the_protocol_was_recorded_with():
    values = degrade_for_evaluation("noise", np.zeros((1, 1, 3), np.float32), "x", sigma=25) * 255 / 25
    np.testing.assert_allclose(values.ravel(), [1.764052, 0.400157, 0.978738], rtol=1e-5)


def test_noise_of_several_sigmas_is_each_images_own(crop):
    results = [degrade_for_evaluation("noise", crop, key, sigma=[10, 20]) for key in ("a", "b")]
    levels = [(result - crop).std() * 255 for result in results]
    assert all(9.5 < level < 20.5 for level in levels) and abs(levels[0] - levels[1]) > 0.5


def test_noise_in_a_composition_keeps_its_protocol(crop):
    hazy = degrade_for_evaluation("haze", crop, "a")
    both = degrade_for_evaluation("noise+haze", crop, "a", noise={"sigma": 15})
    np.testing.assert_array_equal(both, degrade_for_evaluation("noise", hazy, "", sigma=15))


def test_evaluation_defaults_are_those_of_the_published_protocols():
    assert evaluation_defaults("noise") == {"sigma": 25, "clip": False, "grain": 0, "gray": 0}
    assert evaluation_defaults("jpeg") == {"quality": 20}
    assert evaluation_defaults("demosaic") == {"channel_order": "rgb"}
    assert evaluation_defaults("rain") == DEGRADATIONS["rain"].__kwdefaults__


def test_what_is_given_comes_before_the_evaluation_defaults(crop):
    given = degrade_for_evaluation("jpeg", crop, "x", quality=35)
    np.testing.assert_array_equal(given, degrade("jpeg", crop, generator(), quality=35))
    assert not np.array_equal(given, degrade_for_evaluation("jpeg", crop, "x"))
