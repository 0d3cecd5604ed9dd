"""The strength of a restoration, and sheets that show it beside the photograph."""

from __future__ import annotations

import numpy as np
import pytest

from dcpt_models.inference.blending import blend, enlarge
from dcpt_models.inference.restored_sheet import DETAIL, draw_pair, most_changed

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_blend_lies_between_image_and_result(dtype: type, channels: int) -> None:
    greatest = np.iinfo(dtype).max
    image, result = (RNG.integers(0, greatest, (20, 30, channels), endpoint=True).astype(dtype) for _ in range(2))
    assert np.array_equal(blend(image, result, 0), image)
    assert blend(image, result, 1) is result
    half = blend(image, result, 0.25)
    assert half.dtype == dtype and half.shape == image.shape
    expected = 0.75 * image.astype(np.float64) + 0.25 * result
    assert np.abs(half - expected).max() <= (0.5 if dtype == np.uint8 else 0.52)
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="between 0 and 1"):
            blend(image, result, wrong)


def test_of_an_enlargement_the_enlarged_image_is_blended() -> None:
    image = np.full((6, 8, 1), 100, np.uint8)
    result = np.full((18, 24, 1), 200, np.uint8)
    assert np.array_equal(blend(image, result, 0.3), np.full((18, 24, 1), 130, np.uint8))
    alpha = RNG.integers(0, 256, (6, 8)).astype(np.uint8)
    assert enlarge(alpha, 12, 16).shape == (12, 16)
    assert enlarge(alpha, 6, 8) is alpha


def test_the_detail_is_where_most_was_changed() -> None:
    image = np.zeros((700, 1500, 3), np.uint8)
    result = image.copy()
    result[400:440, 1210:1250] = 255
    top, left = most_changed(image, result, DETAIL)
    assert top <= 400 and top + DETAIL >= 440 and left <= 1210 and left + DETAIL >= 1250
    assert most_changed(image[:10, :10], result[:10, :10], DETAIL) == (0, 0)
    sheet = draw_pair(image, result, "caption")
    part = sheet[-DETAIL - 20 :]
    assert (part == 255).all(2).sum() > 1600  # at full size; the changed square has 40 x 40 pixels
    assert sheet.shape[1] == 900 + 10 + 900
    small = draw_pair(image[:50, :60], result[:50, :60], "")
    assert small.shape[0] < 50 + 60
