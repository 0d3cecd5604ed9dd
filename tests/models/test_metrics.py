"""Image metrics: equal to the engine's and to published figures, for any number of images, finite, by name."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from basicsr.metrics import calculate_psnr, calculate_ssim
from basicsr.utils.registry import METRIC_REGISTRY
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from small_runs import METRICS, completed, restoration_options, write

from dcpt_models.errors import OptionError
from dcpt_models.metrics import by_name as metrics
from dcpt_models.metrics.by_name import (
    PERFECT_PSNR,
    find_metric,
    lower_is_better,
    measure,
    on_scale_of_8_bit,
    psnr,
    ssim,
)

ROOT = Path(__file__).resolve().parents[2]
FIGURES = json.loads((ROOT / "tests" / "figures" / "metrics.json").read_text(encoding="utf-8"))["images"]
SET14 = ROOT.parent / "shared" / "data" / "set14"
# Rounded to 8 bit or not, Y or RGB.
PROTOCOLS = {"rgb_rounded": (True, False), "rgb_float": (False, False), "y_rounded": (True, True)}


def tensor(image: np.ndarray) -> torch.Tensor:
    """H x W x 3 in [0, 1] -> 1 x 3 x H x W."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]


def pair(height: int = 96, width: int = 120, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """A photograph with noise that leaves [0, 1], and the photograph."""
    clean = tensor(skimage.data.astronaut()[:height, :width].astype(np.float32) / 255)
    return clean + 0.1 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed)), clean


def degraded(image: np.ndarray, name: str) -> np.ndarray:
    """The degraded images that the figures are of, from H x W x 3, RGB, uint8; float32."""
    if name.startswith("noise_sigma"):
        noise = np.random.RandomState(0).normal(0, int(name.removeprefix("noise_sigma")) / 255, image.shape)
        return (image.astype(np.float32) / np.float32(255) + noise).astype(np.float32)
    if name.startswith("jpeg_q"):
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(name.removeprefix("jpeg_q"))]
        _, data = cv2.imencode(".jpg", image[..., ::-1], quality)
        pixels = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]
    else:
        mosaic = image[..., 1].copy()
        mosaic[0::2, 0::2], mosaic[1::2, 1::2] = image[0::2, 0::2, 0], image[1::2, 1::2, 2]
        order = cv2.COLOR_BAYER_BG2BGR_EA if name == "demosaic_released" else cv2.COLOR_BAYER_BG2RGB_EA
        pixels = cv2.cvtColor(mosaic, order)
    return pixels.astype(np.float32) / np.float32(255)


# Two of the seven degradations for each image, so that each is measured on four; all 588 figures take 12 s.
@pytest.mark.skipif(not SET14.is_dir(), reason="Set14 is not beside the checkout, at ../shared/data/set14")
@pytest.mark.parametrize("number", range(len(FIGURES)))
def test_published_pairs_have_their_figures_under_every_protocol(number: int) -> None:
    name = sorted(FIGURES)[number]
    clean = cv2.imread(str(SET14 / name))[..., ::-1]
    kinds = list(FIGURES[name])
    for kind in (kinds[number % 7], kinds[(number + 3) % 7]):
        lq, gt = tensor(degraded(clean, kind)), tensor(clean.astype(np.float32) / np.float32(255))
        for protocol, figures in FIGURES[name][kind].items():
            rounded, luma = PROTOCOLS[protocol]
            asked = {key: {**section, "test_y_channel": luma} for key, section in METRICS.items()}
            assert measure(lq, gt, asked, rounded) == pytest.approx(figures, abs=1e-8), (name, kind, protocol)


@pytest.mark.parametrize("rounded", [True, False])
@pytest.mark.parametrize("luma", [True, False])
@pytest.mark.parametrize("border", [0, 4])
def test_values_are_those_of_the_engine(rounded: bool, luma: bool, border: int) -> None:
    # More than one band of rows, and the last of them smaller.
    a, b = (on_scale_of_8_bit(x, rounded) for x in pair(150, 121))
    arrays = [x[0].permute(1, 2, 0).flip(-1).numpy() for x in (a, b)]
    ours = {"crop_border": border, "test_y_channel": luma}
    assert psnr(a, b, **ours).item() == pytest.approx(calculate_psnr(*arrays, **ours), abs=1e-8)
    assert ssim(a, b, **ours).item() == pytest.approx(calculate_ssim(*arrays, **ours), abs=1e-8)


