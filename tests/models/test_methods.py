"""Every method: which parameters each update of an iteration changes, its losses, and what it computes for them."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from basicsr.utils.registry import MODEL_REGISTRY
from small_models import changed, make_model, part_of, snapshot, updates
from small_runs import NAMES, completed, dcpt_options, launch, write

from dcpt_data import DataError, build_val_loaders, check_folders
from dcpt_data.workers.forking import prepare_to_fork
from dcpt_models.errors import OptionError
from dcpt_models.methods.base_model import DegradationModel
from dcpt_models.methods.dc_guided_model import merge
from dcpt_models.methods.masked_dcpt_model import random_patches
from dcpt_models.metrics.average_precision import average_precision

ENCODER, HEAD, CLASSIFIER, GUIDE = "encoder", "head", "classifier", "guide"
Passes = list[tuple[str, str]]  # of net_g while training: image, and what is asked of its features


@dataclass
class Case:
    """What one iteration of a method does under some options of its `train` section.

    `updates` has the parts that each update changes; `passes` what net_g is called with.
    """

    method: str
    updates: list[set[str]]
    passes: Passes
    train: dict[str, Any] = field(default_factory=dict)
    names: list[str] = field(default_factory=lambda: list(NAMES))

    def __str__(self) -> str:
        return "-".join([self.method, *(f"{key}={value}" for key, value in self.train.items())])


def _dcpt(method: str, names: list[str]) -> list[Case]:
    generation, classification = ("gt", "none"), ("lq", "only")
    learns_both = {ENCODER, HEAD, CLASSIFIER}
    return [
        Case(method, [{ENCODER, HEAD}, {ENCODER, CLASSIFIER}], [generation, classification], {}, names),
        Case(method, [learns_both], [generation, classification], {"schedule": "joint"}, names),
        Case(method, [{ENCODER, HEAD}], [generation], {"stages": ["generation"]}, names),
        Case(method, [{ENCODER, CLASSIFIER}], [classification], {"stages": ["classification"]}, names),
        Case(
            method,
            [{ENCODER, CLASSIFIER}, {ENCODER, HEAD}],
            [classification, generation],
            {"stages": ["classification", "generation"]},
            names,
        ),
        Case(
            method,
            [{ENCODER, CLASSIFIER}],
            [classification],
            {"stages": ["classification"], "schedule": "joint"},
            names,
        ),
    ]


COMPOSITES = ["haze", "rain+haze", "low_light+haze+rain", "noise", "motion_blur+noise"]
CASES = [
    Case("RestorationModel", [{ENCODER, HEAD}], [("lq", "none")]),
    Case("SelfGuidedModel", [{ENCODER, HEAD, GUIDE}], [("lq", "none")], {}, COMPOSITES),
    Case("SelfGuidedModel", [{GUIDE}], [("lq", "guide")], {"learns": ["guide"]}, COMPOSITES),
    Case("SelfGuidedModel", [{ENCODER, HEAD}], [("lq", "none")], {"learns": ["restoration"]}, COMPOSITES),
    *_dcpt("DCPTModel", list(NAMES)),
    *_dcpt("MultiLabelDCPTModel", COMPOSITES),
    Case("DCTrainModel", [{ENCODER, HEAD, CLASSIFIER}], [("lq", "also")]),
    Case("MaskedDCPTModel", [{ENCODER, HEAD, CLASSIFIER}], [("masked lq", "also")], {"mask_patch": 8}),
    Case("DCGuidedModel", [{ENCODER, HEAD}], [("lq", "also")], {"target": "degradation"}),
    Case("DCGuidedModel", [{ENCODER, HEAD}], [("lq", "also"), ("gt", "only")], {"target": "clean_or_degraded"}),
]


@pytest.fixture(scope="module")
def classifier_file(tmp_path_factory: pytest.TempPathFactory, photographs: Path) -> Path:
    """The checkpoint of a classifier that was, as it were, trained by DCPT."""
    folder = tmp_path_factory.mktemp("pretrained")
    model = make_model(dcpt_options(photographs, folder / "run"), folder)
    for path in (folder / "run" / "models", folder / "run" / "training_states"):
        path.mkdir(parents=True)
    model.save_networks("latest")
    return folder / "run" / "models" / "net_dc_latest.pth"


@pytest.fixture
def options_of(photographs: Path, tmp_path: Path, classifier_file: Path) -> Callable[..., dict[str, Any]]:
    """Options of a tiny run of a method, with further ones for its `train` section."""

    def options_of(method: str, **train: Any) -> dict[str, Any]:
        options = dcpt_options(photographs, tmp_path / "run")
        options["model_type"] = method
        if method == "DCGuidedModel":
            options["path"]["pretrain_network_dc"] = str(classifier_file)
        kind = MODEL_REGISTRY.get(method)
        known = {option.name for option in fields(kind.TrainOptions)}
        if "dc" not in kind.labels:
            del options["network_dc"]
        if method == "SelfGuidedModel":
            options["network_g"].update(type="GuidedNAFNet", guide_classes=len(NAMES), guide_width=4)
        if "optim_dc" not in known:
            del options["train"]["optim_dc"]
        for key in ("optim_g", "optim_dc"):
            options["train"].get(key, {})["weight_decay"] = 0.0  # only what a loss reaches is to change
        options["train"].update(deepcopy(train))
        return options

    return options_of


def watch_passes(model: DegradationModel) -> Passes:
    """A list that grows with every call of net_g."""
    passes: Passes = []

    def record(_: Any, images: tuple[torch.Tensor], keywords: dict[str, Any]) -> None:
        seen = "gt" if torch.equal(images[0], model.gt) else "lq" if torch.equal(images[0], model.lq) else "masked lq"
        passes.append((seen, keywords.get("features", "none")))

    for network in {model.networks["g"], model.evaluated("g")}:
        network.register_forward_pre_hook(record, with_kwargs=True)
    return passes


def gradients(loss: torch.Tensor, model: DegradationModel) -> set[str]:
    """The parts that a loss has a gradient for which is not zero."""
    parameters = {
        f"{label}.{name}": parameter
        for label, network in model.networks.items()
        for name, parameter in network.named_parameters()
        if parameter.requires_grad
    }
    found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True, retain_graph=True)
    return {part_of(name) for name, grad in zip(parameters, found, strict=True) if grad is not None and grad.any()}


# --- every method -----------------------------------------------------------------------------------------------------


def test_every_registered_method_has_a_case() -> None:
    ours = {name for name, kind in MODEL_REGISTRY if issubclass(kind, DegradationModel)}
    assert ours == {case.method for case in CASES}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_iteration_changes_exactly_these_parameters(case: Case, options_of: Any, tmp_path: Path) -> None:
    model = make_model(options_of(case.method, **case.train), tmp_path, case.names)
    names = set(snapshot(model))
    expected = [{name for name in names if part_of(name) in parts} for parts in case.updates]
    assert updates(model) == expected
    assert all(map(len, expected))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_iteration_computes_nothing_that_no_loss_needs(case: Case, options_of: Any, tmp_path: Path) -> None:
    model = make_model(options_of(case.method, **case.train), tmp_path, case.names)
    passes, heads, judged = watch_passes(model), [], []
    model.networks["g"].ending.register_forward_hook(lambda *_: heads.append(1))
    if "dc" in model.networks:
        model.networks["dc"].register_forward_hook(lambda *_: judged.append(1))
    model.optimize_parameters(1)
    assert passes == case.passes
    assert len(heads) == sum(features in ("none", "also") for _, features in passes)
    assert len(judged) == sum(features in ("only", "also") for _, features in passes)
    for label, network in model.networks.items():
        if label not in model.trained:
            assert not any(p.requires_grad or p.grad is not None for p in network.parameters())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_validation_measures_what_the_method_has(case: Case, options_of: Any, tmp_path: Path) -> None:
    model = make_model(options_of(case.method, **case.train), tmp_path, case.names)
    before, modes = snapshot(model), {label: network.training for label, network in model.networks.items()}
    passes = watch_passes(model)
    results = model.validate(build_val_loaders(model.opt["datasets"])[:2], 1)
    classified = "dc" in model.networks
    assert set(results["average"]) == {"psnr", "ssim"} | ({"accuracy"} if classified else set())
    assert ("accuracy by class" in results) == classified
    assert ("average precision" in results) == (classified and model.multi_label)
    assert not changed(before, model)
    assert modes == {label: network.training for label, network in model.networks.items()}
    assert modes == {label: label in model.trained for label in model.networks}
    # An image is never taken through the encoder twice.
    assert len(passes) == len(set(passes)) * 2 == 2 * len({image for image, _ in passes})


def test_images_are_not_restored_where_none_are_measured(options_of: Any, tmp_path: Path) -> None:
    options = options_of("DCTrainModel")
    options["val"]["metrics"] = {}
    model = make_model(options, tmp_path)
    passes = watch_passes(model)
    results = model.validate(build_val_loaders(model.opt["datasets"])[:1], 1)
    assert set(results["haze"]) == {"accuracy"}
    assert passes == [("lq", "only")]


# --- DCPT and its stages ----------------------------------------------------------------------------------------------


def test_l_pix_of_the_generation_stage_is_between_clean_images(options_of: Any, tmp_path: Path) -> None:
    model = make_model(options_of("DCPTModel"), tmp_path)
    losses = next(model.loss_steps())
    expected = (model.networks["g"](model.gt) - model.gt).abs().mean()
    assert set(losses) == {"l_pix"}
    torch.testing.assert_close(losses["l_pix"], expected)


def test_l_cls_is_the_focal_loss_of_the_features_of_the_degraded_image(options_of: Any, tmp_path: Path) -> None:
    model = make_model(options_of("DCPTModel"), tmp_path)
    _, classification = model.loss_steps()
    logits = model.networks["dc"](model.networks["g"](model.lq, features="only"))
    p = logits.softmax(1)[torch.arange(5), torch.arange(5)]
    assert set(classification) == {"l_cls"}
    torch.testing.assert_close(classification["l_cls"], ((1 - p) ** 2 * -p.log()).mean())


@pytest.mark.parametrize("method", sorted({case.method for case in CASES} - {"RestorationModel"}))
def test_lambda_is_the_loss_weight_of_the_classification_loss(method: str, options_of: Any, tmp_path: Path) -> None:
    kind = "BinaryFocalLoss" if method in ("MultiLabelDCPTModel", "SelfGuidedModel") else "FocalLoss"
    train = {"mask_patch": 8} if method == "MaskedDCPTModel" else {}
    losses = []
    for weight in (1.0, 3.0):
        torch.manual_seed(0)
        model = make_model(options_of(method, cls_opt={"type": kind, "loss_weight": weight}, **train), tmp_path)
        losses.append({name: value.item() for step in model.loss_steps() for name, value in step.items()})
    assert losses[1]["l_cls"] == pytest.approx(3 * losses[0]["l_cls"])
    assert losses[1]["l_pix"] == pytest.approx(losses[0]["l_pix"])


def test_without_the_classification_stage_nothing_of_a_classifier_is_needed(options_of: Any, tmp_path: Path) -> None:
    options = options_of("DCPTModel", stages=["generation"])
    del options["network_dc"], options["train"]["optim_dc"], options["degradations"]
    model = make_model(options, tmp_path)
    assert list(model.networks) == ["g"]
    (losses,) = model.loss_steps()
    assert set(losses) == {"l_pix"}


def test_restoration_loss_is_between_the_restored_and_the_clean_image(options_of: Any, tmp_path: Path) -> None:
    model = make_model(options_of("RestorationModel"), tmp_path)
    (losses,) = model.loss_steps()
    assert set(losses) == {"l_pix"}
    torch.testing.assert_close(losses["l_pix"], (model.networks["g"](model.lq) - model.gt).abs().mean())


# --- DC-Train ---------------------------------------------------------------------------------------------------------


def test_dc_train_restores_and_classifies_the_degraded_image(options_of: Any, tmp_path: Path) -> None:
    model = make_model(options_of("DCTrainModel"), tmp_path)
    (losses,) = model.loss_steps()
    logits = model.networks["dc"](model.networks["g"](model.lq, features="only"))
    p = logits.softmax(1)[torch.arange(5), torch.arange(5)]
    torch.testing.assert_close(losses["l_pix"], (model.networks["g"](model.lq) - model.gt).abs().mean())
    torch.testing.assert_close(losses["l_cls"], ((1 - p) ** 2 * -p.log()).mean())
    assert gradients(losses["l_cls"], model) == {ENCODER, CLASSIFIER}
    assert gradients(losses["l_pix"], model) == {ENCODER, HEAD}


# --- DC-guided training -----------------------------------------------------------------------------------------------


def test_guidance_by_degradation_is_the_cross_entropy_of_the_frozen_classifier(options_of: Any, tmp_path: Path) -> None:
    model = make_model(options_of("DCGuidedModel", target="degradation"), tmp_path)
    (losses,) = model.loss_steps()
    p = model.networks["dc"](model.networks["g"](model.lq, features="only")).softmax(1)
    torch.testing.assert_close(losses["l_cls"], -p[torch.arange(5), torch.arange(5)].log().mean())
    torch.testing.assert_close(losses["l_pix"], (model.networks["g"](model.lq) - model.gt).abs().mean())


def test_guidance_by_two_categories_is_about_the_own_class_where_none_is_clean(options_of: Any, tmp_path: Path) -> None:
    model = make_model(options_of("DCGuidedModel"), tmp_path)  # the default, as in the paper
    (losses,) = model.loss_steps()
    net_g, net_dc = model.networks["g"], model.networks["dc"]
    own = torch.arange(5)
    degraded = net_dc(net_g(model.lq, features="only")).softmax(1)[own, own]
    still_degraded = net_dc(net_g(model.gt, features="only")).softmax(1)[own, own]
    expected = -(torch.cat([degraded, 1 - still_degraded])).log().mean()
    torch.testing.assert_close(losses["l_cls"], expected)
    right = torch.cat([degraded > 0.5, still_degraded < 0.5]).float().mean()
    assert model.get_current_log()["acc"] == pytest.approx(right.item())


def test_guidance_by_two_categories_is_about_the_class_clean_where_there_is_one(
    options_of: Any, tmp_path: Path, classifier_file: Path
) -> None:
    options = options_of("DCGuidedModel")
    options["degradations"][1] = "clean"
    content = torch.load(classifier_file, weights_only=True)
    torch.save({**content, "degradations": options["degradations"]}, tmp_path / "net_dc.pth")
    options["path"]["pretrain_network_dc"] = str(tmp_path / "net_dc.pth")
    # A degradation that the classifier has no class for can still be degraded.
    model = make_model(options, tmp_path, ["snow", "clean", "rain"])
    (losses,) = model.loss_steps()
    net_g, net_dc = model.networks["g"], model.networks["dc"]
    clean_lq, clean_gt = (net_dc(net_g(image, features="only")).softmax(1)[:, 1] for image in (model.lq, model.gt))
    p = torch.cat([1 - clean_lq[:1], clean_lq[1:2], 1 - clean_lq[2:], clean_gt])
    torch.testing.assert_close(losses["l_cls"], -p.log().mean())


@pytest.mark.parametrize("target", ["degradation", "clean_or_degraded"])
def test_guidance_reaches_the_encoder_and_leaves_the_classifier(target: str, options_of: Any, tmp_path: Path) -> None:
    model = make_model(options_of("DCGuidedModel", target=target, ema_decay=0.9), tmp_path)
    net_dc = model.networks["dc"]
    loaded = torch.load(model.opt["path"]["pretrain_network_dc"], weights_only=True)["params"]
    (losses,) = model.loss_steps()
    assert gradients(losses["l_cls"], model) == {ENCODER}
    for iteration in (1, 2):
        model.optimize_parameters(iteration)
        assert not any(module.training for module in net_dc.modules())
        assert model.networks["g"].training
    model.validate(build_val_loaders(model.opt["datasets"])[:1], 2)
    assert not any(module.training for module in net_dc.modules())
    assert "dc" not in model.averages
    assert loaded.keys() == net_dc.state_dict().keys()
    assert all(torch.equal(value, loaded[name]) for name, value in net_dc.state_dict().items())


def test_merged_classes_have_the_sum_of_their_probabilities() -> None:
    logits, chosen = 5 * torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    logits[0] = torch.tensor([200.0, 0, 0, -200.0])  # certain; neither overflows nor loses its gradient
    logits.requires_grad_()
    own = logits.softmax(1)[torch.arange(6), chosen]
    torch.testing.assert_close(merge(logits, chosen).softmax(1), torch.stack([own, 1 - own], 1))
    (grad,) = torch.autograd.grad(
        torch.nn.functional.cross_entropy(merge(logits, chosen), torch.ones(6).long()), logits
    )
    assert grad.isfinite().all()
    assert grad[0, 0] == pytest.approx(1 / 6)


def test_classes_in_another_order_than_the_classifier_was_trained_with_are_refused(
    options_of: Any, tmp_path: Path
) -> None:
    options = options_of("DCGuidedModel")
    options["degradations"] = [*NAMES[1:], NAMES[0]]
    with pytest.raises(
        OptionError, match=r"key 'degradations': .* but .*net_dc_latest.pth classifies \['haze', 'rain'"
    ):
        make_model(options, tmp_path)
    options["path"]["strict_load_dc"] = False
    make_model(options, tmp_path)


# --- masked DCPT ------------------------------------------------------------------------------------------------------


def test_masked_dcpt_hides_the_share_asked_for_of_lq_alone(options_of: Any, tmp_path: Path) -> None:
    model = make_model(options_of("MaskedDCPTModel", mask_patch=4, mask_ratio=0.75), tmp_path)
    lq, gt, seen = model.lq.clone(), model.gt.clone(), []
    model.networks["g"].register_forward_pre_hook(lambda _, images: seen.append(images[0]))
    torch.manual_seed(3)
    (losses,) = model.loss_steps()
    (masked,) = seen
    patches = masked.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 1, 4, 5).reshape(5, 36, -1)
    original = lq.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 1, 4, 5).reshape(5, 36, -1)
    hidden = (patches == 0).all(2)
    assert hidden.sum(1).tolist() == [27] * 5
    assert torch.equal(patches[~hidden], original[~hidden])
    assert len({tuple(row) for row in hidden.tolist()}) == 5  # another choice for each image
    assert torch.equal(model.lq, lq)
    assert torch.equal(model.gt, gt)
    net_g = model.networks["g"]
    torch.testing.assert_close(losses["l_pix"], (net_g(masked) - gt).abs().mean())
    p = model.networks["dc"](net_g(masked, features="only")).softmax(1)[torch.arange(5), torch.arange(5)]
    torch.testing.assert_close(losses["l_cls"], ((1 - p) ** 2 * -p.log()).mean())


def test_the_mask_follows_from_the_seed_of_the_iteration(options_of: Any, tmp_path: Path) -> None:
    model = make_model(options_of("MaskedDCPTModel", mask_patch=4), tmp_path)
    masked = []
    for seed in (1, 1, 2):
        model.drawing_seed = seed
        masked.append(model.network_input())
    assert torch.equal(masked[0], masked[1])
    assert not torch.equal(masked[0], masked[2])
    assert masked[0].is_contiguous(memory_format=torch.channels_last)


def test_every_patch_is_hidden_equally_often_and_borders_may_be_cut() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = random_patches(2000, 20, 35, 16, 0.5, torch.device("cpu"), generator)
    assert hidden.shape == (2000, 1, 20, 35)
    corners = hidden[:, 0, ::16, ::16].reshape(2000, 6)
    assert (corners.sum(1) == 3).all()
    assert (corners.float().mean(0) - 0.5).abs().max() < 0.05
    assert torch.equal(
        hidden, corners.view(-1, 1, 2, 3).repeat_interleave(16, 2).repeat_interleave(16, 3)[..., :20, :35]
    )


def test_a_crop_of_too_few_patches_is_refused() -> None:
    with pytest.raises(ValueError, match=r"of the 1 patches of 16 pixels in a crop of 16x16.*smaller train:mask_patch"):
        random_patches(1, 16, 16, 16, 0.5, torch.device("cpu"))


# --- multi-label DCPT -------------------------------------------------------------------------------------------------


def test_multi_label_loss_is_a_focal_yes_or_no_for_every_class(options_of: Any, tmp_path: Path) -> None:
    model = make_model(options_of("MultiLabelDCPTModel"), tmp_path, COMPOSITES)
    labels = [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 0, 0, 1], [0, 0, 1, 0, 0], [0, 0, 1, 1, 0]]
    assert NAMES == ["haze", "rain", "noise", "motion_blur", "low_light"]
    assert model.multi_hot().tolist() == labels
    _, losses = model.loss_steps()
    logits = model.networks["dc"](model.networks["g"](model.lq, features="only")).detach().double().numpy()
    yes = 1 / (1 + np.exp(-logits))
    p = np.where(np.array(labels) == 1, yes, 1 - yes)
    assert losses["l_cls"].item() == pytest.approx(((1 - p) ** 2 * -np.log(p)).mean(), rel=1e-5)
    exact = np.mean(((logits > 0) == np.array(labels)).all(1))
    assert model.get_current_log()["acc"] == pytest.approx(exact)


def test_an_image_is_right_if_all_of_its_classes_are(options_of: Any, tmp_path: Path) -> None:
    model = make_model(options_of("MultiLabelDCPTModel"), tmp_path, ["rain+haze", "rain+haze", "noise"])
    logits = torch.tensor([[2.0, 1, -1, -1, -3], [2.0, -1, -1, -1, -3], [-1.0, -1, 0.1, -1, -3]])
    assert model.rightly_classified(logits, model.target()).tolist() == [True, False, True]


def test_a_part_that_is_not_listed_is_named(options_of: Any, tmp_path: Path) -> None:
    model = make_model(options_of("MultiLabelDCPTModel"), tmp_path, ["haze", "low_ligth+rain"])
    with pytest.raises(ValueError, match=r"'low_ligth' of 'low_ligth\+rain', which .*; did you mean 'low_light'\?"):
        model.multi_hot()


def test_one_label_for_a_composite_hints_at_the_multi_label_model(options_of: Any, tmp_path: Path) -> None:
    model = make_model(options_of("DCPTModel"), tmp_path, ["haze", "haze+rain"])
    with pytest.raises(ValueError, match=r"'haze\+rain'.*model_type: MultiLabelDCPTModel"):
        model.class_indices()
    model.degradations = ["haze", "haze+rain"]  # or it is a class like any other
    assert model.class_indices().tolist() == [0, 1]


@pytest.fixture
def pairs(photographs: Path, tmp_path: Path) -> dict[str, str]:
    """Folders in which every lq is its own gt; a set may not name one folder for both."""
    (tmp_path / "lq").symlink_to(photographs)
    return {"dataroot_gt": str(photographs), "dataroot_lq": str(tmp_path / "lq")}


@pytest.fixture
def multi_label(options_of: Any, pairs: dict[str, str], tmp_path: Path) -> DegradationModel:
    """A model with three validation sets: two of composites, one of a single degradation."""
    options = options_of("MultiLabelDCPTModel")
    for key in [key for key in options["datasets"] if key != "train"]:
        del options["datasets"][key]
    for key, name in (("a", "haze+rain"), ("b", "haze"), ("c", "rain+noise")):
        options["datasets"][f"val_{key}"] = {"type": "DegradationDataset", "degradation": name, **pairs}
    return make_model(options, tmp_path, COMPOSITES)


def test_average_precision_is_over_the_images_of_all_sets(multi_label: DegradationModel) -> None:
    loaders = build_val_loaders(multi_label.opt["datasets"])
    results = multi_label.validate(loaders, 1)
    logits, labels, right = [], [], []
    net_g, net_dc = multi_label.networks["g"].eval(), multi_label.networks["dc"].eval()
    for loader in loaders:
        for batch in loader:
            with torch.no_grad():
                logits.append(net_dc(net_g(batch["lq"], features="only"))[0].tolist())
            labels.append([name in batch["degradation"][0].split("+") for name in NAMES])
            right.append([value > 0 for value in logits[-1]] == labels[-1])
    assert [sum(row) for row in labels] == [2, 2, 1, 1, 2, 2]
    found = results["average precision"]
    assert list(found) == ["haze", "rain", "noise", "mean"]
    for i, name in enumerate(NAMES[:3]):
        expected = average_precision([row[i] for row in logits], [row[i] for row in labels])
        assert found[name] == pytest.approx(expected)
    assert found["mean"] == pytest.approx(sum(found[name] for name in NAMES[:3]) / 3)
    assert results["average"]["accuracy"] == np.mean(right)
    assert multi_label.best.records["average precision"]["mean"] == {"val": found["mean"], "iter": 1}


def test_average_precision_is_the_same_on_two_processes(multi_label: DegradationModel, tmp_path: Path) -> None:
    whole = multi_label.validate(build_val_loaders(multi_label.opt["datasets"]), 1)

    def evaluate(rank: int) -> None:
        torch.set_num_threads(1)  # threads do not survive the fork
        dist.init_process_group("gloo", f"file://{tmp_path}/meeting", rank=rank, world_size=2)
        multi_label.opt.update(rank=rank, world_size=2)
        results = multi_label.validate(build_val_loaders(multi_label.opt["datasets"], rank, 2), 1)
        (tmp_path / f"{rank}.json").write_text(json.dumps(results))

    prepare_to_fork()
    processes = [
        multiprocessing.get_context("fork").Process(target=evaluate, args=(rank,), daemon=True) for rank in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    assert [process.exitcode for process in processes] == [0, 0]
    for rank in range(2):
        shared = json.loads((tmp_path / f"{rank}.json").read_text())
        assert shared.keys() == whole.keys()
        for name, values in whole.items():
            assert shared[name] == pytest.approx(values)


# --- whole runs -------------------------------------------------------------------------------------------------------


def test_clean_images_can_be_a_class(options_of: Any, pairs: dict[str, str], tmp_path: Path) -> None:
    options = options_of("DCPTModel", total_iter=2)
    haze, clean = {"degradation": "haze", **pairs}, {"degradation": "clean", **pairs}
    options["degradations"] = ["haze", "clean"]
    options["datasets"] = {
        "train": {**options["datasets"]["train"], "sets": {"haze": haze, "clean": clean}},
        "val_haze": {"type": "DegradationDataset", **haze},
        "val_clean": {"type": "DegradationDataset", **clean},
    }
    results = launch(write(options, tmp_path))
    assert set(results["accuracy by class"]) == {"haze", "clean"}
    assert results["val_clean"].keys() == {"psnr", "ssim", "accuracy"}


def test_composites_are_trained_and_validated_by_the_launcher(
    options_of: Any, pairs: dict[str, str], tmp_path: Path
) -> None:
    options = options_of("MultiLabelDCPTModel", total_iter=2)
    both = {"degradation": "low_light+haze", **pairs}
    options["degradations"] = ["haze", "low_light"]
    options["datasets"] = {
        "train": {**options["datasets"]["train"], "sets": {"both": both, "haze": dict(both, degradation="haze")}},
        "val_both": {"type": "DegradationDataset", **both},
    }
    results = launch(write(options, tmp_path))
    assert set(results["average precision"]) == {"haze", "low_light", "mean"}
    with pytest.raises(DataError, match=r"val_both.*'low_light\+haze' is not among `degradations`, nor .* 'low_light'"):
        check_folders({"val_both": {"type": "DegradationDataset", **both}}, ["haze", "low_ligth"])


# --- options ----------------------------------------------------------------------------------------------------------


def _mistakes() -> dict[str, tuple[str, list[str], str]]:
    """Method, forced options, and what the message says."""
    return {
        "no stage": ("DCPTModel", ["train:stages=[]"], "'train:stages': must be [generation, classification] or one"),
        "a stage twice": (
            "DCPTModel",
            ["train:stages=[generation, generation]"],
            "or one of the two, not ['generation'",
        ),
        "stage": ("DCPTModel", ["train:stages=[generate]"], "did you mean 'generation'?"),
        "no optimiser": ("DCPTModel", ["train:optim_dc=~"], "'train:optim_dc'"),
        "no classifier": ("DCPTModel", ["network_dc=~"], "'network_dc': is needed by DCPTModel"),
        "no classes": ("DCTrainModel", ["degradations=~"], "'degradations': is needed by DCTrainModel"),
        "ratio": ("MaskedDCPTModel", ["train:mask_ratio=1"], "'train:mask_ratio': must be below 1, not 1"),
        "patch": ("MaskedDCPTModel", ["train:mask_patch=0"], "'train:mask_patch': must be 1 or more, not 0"),
        "target": ("DCGuidedModel", ["train:target=degradaton"], "did you mean 'degradation'?"),
        "optimiser": ("DCGuidedModel", ["train:optim_dc={type: AdamW}"], "unknown key 'optim_dc'"),
        "weights": ("DCGuidedModel", ["path:pretrain_network_dc=~"], "the net_dc_*.pth of a DCPT run"),
        "loss": ("RestorationModel", ["train:cls_opt={type: FocalLoss}"], "unknown key 'cls_opt'"),
    }


@pytest.mark.parametrize("mistake", _mistakes())
def test_a_mistake_in_the_options_is_named(mistake: str, options_of: Any, tmp_path: Path) -> None:
    method, force, message = _mistakes()[mistake]
    file = write(options_of(method), tmp_path)
    completed(file)  # right before
    with pytest.raises(OptionError) as error:
        completed(file, "--force_yml", *force)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("method", "loss", "advice"),
    [
        ("DCPTModel", "BinaryFocalLoss", "try FocalLoss"),
        ("DCPTModel", "L1Loss", "try FocalLoss"),
        ("MultiLabelDCPTModel", "FocalLoss", "try BinaryFocalLoss"),
    ],
)
def test_a_loss_that_cannot_classify_is_refused(
    method: str, loss: str, advice: str, options_of: Any, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match=f"'train:cls_opt': {loss} .*{advice}"):
        make_model(options_of(method, cls_opt={"type": loss}), tmp_path)


def test_the_train_section_of_a_test_is_checked_but_may_be_short(
    options_of: Any, classifier_file: Path, tmp_path: Path
) -> None:
    options = options_of("DCGuidedModel")
    options["train"] = {"target": "degradation"}
    assert completed(write(options, tmp_path), is_train=False)["train"] == options["train"]
    with pytest.raises(OptionError, match="did you mean 'degradation'"):
        completed(write(options, tmp_path), "--force_yml", "train:target=degradatoin", is_train=False)
