"""Training, validation, restoring and degrading on a GPU that is pretended: every tensor must be where it is used.

The usual run has every pair of backbone, classifier and precision, and every method; all combinations, which take some
ten minutes: pytest -m thorough tests/models/test_pretended_cuda.py
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from basicsr.models import build_model
from basicsr.utils.registry import ARCH_REGISTRY
from pretended_cuda import CUDA, Generator, pretended_cuda
from small_networks import BACKBONES, SMALL
from small_runs import METRICS, NAMES, completed, dcpt_options, write
from torch import nn

from dcpt_data.degradations import degradation_names, degrade_batch
from dcpt_data.degradations.registry import find
from dcpt_models.analysis.features.extraction import extract_features
from dcpt_models.inference.diagnoser import Diagnoser
from dcpt_models.inference.restorer import Restorer
from dcpt_models.methods.base_model import DegradationModel
from dcpt_models.methods.classifying_model import ClassifyingModel
from dcpt_models.metrics.by_name import psnr, ssim
from dcpt_models.optim.optimizers import load_optimizer
from dcpt_models.training.to_device import Transfer

SIDE = 32
CLASSIFIERS: dict[str, dict[str, Any]] = {
    "DegradationClassifier": {"width": 8},
    "ViTDegradationClassifier": {"grid": 2, "depth": 1},
    "VimDegradationClassifier": {"grid": 2, "depth": 1, "state_size": 2},
}
PRECISIONS = ("fp32", "bf16", "fp16")
COMPOSITES = ["haze", "rain+haze", "noise", "motion_blur+noise"]
# What is trained, and what its `train` section says.
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "restoration": ("RestorationModel", {}),
    "DCPT": ("DCPTModel", {}),
    "DCPT, joint": ("DCPTModel", {"schedule": "joint"}),
    "DCPT of several labels": ("MultiLabelDCPTModel", {}),
    "DC-Train": ("DCTrainModel", {}),
    "masked": ("MaskedDCPTModel", {"mask_patch": 8}),
    "guided": ("DCGuidedModel", {"target": "degradation"}),
    "guided, clean or degraded": ("DCGuidedModel", {"target": "clean_or_degraded"}),
}
ALL = list(itertools.product(METHODS, BACKBONES, CLASSIFIERS, PRECISIONS))


def wanted(combination: tuple[str, ...]) -> set[tuple[str, ...]]:
    """What a combination shows: pairs of what meets in one pass, and the method in a reduced precision."""
    method, backbone, classifier, precision = combination
    if method == "restoration":  # it has no classifier
        return {(backbone, precision), (method, str(precision != "fp32"))}
    pairs = set(itertools.combinations((backbone, classifier, precision), 2))
    return pairs | {(method, str(precision != "fp32"))}


def _covering() -> list[tuple[str, ...]]:
    """Combinations that show everything, chosen one after the other by how much is new."""
    missing = set().union(*map(wanted, ALL))
    chosen = []
    while missing:
        chosen.append(max(ALL, key=lambda one: len(missing & wanted(one))))
        missing -= wanted(chosen[-1])
    return chosen


COVERING = _covering()


@pytest.fixture
def cuda() -> Iterator[None]:
    with pretended_cuda():
        yield


def make(tmp_path: Path, photographs: Path, combination: tuple[str, ...], **network: Any) -> DegradationModel:
    """The model of an option file, on the pretended GPU."""
    method, backbone, classifier, precision = combination
    name, train = METHODS[method]
    options = dcpt_options(photographs, tmp_path / "run")
    options.update(num_gpu=1, model_type=name, network_dc={"type": classifier, **CLASSIFIERS[classifier]})
    arguments = {key: list(value) if isinstance(value, tuple) else value for key, value in SMALL[backbone].items()}
    options["network_g"] = {"type": backbone, **arguments, **network}
    options["train"].update(train, precision=precision, grad_clip=0.1, ema_decay=0.9)
    if name in ("RestorationModel", "DCGuidedModel"):
        del options["train"]["optim_dc"]
    if name == "RestorationModel":
        del options["network_dc"]
    if name == "DCGuidedModel":
        options["path"]["pretrain_network_dc"] = str(photographs)  # it has to be there; nothing is read of it
    with (
        mock.patch.object(DegradationModel, "_load_pretrained"),
        mock.patch.object(ClassifyingModel, "_load_pretrained"),
    ):
        model: DegradationModel = build_model(completed(write(options, tmp_path)))
    return model


def batch(model: DegradationModel, count: int) -> dict[str, Any]:
    """As a loader gives it: in main memory."""
    lq, gt = torch.rand(2, count, 3, SIDE, SIDE)
    names = (COMPOSITES if model.multi_label else NAMES)[:count]
    return {"lq": lq, "gt": gt, "degradation": names, "lq_path": names, "name": names}


def iterate(model: DegradationModel, times: int = 2) -> None:
    """Iterations; in the second, of two parts, the optimiser itself looks whether it may step."""
    transfer = Transfer(model.device, model.memory_format)
    for iteration in range(1, times + 1):
        model.updates.accumulate = iteration
        model.update_learning_rate(iteration)
        model.feed_data(transfer(batch(model, 4)))
        model.optimize_parameters(iteration)


def on_gpu(*tensors: torch.Tensor) -> bool:
    return all(tensor.device == CUDA for tensor in tensors)


@pytest.mark.parametrize("combination", COVERING, ids="-".join)
def test_training(combination: tuple[str, ...], tmp_path: Path, photographs: Path, cuda: None) -> None:
    check_training(make(tmp_path, photographs, combination))


@pytest.mark.thorough
@pytest.mark.parametrize("combination", [one for one in ALL if one not in COVERING], ids="-".join)
def test_every_combination(combination: tuple[str, ...], tmp_path: Path, photographs: Path, cuda: None) -> None:
    check_training(make(tmp_path, photographs, combination))


def check_training(model: DegradationModel) -> None:
    iterate(model)
    for label in model.trained:
        assert on_gpu(*model.networks[label].state_dict().values())
        assert on_gpu(*model.averages[label].network.state_dict().values())
    for optimizer in model.optimizers:
        assert optimizer.found_inf.device == CUDA  # type: ignore[attr-defined]
        load_optimizer(optimizer, optimizer.state_dict())
        moments = [state["exp_avg"] for state in optimizer.state.values()]
        assert moments and on_gpu(*moments)
    assert model.look_at_skipped() == []
    assert model.weights_are_finite()
    assert set(model.get_current_log()) >= {"l_pix", "grad_norm_g"}
    validate(model)


def validate(model: DegradationModel) -> None:
    dataset = SimpleNamespace(opt={"name": "set"})
    loader = type("Loader", (list,), {"dataset": dataset})([batch(model, 1)])
    # What is read has no class, of which there is no average precision.
    with mock.patch("dcpt_models.validation.validate.average_precisions", return_value={}):
        results = model.validate([loader], 1, save_img=True)
    assert set(results["set"]) >= set(METRICS)


def test_networks_that_compute_their_activations_twice(tmp_path: Path, photographs: Path, cuda: None) -> None:
    iterate(make(tmp_path, photographs, ("DCPT", "Restormer", "DegradationClassifier", "bf16"), checkpointing=True), 1)


def test_the_usual_run_has_every_backbone_with_every_classifier_and_precision() -> None:
    classified = [one for one in COVERING if one[0] != "restoration"]
    assert {one[1:3] for one in classified} == set(itertools.product(BACKBONES, CLASSIFIERS))
    assert {(one[1], one[3]) for one in COVERING} == set(itertools.product(BACKBONES, PRECISIONS))
    assert {one[0] for one in COVERING if one[3] != "fp32"} == set(METHODS)
    assert len(COVERING) < len(ALL) / 12


# --- what is not training


def network(name: str) -> Any:
    net: Any = ARCH_REGISTRY.get(name)(**SMALL[name])
    return net


@pytest.mark.parametrize("name", BACKBONES)
def test_restoring_in_tiles_and_turned(name: str, cuda: None) -> None:
    restorer = Restorer(network(name), CUDA, "auto", tta=True, tile=32, overlap=16)
    pixels = np.zeros((32, 56, 3), np.uint8)
    restored, tiling = restorer.restore(pixels)
    assert restored.shape == pixels.shape and tiling.count > 1 and tiling.batch > 1
    assert restorer.dtype == torch.float32  # what is read says that bfloat16 differs too much


def test_a_photograph_of_one_channel_in_bfloat16(cuda: None) -> None:
    restorer = Restorer(network("NAFNet"), CUDA, "bf16")
    assert restorer.restore(np.zeros((24, 40, 1), np.uint16))[0].shape == (24, 40, 1)


@pytest.mark.parametrize("name", [name for name in degradation_names() if find(name)[1].tensors])
def test_degradations(name: str, cuda: None) -> None:
    images = torch.rand(2, 3, 24, 40, device=CUDA)
    generator: Any = Generator()
    assert degrade_batch(images, name, generator).device == CUDA


@pytest.mark.parametrize("luma", [False, True])
@pytest.mark.parametrize("metric", [psnr, ssim])
def test_metrics(metric: Any, luma: bool, cuda: None) -> None:
    images, target = torch.rand(2, 2, 3, 24, 40, device=CUDA)
    assert metric(images, target, crop_border=2, test_y_channel=luma).device == CUDA


def test_features_and_diagnosis(cuda: None) -> None:
    net = network("NAFNet")
    info = net.feature_info
    classifier = ARCH_REGISTRY.get("DegradationClassifier")(feature_info=info, classes=5, width=8)
    net, classifier = net.to(CUDA).eval(), classifier.to(CUDA).eval()
    features = extract_features(net, torch.rand(5, 3, 32, 32), "head", 2)
    assert features.shape[0] == 5 and features.shape[2:] == (2, 2)
    diagnoser = Diagnoser(net, classifier, NAMES, False, 32, {})
    assert diagnoser.diagnose(torch.rand(3, 40, 56)).probabilities.keys() == set(NAMES)
    assert diagnoser.evidence(torch.rand(3, 40, 56), "haze").shape == (40, 56)


# --- that all this can fail


@pytest.fixture
def model(tmp_path: Path, photographs: Path, cuda: None) -> DegradationModel:
    return make(tmp_path, photographs, ("DCPT", "NAFNet", "DegradationClassifier", "bf16"))


def test_a_target_left_on_the_cpu_is_found(model: DegradationModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(model), "_on_device", lambda _, values: torch.tensor(values))
    with pytest.raises(RuntimeError, match="device"):
        iterate(model, 1)


def test_a_batch_left_on_the_cpu_is_found(tmp_path: Path, photographs: Path, cuda: None) -> None:
    model = make(tmp_path, photographs, ("DCPT", "NAFNet", "DegradationClassifier", "fp32"))
    model._take = lambda data: vars(model).update(  # type: ignore[method-assign]
        lq=data["lq"], gt=data["gt"], names=data["degradation"]
    )
    model.feed_data(batch(model, 4))
    with pytest.raises(RuntimeError, match="device"):
        model.optimize_parameters(1)


def test_a_loss_scale_left_on_the_cpu_is_found(model: DegradationModel) -> None:
    model.updates._losses_sound = torch.ones(1, dtype=torch.bool)
    model.updates.begin = lambda: None  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="device"):
        iterate(model, 1)


def test_a_constant_of_a_network_left_on_the_cpu_is_found(model: DegradationModel) -> None:
    class Shifted(nn.Module):
        shift = torch.zeros(24, 1, 1)  # no buffer, so nothing moves it

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.shift

    model.networks["g"].middle_blks.add_module("shifted", Shifted())
    with pytest.raises(RuntimeError, match="device"):
        iterate(model, 1)


def test_a_gradient_on_the_cpu_is_found(model: DegradationModel) -> None:
    class Back(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
            return gradient.cpu()

    criterion = model.cri_pix
    model.cri_pix = lambda image, target: criterion(Back.apply(image), target)
    with pytest.raises(RuntimeError, match=r"cuda:0.*cpu"):
        iterate(model, 1)


def test_a_metric_that_reads_without_moving_is_found(cuda: None) -> None:
    with pytest.raises(TypeError, match="cuda"):
        torch.rand(3, device=CUDA).numpy()
