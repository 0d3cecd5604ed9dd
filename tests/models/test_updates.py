"""The updates of an iteration: micro-batches, precision, losses and gradients that are not finite."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from small_models import changed, make_model, snapshot
from small_runs import NAMES, dcpt_options, restoration_options
from torch.utils._python_dispatch import TorchDispatchMode

from dcpt_data import build_val_loaders
from dcpt_models.methods.base_model import DegradationModel
from dcpt_models.optim.optimizers import build_optimizer
from dcpt_models.optim.updates import LossScale, Precision, Updates, split
from dcpt_models.training.loop import set_tf32
from dcpt_models.training.to_device import Transfer

SIX = [*NAMES, "haze"]
NAN, INFINITY = float("nan"), float("inf")
Make = Callable[..., DegradationModel]


@pytest.fixture
def make(photographs: Path, tmp_path: Path) -> Make:
    """Makes a model on six images, of a DCPT option file unless another is given, with `train` options changed."""

    def build(kind: Any = dcpt_options, **train: Any) -> DegradationModel:
        options = kind(photographs, tmp_path / "run")
        options["train"].update(train)
        options["datasets"]["train"]["batch_size_per_gpu"] = len(SIX)
        torch.manual_seed(0)
        model = make_model(options, tmp_path, SIX)
        model.batch["lq_path"] = [f"image{i}.png" for i in range(len(SIX))]
        return model

    return build


def state(model: DegradationModel) -> dict[str, Any]:
    """All that an update changes."""
    changing = {
        "weights": snapshot(model),
        "optimizers": [optimizer.state_dict()["state"] for optimizer in model.optimizers],
        "averages": {label: average.network.state_dict() for label, average in model.averages.items()},
    }
    return deepcopy(changing)


def iterate(model: DegradationModel, iteration: int, spoil: float | None = None, key: str = "lq") -> None:
    """An iteration on the model's batch, with one value of it replaced."""
    batch = model.batch
    model.feed_data({**batch, key: batch[key].clone()})
    if spoil is not None:
        model.batch[key][1, 0, 3, 3] = spoil
        model.feed_data(model.batch)
    model.optimize_parameters(iteration)
    model.feed_data(batch)


SGD = {"type": "SGD", "lr": 0.01}


def in_double_precision(model: DegradationModel) -> DegradationModel:
    """The model with weights and batch in float64; in float32, rounding moves values over the kinks of ReLU."""
    for network in (*model.networks.values(), *(average.network for average in model.averages.values())):
        network.double()
    model.feed_data({**model.batch, "lq": model.batch["lq"].double(), "gt": model.batch["gt"].double()})
    return model


@pytest.mark.parametrize(
    ("kind", "train"),
    [
        (dcpt_options, {"optim_g": SGD, "optim_dc": SGD}),
        (dcpt_options, {"optim_g": SGD, "optim_dc": SGD, "schedule": "joint"}),
        (restoration_options, {"optim_g": SGD, "grad_clip": 0.5}),
        (restoration_options, {"optim_g": SGD, "pixel_opt": {"type": "PSNRLoss", "loss_weight": 0.1}}),
    ],
    ids=["alternate", "joint", "clipped", "psnr"],
)
def test_parts_of_a_batch_make_the_updates_of_the_whole(kind: Any, train: dict[str, Any], make: Make) -> None:
    models = [in_double_precision(make(kind, accumulate=parts, **train)) for parts in (1, 2, 3, 6)]
    start = snapshot(models[0])
    for model in models:
        for iteration in (1, 2):
            model.optimize_parameters(iteration)
    whole = snapshot(models[0])
    assert max((whole[name] - start[name]).abs().max() for name in start) > 2.5e-4
    logs = [model.get_current_log() for model in models]
    for model, log in zip(models[1:], logs[1:], strict=True):
        torch.testing.assert_close(snapshot(model), whole, rtol=1e-7, atol=1e-9)
        assert log == pytest.approx(logs[0], rel=1e-6)  # a log is in float32


