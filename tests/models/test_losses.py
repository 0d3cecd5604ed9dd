"""The losses against their formulas."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from basicsr.losses import build_loss

import dcpt_models  # noqa: F401 - registers the losses


def test_focal_loss_without_gamma_is_cross_entropy() -> None:
    logits, target = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    loss = build_loss({"type": "FocalLoss", "gamma": 0.0, "loss_weight": 2.0})
    torch.testing.assert_close(loss(logits, target), 2 * F.cross_entropy(logits, target))


def test_focal_loss_weighs_sure_samples_down() -> None:
    sure, unsure = torch.tensor([[4.0, 0.0]]), torch.tensor([[0.1, 0.0]])
    target, loss = torch.tensor([0]), build_loss({"type": "FocalLoss", "gamma": 2.0})
    assert loss(sure, target) / F.cross_entropy(sure, target) < 1e-3
    assert loss(unsure, target) / F.cross_entropy(unsure, target) > 0.2


def test_focal_loss_is_finite_for_certain_mistakes() -> None:
    logits = torch.tensor([[200.0, 0.0], [0.0, 200.0]], requires_grad=True)
    loss = build_loss({"type": "FocalLoss"})(logits, torch.tensor([1, 0]))
    loss.backward()
    assert loss.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_a_negative_gamma_is_refused() -> None:
    with pytest.raises(ValueError, match="gamma must be 0 or more"):
        build_loss({"type": "FocalLoss", "gamma": -1.0})


def test_the_gradient_of_certain_truths_is_finite_for_any_gamma() -> None:
    for kind, target in (("FocalLoss", torch.tensor([0, 1])), ("BinaryFocalLoss", torch.eye(2))):
        for gamma in (0.0, 0.5, 1.0, 2.0):
            logits = torch.tensor([[300.0, -300.0], [-300.0, 300.0]], requires_grad=True)
            loss = build_loss({"type": kind, "gamma": gamma})(logits, target)
            (grad,) = torch.autograd.grad(loss, logits)
            assert loss == 0
            assert grad.isfinite().all()


def test_binary_focal_loss_without_gamma_is_binary_cross_entropy() -> None:
    logits, target = torch.randn(6, 4), torch.randint(2, (6, 4)).float()
    loss = build_loss({"type": "BinaryFocalLoss", "gamma": 0.0, "loss_weight": 2.0})
    torch.testing.assert_close(loss(logits, target), 2 * F.binary_cross_entropy_with_logits(logits, target))


def test_binary_focal_loss_weighs_sure_answers_down() -> None:
    logits = torch.tensor([[1.5, -0.5]])
    loss = build_loss({"type": "BinaryFocalLoss", "gamma": 3.0})(logits, torch.tensor([[1.0, 1.0]]))
    p = logits.sigmoid()[0]
    torch.testing.assert_close(loss, ((1 - p) ** 3 * -p.log()).mean())


def test_psnr_loss_is_the_mean_of_the_images_negative_psnr() -> None:
    target = torch.rand(2, 3, 8, 8)
    restored = target + torch.tensor([0.1, 0.01]).view(2, 1, 1, 1)
    loss = build_loss({"type": "PSNRLoss", "loss_weight": 0.5})(restored, target)
    torch.testing.assert_close(loss, torch.tensor(-0.5 * (20 + 40) / 2), rtol=1e-3, atol=1e-3)


def test_psnr_loss_of_perfect_images_is_finite() -> None:
    image = torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(build_loss({"type": "PSNRLoss"})(image, image.clone()), torch.tensor(-80.0))


def test_psnr_loss_lets_hardly_anything_be_gained_beyond_its_limit() -> None:
    image = torch.rand(1, 3, 8, 8)
    good, better = image + 10 ** (-60 / 20), image + 10 ** (-70 / 20)
    published, limited = build_loss({"type": "PSNRLoss"}), build_loss({"type": "PSNRLoss", "limit": 45})
    torch.testing.assert_close(limited(image, image.clone()), torch.tensor(-45.0))
    assert published(good, image) - published(better, image) > 9
    assert 0 < limited(good, image) - limited(better, image) < 0.2


def test_psnr_loss_of_absolute_differences_does_not_mind_single_pixels() -> None:
    target = torch.rand(1, 3, 8, 8)
    even, single = target + 0.01, target.clone()
    single[0, 0, 0, 0] += 0.01 * 192  # the same mean absolute difference
    l1, l2 = (build_loss({"type": "PSNRLoss", "error": error}) for error in ("l1", "l2"))
    torch.testing.assert_close(l1(single, target), l1(even, target), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(l1(even, target), torch.tensor(-40.0), rtol=1e-3, atol=1e-3)
    assert l2(single, target) > l2(even, target) + 20
    with pytest.raises(ValueError, match="'l1' or 'l2', not 'l3'"):
        build_loss({"type": "PSNRLoss", "error": "l3"})


def test_frequency_loss_of_a_wave_sees_its_one_frequency() -> None:
    row = torch.arange(16.0)
    wave = torch.cos(2 * torch.pi * 3 * row / 16).expand(1, 1, 16, 16)
    zero = torch.zeros_like(wave)
    pixels, both = (
        build_loss({"type": "FrequencyL1Loss", "loss_weight": 2.0, "frequency_weight": weight})(wave, zero)
        for weight in (0.0, 0.5)
    )
    torch.testing.assert_close(pixels, 2 * F.l1_loss(wave, zero))
    # Half of the wave's energy, 16 * 16 / 4, is at one of the 16 x 9 frequencies kept: a peak of 8 in 288 numbers.
    torch.testing.assert_close(both - pixels, torch.tensor(2 * 0.5 * 8 / 288), rtol=1e-4, atol=1e-6)
    assert build_loss({"type": "FrequencyL1Loss"})(wave, wave) == 0