def test_rounding_is_that_of_the_pictures_which_the_engine_makes() -> None:
    from basicsr.utils import tensor2img

    noisy = pair()[0]
    ours = on_scale_of_8_bit(noisy, rounded=True)[0].permute(1, 2, 0).flip(-1).numpy()
    assert (ours == tensor2img(noisy)).all()


def test_ssim_is_that_of_scikit_image() -> None:
    a, b = (on_scale_of_8_bit(x, rounded=False) for x in pair())
    first, second = (x[0].permute(1, 2, 0).numpy() for x in (a, b))
    # scikit-image's window is 11 x 11 for this truncation, and it averages over the same places.
    expected = structural_similarity(
        first, second, data_range=255, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert ssim(a, b).item() == pytest.approx(expected, abs=1e-8)
    assert psnr(a, b).item() == pytest.approx(peak_signal_noise_ratio(second, first, data_range=255), abs=1e-8)


@pytest.mark.parametrize("metric", [psnr, ssim])
@pytest.mark.parametrize("luma", [True, False])
def test_several_images_have_the_values_that_each_has_alone(metric: Any, luma: bool) -> None:
    pairs = [[on_scale_of_8_bit(x, rounded=True) for x in pair(seed=seed)] for seed in range(3)]
    a, b = (torch.cat(images) for images in zip(*pairs, strict=True))
    alone = [metric(*one, test_y_channel=luma).item() for one in pairs]
    assert len(set(alone)) == 3
    assert metric(a, b, test_y_channel=luma).tolist() == pytest.approx(alone, abs=1e-12)


def test_the_form_for_gpus_gives_the_values_of_the_form_for_cpus() -> None:
    a, b = (on_scale_of_8_bit(x, rounded=False).flatten(0, 1) for x in pair(150, 121))
    assert metrics._similarities(a, b).tolist() == pytest.approx(metrics._similarities_on_cpu(a, b).tolist(), abs=1e-10)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_values_on_a_gpu_are_those_on_a_cpu() -> None:
    pairs = pair()
    moved = [x.cuda() for x in pairs]
    assert measure(*moved, METRICS, True) == pytest.approx(measure(*pairs, METRICS, True), abs=1e-8)


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_values_depend_neither_on_the_type_of_whole_numbers_nor_on_the_layout(metric: Any) -> None:
    a, b = (on_scale_of_8_bit(x, rounded=True) for x in pair())
    expected = metric(a.double(), b.double()).item()
    assert metric(a.to(torch.uint8), b.to(torch.uint8)).item() == pytest.approx(expected, abs=1e-12)
    last = [x.to(memory_format=torch.channels_last) for x in (a, b)]
    assert metric(*last).item() == pytest.approx(expected, abs=1e-12)


def test_the_images_are_left_as_they_are() -> None:
    a, b = (on_scale_of_8_bit(x, rounded=False) for x in pair())
    before = a.clone(), b.clone()
    ssim(a, b)
    psnr(a, b, test_y_channel=True)
    assert torch.equal(a, before[0])
    assert torch.equal(b, before[1])


def test_a_perfect_image_and_one_almost_perfect_have_a_finite_psnr() -> None:
    image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 0.9
    assert measure(image, image, METRICS, True) == {"psnr": PERFECT_PSNR, "ssim": pytest.approx(1.0)}
    assert measure(image + 1e-7, image, METRICS, False)["psnr"] == PERFECT_PSNR
    assert measure(image + 1e-3, image, METRICS, False)["psnr"] == pytest.approx(60, abs=1e-3)


def test_what_cannot_be_compared_is_said() -> None:
    image = torch.zeros(1, 3, 16, 12)
    with pytest.raises(ValueError, match="12x16 cannot be compared with a target of 16x12"):
        psnr(image, image.transpose(2, 3))
    with pytest.raises(ValueError, match="crop_border 6 leaves nothing of 12x16"):
        psnr(image, image, crop_border=6)
    with pytest.raises(ValueError, match="SSIM needs 11x11 pixels or more, not 8x12"):
        ssim(image, image, crop_border=2)


def test_a_metric_of_the_engines_registry_is_given_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    def blueness(img: np.ndarray, img2: np.ndarray, power: int = 1) -> float:
        return float(img[..., 0].mean() - img2[..., 0].mean()) ** power

    monkeypatch.setitem(METRIC_REGISTRY._obj_map, "blueness", blueness)
    image = torch.tensor([0.1, 0.2, 0.8]).view(1, 3, 1, 1).repeat(1, 1, 4, 4)
    section = {"type": "blueness", "power": 2, "better": "lower"}
    assert measure(image, torch.zeros_like(image), {"blue": section}, True) == {"blue": 204.0**2}
    assert lower_is_better(section)
    assert not lower_is_better({"type": "blueness"})


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'calculate_ssim'"):
        find_metric("calculate_sim")


def test_pyiqa_is_asked_for_where_it_is_missing(photographs: Path, tmp_path: Path) -> None:
    if metrics.importlib.util.find_spec("pyiqa") is not None:  # type: ignore[attr-defined]
        pytest.skip("pyiqa is installed")
    options = restoration_options(photographs, tmp_path / "run")
    options["val"]["metrics"]["lpips"] = {"type": "lpips"}
    with pytest.raises(OptionError, match=r"val:metrics:lpips:type.*pip install pyiqa"):
        completed(write(options, tmp_path))


class StandIn:
    """A metric with the interface of pyiqa's, whose own need weights from the net."""

    def __init__(self, mode: str) -> None:
        self.metric_mode = mode

    def __call__(self, image: torch.Tensor, target: torch.Tensor | None = None) -> torch.Tensor:
        assert image.dtype == torch.float32
        assert 0 <= image.min() <= image.max() <= 1
        assert (target is None) == (self.metric_mode == "NR")
        return (image - (0 if target is None else target)).abs().mean((1, 2, 3))[:, None]


@pytest.fixture
def pyiqa(monkeypatch: pytest.MonkeyPatch) -> None:
    configs: dict[str, dict[str, Any]] = {
        "lpips": {"metric_mode": "FR", "lower_better": True},
        "musiq": {"metric_mode": "NR"},
    }
    package, module = ModuleType("pyiqa"), ModuleType("pyiqa.default_model_configs")
    package.__spec__ = metrics.importlib.util.spec_from_loader("pyiqa", None)  # type: ignore[attr-defined]
    package.create_metric = lambda name, device: StandIn(configs[name]["metric_mode"])  # type: ignore[attr-defined]
    module.DEFAULT_CONFIGS = configs  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyiqa", package)
    monkeypatch.setitem(sys.modules, "pyiqa.default_model_configs", module)
    metrics._pyiqa_metric.cache_clear()


@pytest.mark.usefixtures("pyiqa")
def test_weights_that_pyiqa_cannot_get_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, device: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(sys.modules["pyiqa"], "create_metric", refuse)
    image = torch.zeros(1, 3, 4, 4)
    with pytest.raises(
        OSError, match=r"'lpips': pyiqa cannot get its weights \(no route to host\); use the metric once"
    ):
        measure(image, image, {"lpips": {"type": "lpips"}}, rounded=True)


@pytest.mark.usefixtures("pyiqa")
def test_metrics_of_pyiqa_get_what_they_expect(photographs: Path, tmp_path: Path) -> None:
    sections = {"lpips": {"type": "lpips", "crop_border": 1}, "quality": {"type": "pyiqa:musiq"}}
    options = restoration_options(photographs, tmp_path / "run")
    options["val"]["metrics"].update(sections)
    completed(write(options, tmp_path))
    image = torch.full((1, 3, 4, 4), 0.6)
    found = measure(image, torch.full_like(image, 0.2), sections, rounded=True)
    assert found == pytest.approx({"lpips": 0.4, "quality": 0.6}, abs=1e-6)
    assert [lower_is_better(section) for section in sections.values()] == [True, False]
    with pytest.raises(ValueError, match="pyiqa has no metric 'musik'; did you mean 'musiq'"):
        find_metric("pyiqa:musik")


def test_the_benchmark_compares_equal_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    from benchmarks import metrics as benchmark

    monkeypatch.setattr(benchmark, "SIZE", [(48, 64)])
    threads = cv2.getNumThreads()
    try:
        found = benchmark.run(Namespace(full=False, device="cpu", repeats=1, seed=0, images=4))
    finally:
        cv2.setNumThreads(threads)
    assert [table["title"].split()[0] for table in found["tables"]] == ["SSIM", "PSNR"]
    for table in found["tables"]:
        assert [row["what"] for row in table["rows"]] == ["ours", "basicsr"]
        assert table["difference"] < 1e-8