def test_a_batch_is_split_by_samples_and_only_evenly() -> None:
    batch = {"lq": torch.arange(4.0), "lq_path": list("abcd")}
    first, second = split(batch, 2)
    assert (first["lq"].tolist(), second["lq_path"]) == ([0, 1], ["c", "d"])
    with pytest.raises(ValueError, match="a batch of 4 cannot be split into 3"):
        split(batch, 3)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_training_computes_in_half_precision_and_all_else_in_fp32(precision: str, make: Make) -> None:
    full, half = make(restoration_options), make(restoration_options, precision=precision)
    seen = set()
    half.networks["g"].intro.register_forward_hook(lambda module, given, output: seen.add(output.dtype))
    dtypes = set()
    half.optimizers[0].register_step_pre_hook(
        lambda optimizer, *_: dtypes.update(x.dtype for p in optimizer.param_groups[0]["params"] for x in (p, p.grad))
    )
    backward = set()
    half.networks["g"].intro.weight.register_hook(lambda _: backward.add(torch.is_autocast_enabled("cpu")))
    for model in (full, half):
        model.optimize_parameters(1)
    assert dtypes == {torch.float32}
    assert backward == {False}  # PyTorch advises against a backward pass under autocast
    assert seen == {torch.bfloat16 if precision == "bf16" else torch.float16}
    losses = [model.get_current_log()["l_pix"] for model in (full, half)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)
    assert losses[0] != losses[1]
    assert changed(snapshot(full), half)
    seen.clear()
    half.averages.clear()
    half.validate(build_val_loaders(half.opt["datasets"])[:1], 1)
    assert seen == {torch.float32}


@pytest.mark.parametrize("waits", [True, False], ids=["host", "device"])
@pytest.mark.parametrize(
    ("key", "value"),
    [("lq", NAN), ("gt", INFINITY)],  # of |x - infinity| the gradient is finite
)
def test_what_is_not_finite_changes_nothing(waits: bool, key: str, value: float, make: Make) -> None:
    model = make(restoration_options)
    model.updates.waits = waits  # on a GPU, the optimiser leaves the update out by itself; on a CPU it can, too
    iterate(model, 1)
    assert model.guard.read() == []
    before = state(model)
    average = before.pop("averages")
    iterate(model, 2, value, key)
    after = state(model)
    moved = after.pop("averages")
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    for name, mean in moved["g"].items():  # goes on to follow the weights, which have stayed where they were
        torch.testing.assert_close(mean, 0.9 * average["g"][name] + 0.1 * before["weights"][f"g.{name}"])
    (skip,) = model.guard.read()
    assert (skip.iteration, skip.files, skip.losses) == (2, model.batch["lq_path"], True)
    assert model.guard.in_a_row == 1
    iterate(model, 3)
    assert model.guard.read() == []
    assert model.guard.in_a_row == 0
    assert changed(before["weights"], model)


def test_the_device_leaves_out_the_same_updates_as_the_host(make: Make) -> None:
    sequence = [None, NAN, None, INFINITY, NAN, None]
    models = [make(), make()]
    models[1].updates.waits = False
    for model in models:
        for iteration, value in enumerate(sequence, 1):
            iterate(model, iteration, value)
    torch.testing.assert_close(state(models[1]), state(models[0]), rtol=0, atol=0)
    assert models[1].guard.read() == models[0].guard.read() != []
    logs = [model.get_current_log() for model in models]
    assert logs[0] == logs[1]
    assert all(value == value for value in logs[0].values())  # means of the iterations that were finite


def test_the_update_before_a_bad_one_of_the_same_iteration_is_made(make: Make) -> None:
    model = make()
    before = snapshot(model)
    iterate(model, 1, NAN, "lq")  # the generation stage reads gt alone
    assert {name.split(".")[0] for name in changed(before, model)} == {"g"}
    (skip,) = model.guard.read()
    assert skip.losses


def test_one_bad_part_of_a_batch_spoils_its_update(make: Make) -> None:
    model = make(restoration_options, accumulate=3)
    before = snapshot(model)
    iterate(model, 1, NAN)
    assert not changed(before, model)
    assert len(model.guard.read()) == 1


def test_an_optimiser_that_cannot_be_fused_leaves_updates_out_too(make: Make) -> None:
    model = make(restoration_options, optim_g={"type": "RMSprop", "lr": 1e-3})
    model.updates.waits = False
    iterate(model, 1)
    before = state(model)["weights"]
    iterate(model, 2, NAN)
    assert not changed(before, model)


