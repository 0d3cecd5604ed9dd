"""Degradations of tensors: the same functions as on arrays, and the same statistics."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
import torch

from dcpt_data.degradations import DEGRADATIONS, degradation_names, degrade, degrade_batch, labels
from dcpt_data.degradations.arrays import TensorRng
from dcpt_data.degradations.registry import find

ON_TENSORS = [name for name in degradation_names() if find(name)[1].tensors]
WITHOUT_PIXEL_NOISE = {  # what leaves only numbers and maps to be drawn
    "haze": {},
    "rain": {},
    "snow": {},
    "raindrop": {},
    "motion_blur": {},
    "defocus_blur": {},
    "gaussian_blur": {},
    "downsampling": {},
    "inpainting": {},
    "noise": {"sigma": 0},
    "low_light": {"shot": 0, "read": 0},
    "poisson_noise": {"peak": 100_000},
}
every_degradation = pytest.mark.parametrize("name", ON_TENSORS)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def crop() -> np.ndarray:
    return np.ascontiguousarray(skimage.data.astronaut()[60:155, 180:291]).astype(np.float32) / 255


@pytest.fixture
def images(crop) -> torch.Tensor:
    return torch.from_numpy(np.stack([crop, crop[::-1], crop[:, ::-1]])).permute(0, 3, 1, 2).contiguous()


def test_all_but_those_that_need_opencv_for_pixels_are_there():
    assert set(degradation_names()) - set(ON_TENSORS) == {"demosaic", "jpeg"}
    assert set(WITHOUT_PIXEL_NOISE) == set(ON_TENSORS)


@every_degradation
@pytest.mark.parametrize("size", [(95, 111), (24, 17), (1, 7), (1, 1)])
def test_tensors_become_what_arrays_do(name, size, crop):
    image = np.ascontiguousarray(crop[: size[0], : size[1]])
    tensor = torch.from_numpy(image)
    for seed in range(3):
        expected = degrade(name, image, np.random.Generator(np.random.PCG64(seed)), **WITHOUT_PIXEL_NOISE[name])
        result = DEGRADATIONS[name](tensor, TensorRng(seed, generator()), **WITHOUT_PIXEL_NOISE[name]).numpy()
        # OpenCV's remap knows 32 places between two pixels, PyTorch's all of them; photons are counted at random.
        tolerance = {"raindrop": 0.03, "poisson_noise": 0.03}.get(name, 2e-5)
        np.testing.assert_allclose(result, expected, atol=tolerance)


@every_degradation
def test_a_batch_is_new_contiguous_and_of_the_same_kind(name, images):
    before = images.clone()
    result = degrade_batch(images, name, generator())
    assert result.shape == images.shape and result.dtype == torch.float32 and result.is_contiguous()
    assert torch.isfinite(result).all() and not torch.equal(result, images)
    assert torch.equal(images, before)
    if name != "noise":
        assert result.min() >= 0 and result.max() <= 1


@every_degradation
def test_a_batch_follows_from_the_generator_alone(name, images):
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002 - the global state is what this is about
        before = torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()  # noqa: NPY002
        results.append(degrade_batch(images, name, generator(5)))
        assert before == (torch.get_rng_state().tolist(), np.random.get_state()[1].tolist())  # noqa: NPY002
    assert torch.equal(*results)
    assert not torch.equal(results[0], degrade_batch(images, name, generator(6)))


@every_degradation
def test_the_generator_moves_on_and_every_image_has_its_own_draw(name, images):
    same = images[:1].expand(3, -1, -1, -1)
    rng = generator()
    first, second = degrade_batch(same, name, rng), degrade_batch(same, name, rng)
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1]) and not torch.equal(first[1], first[2])


def test_noise_of_film_and_cameras():
    level = torch.full((4, 3, 200, 200), 0.5)
    noise = degrade_batch(level, "noise", generator(), {"noise": {"sigma": 25, "grain": 0.8, "gray": 0.6}}) - level
    noise = noise.double() * 255 / 25
    assert noise.std().item() == pytest.approx(1, rel=0.02)
    neighbours = np.exp(-1 / (4 * 0.8**2))
    assert (noise[:, :, 1:] * noise[:, :, :-1]).mean().item() == pytest.approx(neighbours, abs=0.03)
    assert (noise[..., 1:] * noise[..., :-1]).mean().item() == pytest.approx(neighbours, abs=0.03)
    assert (noise[:, 1:] * noise[:, :-1]).mean().item() == pytest.approx(0.6, abs=0.03)


@pytest.mark.parametrize("name", ["noise", "poisson_noise", "low_light"])
def test_noise_has_the_moments_of_arrays(name):
    parameters = {"noise": {"sigma": 30}, "poisson_noise": {"peak": 40}, "low_light": {"exposure": 0.3, "gamma": 1.2}}
    level = torch.linspace(0.1, 0.6, 64)[None, None, None].expand(24, 3, 64, 64).contiguous()
    tensors = degrade_batch(level, name, generator(), parameters).numpy()
    rng = np.random.default_rng(0)
    arrays = np.stack(
        [degrade(name, image.permute(1, 2, 0).numpy(), rng, **parameters[name]).transpose(2, 0, 1) for image in level]
    )
    deviation = arrays.std(axis=(0, 1, 2))  # for each level of grey, of 4608 values
    # A mean of so many is known to 1.5 % of the deviation, the deviation to about as much; here is five times that.
    assert (np.abs(tensors.mean(axis=(0, 1, 2)) - arrays.mean(axis=(0, 1, 2))) < 0.1 * deviation).all()
    np.testing.assert_allclose(tensors.std(axis=(0, 1, 2)), deviation, rtol=0.1)
    residual = tensors - tensors.mean(axis=(0, 1, 2))
    neighbours = (residual[..., :-1] * residual[..., 1:]).mean() / (residual**2).mean()
    channels = (residual[:, :-1] * residual[:, 1:]).mean() / (residual**2).mean()
    assert [float(neighbours), float(channels)] == pytest.approx([0, 0], abs=0.02)


@pytest.mark.parametrize("name", ["haze", "rain", "snow", "motion_blur"])
def test_what_is_drawn_has_the_moments_of_arrays(name):
    images = torch.zeros(160, 3, 24, 24)
    images[:, :, :, 12:] = 0.5
    tensors = degrade_batch(images, name, generator()).double()
    rng = np.random.default_rng(0)
    arrays = np.stack([degrade(name, image.permute(1, 2, 0).numpy(), rng) for image in images]).astype(np.float64)
    assert tensors.mean().item() == pytest.approx(arrays.mean(), rel=0.1)
    own_means = [values.reshape(len(images), -1).mean(axis=1).std() for values in (tensors.numpy(), arrays)]
    assert own_means[0] == pytest.approx(own_means[1], rel=0.3, abs=1e-3)


def test_each_image_can_have_its_own_degradation_and_compositions(images):
    names = ["haze+low_light", "noise", "rain"]
    given = {"low_light": {"exposure": 0.0, "read": 0}, "noise": {"sigma": 0}, "haze": {"beta": 0}}
    result = degrade_batch(images, names, generator(), given)
    assert not result[0].any()  # no light, and no haze that adds some
    assert torch.equal(result[1], images[1])
    assert (result[2] >= images[2] - 1e-6).all() and not torch.equal(result[2], images[2])
    assert [labels(name)[0] for name in names] == ["low_light", "noise", "rain"]


def test_an_empty_batch_stays_empty():
    assert degrade_batch(torch.zeros(0, 3, 8, 8), "rain", generator()).shape == (0, 3, 8, 8)


def test_gradients_are_not_recorded(images):
    assert not degrade_batch(images.requires_grad_(), "haze", generator()).requires_grad


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": "rian"}, r"unknown degradation 'rian'; did you mean 'rain'\?"),
        ({"names": "jpeg"}, "'jpeg' needs arrays: synthesise it in the data set. Tensors can have: defocus_blur, "),
        ({"names": ["rain", "rain", "haze+demosaic"]}, "'demosaic' needs arrays"),
        ({"names": ["rain", "rain"]}, "expected a degradation for each of 3 images, got 2"),
        ({"parameters": {"rian": {}}}, r"unknown degradation 'rian'; did you mean 'rain'\?"),
        ({"parameters": {"rain": {"densty": 1}}}, r"did you mean 'density'\?"),
        ({"parameters": {"rain": {"density": 2}}}, r"density must lie in \[0, 1\], got 2"),
        ({"images": torch.zeros(3, 8, 8)}, r"expected float32 images, N x 3 x H x W, got torch.float32 of shape"),
        ({"images": torch.zeros(3, 8, 8, 3)}, r"N x 3 x H x W, got torch.float32 of shape \(3, 8, 8, 3\)"),
        ({"images": torch.zeros(3, 3, 8, 8).half()}, "expected float32 images, N x 3 x H x W, got torch.float16"),
        ({"images": torch.zeros(3, 3, 8, 8, device="meta")}, r"make it with torch\.Generator\('meta'\)"),
    ],
)
def test_what_is_wrong_is_told(images, change, message):
    arguments = {"images": images, "names": "rain", "generator": generator(), "parameters": None, **change}
    with pytest.raises(ValueError, match=message):
        degrade_batch(**arguments)
