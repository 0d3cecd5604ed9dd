"""Tables beside the paper's, and what the metrics behind them are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from dcpt_models.metrics import PERFECT_PSNR, measure, to_pixels
from dcpt_models.option_files import OptionError
from dcpt_models.tables import published_row, results_table

METRICS = {
    "psnr": {"type": "calculate_psnr", "crop_border": 0},
    "ssim": {"type": "calculate_ssim", "crop_border": 0},
}
ROWS = ["AirNet", "IDR", "InstructIR", "SwinIR", "DCPT-SwinIR", "NAFNet", "DCPT-NAFNet", "Restormer"]
ROWS += ["DCPT-Restormer", "PromptIR", "DCPT-PromptIR"]


@pytest.mark.parametrize("name", ROWS)
def test_published_averages_are_the_means_of_their_rows(name: str) -> None:
    values = dict(published_row("5d", name).values)
    average = values.pop("average")
    # Rounded to 0.01 dB and 0.001 in the paper, where some averages were formed before rounding.
    assert np.mean([psnr for psnr, _ in values.values()]) == pytest.approx(average[0], abs=0.011)
    assert np.mean([ssim for _, ssim in values.values()]) == pytest.approx(average[1], abs=0.0015)


def test_an_unknown_table_or_row_is_named_with_the_nearest() -> None:
    with pytest.raises(OptionError, match="did you mean '5d'"):
        published_row("5D", "NAFNet")
    with pytest.raises(OptionError, match="did you mean 'DCPT-PromptIR'"):
        published_row("5d", "DCPT-PromtIR")


def test_ours_and_the_papers_stand_side_by_side() -> None:
    results = {
        "SOTS": {"psnr": 31.0, "ssim": 0.98, "accuracy": 1.0},
        "mine": {"psnr": 20.0, "ssim": 0.5},
        "average": {"psnr": 25.5, "ssim": 0.74},
        "accuracy by class": {"haze": 1.0},
    }
    lines = results_table(results, published_row("5d", "DCPT-PromptIR")).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["Data set", "Ours (DCPT-PromptIR)", "Difference"]
    assert cells[2] == ["Dehazing (SOTS)", "31.00 / 0.980 (30.72 / 0.977)", "+0.28 / +0.003"]
    assert cells[3] == ["mine", "20.00 / 0.500", "-"]
    assert cells[4] == ["average", "25.50 / 0.740 (30.31 / 0.911)", "-4.81 / -0.171"]
    assert len({len(line) for line in lines}) == 1


def test_without_a_published_row_the_input_is_shown() -> None:
    lines = results_table({"a": {"psnr": 30.0, "ssim": 0.9, "input_psnr": 20.0, "input_ssim": 0.5}}, None).splitlines()
    assert [cell.strip() for cell in lines[2].strip("|").split("|")] == ["a", "20.00 / 0.500", "30.00 / 0.900"]


def test_a_metric_that_was_not_measured_is_left_out() -> None:
    lines = results_table({"SOTS": {"psnr": 31.0}}, published_row("5d", "NAFNet")).splitlines()
    cells = [cell.strip() for cell in lines[2].strip("|").split("|")]
    assert cells == ["Dehazing (SOTS)", "31.00 (25.23 / 0.939)", "+5.77"]


@pytest.mark.parametrize("rounded", [True, False])
def test_metrics_are_those_of_scikit_image(rounded: bool) -> None:
    clean = torch.from_numpy(data.astronaut()[:96, :120].copy()).permute(2, 0, 1)[None].float() / 255
    noisy = clean + 0.1 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    found = measure(noisy, clean, METRICS, rounded)
    a, b = (image.double().clamp(0, 1)[0].permute(1, 2, 0).numpy() * 255 for image in (noisy, clean))
    if rounded:
        a, b = a.round(), b.round()
    assert found["psnr"] == pytest.approx(peak_signal_noise_ratio(b, a, data_range=255), abs=1e-8)
    ssim = structural_similarity(
        a, b, data_range=255, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    # scikit-image's filter is cut off at another radius by default; the window is 11 x 11 in both.
    assert found["ssim"] == pytest.approx(ssim, abs=2e-4)


def test_a_perfect_image_has_a_finite_psnr() -> None:
    image = torch.rand(1, 3, 16, 16)
    assert measure(image, image, METRICS, True) == {"psnr": PERFECT_PSNR, "ssim": pytest.approx(1.0)}


def test_pixels_are_bgr_clamped_and_rounded_to_the_nearest() -> None:
    image = torch.tensor([-0.1, 0.5, 1.2]).view(1, 3, 1, 1)
    assert to_pixels(image, rounded=True).tolist() == [[[255, 128, 0]]]
    assert to_pixels(image, rounded=False).tolist() == [[[255.0, 127.5, 0.0]]]