class Waits(TorchDispatchMode):
    """Counts how often a value is taken off its device, which would wait for a GPU."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        Waits.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("train", [{}, {"precision": "fp16"}, {"accumulate": 2, "grad_clip": 0.1}], ids=str)
@pytest.mark.parametrize("kind", [dcpt_options, restoration_options])
def test_an_iteration_waits_for_nothing(kind: Any, train: dict[str, Any], make: Make) -> None:
    model = make(kind, **train)
    model.updates.waits = False
    while not all(optimizer.state for optimizer in model.optimizers):
        model.optimize_parameters(1)  # an optimiser's first update is waited for
    Waits.count = 0
    with Waits():
        model.optimize_parameters(2)
        assert Waits.count == 0
        model.guard.read()
        model.get_current_log()
    assert model.updates.waits is False


def test_the_loss_scale_falls_where_fp16_overflows_and_rises_again(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LossScale, "PATIENCE", 2)
    monkeypatch.setattr(LossScale, "START", 2.0**32)
    model = make(restoration_options, precision="fp16")
    before = snapshot(model)
    model.optimize_parameters(1)
    assert not changed(before, model)
    (skip,) = model.guard.read()
    assert (skip.losses, skip.loss_scale, skip.expected) == (False, 2.0**31, True)
    assert model.guard.in_a_row == 0  # it only shows that the scale was too large
    scales = []
    while len(scales) < 3 or scales[-1] <= scales[-2]:
        model.optimize_parameters(2)
        scales.append(model.updates.scale.value.item())
    assert changed(before, model)
    assert scales[-4:] == [scales[-1], scales[-1] / 2, scales[-1] / 2, scales[-1]]


def test_scaled_losses_make_the_updates_of_plain_ones() -> None:
    # What is scaled is taken back before clipping and updating.
    weights = []
    precisions: tuple[Precision, ...] = ("fp32", "fp16")
    for precision in precisions:
        torch.manual_seed(0)
        network = torch.nn.Linear(4, 1)
        optimizer = torch.optim.SGD(network.parameters(), 0.5)
        updates = Updates({"g": network}, [optimizer], torch.device("cpu"), precision, grad_clip=0.3)
        x = torch.randn(8, 4)
        updates.backward({"l": (network.weight @ x.T).square().mean(), "b": network.bias.sum()})
        updates.apply()
        weights.append(network.weight.detach())
    torch.testing.assert_close(*weights)


def test_optimisers_are_fused_unless_the_option_file_says_otherwise() -> None:
    parameters = [torch.nn.Parameter(torch.ones(2))]
    assert build_optimizer(parameters, {"type": "AdamW", "lr": 1e-3}).param_groups[0]["fused"] is True
    assert build_optimizer(parameters, {"type": "AdamW", "fused": False}).param_groups[0]["fused"] is False
    assert not build_optimizer(parameters, {"type": "Adam", "foreach": True}).param_groups[0]["fused"]
    assert "fused" not in build_optimizer(parameters, {"type": "RMSprop"}).param_groups[0]


def test_compiled_networks_train_alike_and_keep_their_names(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))  # traced, without a C++ compiler
    models = [make(restoration_options), make(restoration_options, compile=True)]
    assert type(models[1].net_g).__name__ == "OptimizedModule"
    for model in models:
        model.optimize_parameters(1)
    torch.testing.assert_close(state(models[1]), state(models[0]))
    assert list(models[1].networks["g"].state_dict()) == list(models[0].networks["g"].state_dict())
    assert list(models[1].averages["g"].network.state_dict()) == list(models[0].networks["g"].state_dict())


@pytest.mark.parametrize("channels_last", [True, False])
def test_the_layout_in_memory_can_be_chosen(channels_last: bool, make: Make) -> None:
    model = make(restoration_options, channels_last=channels_last)
    for tensor in (model.lq, model.networks["g"].intro.weight):
        assert tensor.is_contiguous(memory_format=torch.channels_last) is channels_last


def test_batches_go_to_the_device_and_stay_there_on_a_cpu() -> None:
    batch = {"lq": torch.rand(2, 3, 8, 8), "degradation": ["haze", "rain"]}
    assert Transfer(torch.device("cpu"), torch.channels_last)(batch) is batch


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("train", [{}, {"precision": "bf16"}, {"precision": "fp16", "accumulate": 2}], ids=str)
@pytest.mark.parametrize("kind", [dcpt_options, restoration_options])
def test_a_gpu_is_not_waited_for_between_log_lines(kind: Any, train: dict[str, Any], make: Make) -> None:
    model = make(kind, **train)
    model.opt["num_gpu"] = 1
    model.device = torch.device("cuda")
    for network in model.networks.values():
        network.to("cuda")
    model._init_training()
    transfer = Transfer(model.device, model.memory_format)
    batch = {k: v.pin_memory() if isinstance(v, torch.Tensor) else v for k, v in model.batch.items()}
    while not all(optimizer.state for optimizer in model.optimizers):
        model.feed_data(transfer(batch))
        model.optimize_parameters(1)
    before = snapshot(model)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for iteration in range(2, 5):
            model.feed_data(transfer(batch))
            model.optimize_parameters(iteration)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert model.guard.read() == []
    assert changed(before, model)


def test_tf32_is_switched_on_and_off_and_otherwise_left_alone() -> None:
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        for allowed, precision in ((True, "high"), (False, "highest"), (None, "highest")):
            set_tf32(allowed)
            assert torch.get_float32_matmul_precision() == precision
            assert torch.backends.cudnn.allow_tf32 is (precision == "high")
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]
