"""How fast a device trains and restores, beside the published forms, and what share of its floor that is."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from basicsr.archs import build_network
from torch import nn

from dcpt_models.errors import OptionError
from dcpt_models.methods.base_model import DegradationModel
from dcpt_models.training.loop import set_tf32
from dcpt_tools.measuring.made_models import NETWORKS, OPTIMIZER, SMALL, WIDTH, Batch, dcpt, restoration
from dcpt_tools.measuring.session import Row, Session
from dcpt_tools.measuring.textbook import PUBLISHED, PlainTraining, reference, wake
from dcpt_tools.measuring.timing import in_turns, measure_floor, peak_memory, share_of_floor

Call = Callable[[], Any]
REPEATS = 5


def floors(session: Session) -> Iterator[Row]:
    """Rates of a large matrix product in each precision, and of a copy."""
    for name, (dtype, tf32) in _precisions(session).items():
        set_tf32(tf32)
        found = session.floors[name] = measure_floor(session.device, dtype)
        yield {"what": name, "matrix product, TFLOP/s": found.flops / 1e12, "copy, GB/s": found.bytes / 1e9}


def _precisions(session: Session) -> dict[str, tuple[torch.dtype, bool]]:
    """Name -> type of products, and whether TF32 is allowed."""
    tf32 = {"TF32": (torch.float32, True)} if session.on_gpu else {}
    return {"fp32": (torch.float32, False), **tf32, "bf16": (torch.bfloat16, False)}


def network_of(session: Session, name: str) -> dict[str, Any]:
    """Its section of an option file: in the size of its paper, or small."""
    if session.small:
        return {"type": name, **SMALL[name]}
    return {"type": name, "width": WIDTH} if name == "NAFNet" else {"type": name}


def with_tf32(allowed: bool, call: Call) -> Call:
    """The call, before which TF32 is allowed or not."""

    def set_and_call() -> Any:
        set_tf32(allowed)
        return call()

    return set_and_call


def rows_of(session: Session, title: str, calls: Mapping[str, Call]) -> Iterator[Row]:
    """Time calls in turns; the published form is what others are held against, and each begins with its precision."""
    found = in_turns(calls, 1 if session.small else REPEATS, device=session.device, before=1)
    for label, call in calls.items():
        row = {"what": f"{title}: {label}", **found.row(label, "")}
        row["what"] = f"{title}: {label}"
        if PUBLISHED in calls and label != PUBLISHED:
            row["times as fast"] = found.ratio(PUBLISHED, label)
        row["peak MB"] = peak_memory(call, session.device) / 1e6
        precision = "fp32" if label == PUBLISHED else label.split(",")[0]
        if precision in session.floors and "compile" not in label and "graph" not in label:
            row |= share_of_floor(call, session.floors[precision], row)
        yield row


def step(session: Session, name: str) -> Iterator[Row]:
    """An iteration of DCPT through the real models, against the papers' by hand."""
    network = network_of(session, name)
    batch = Batch(1, 32, str(session.device)) if session.small else Batch(4, 128, str(session.device))
    models: dict[str, DegradationModel] = {}
    for precision, (dtype, _) in _precisions(session).items():
        models[precision] = dcpt(network, {"precision": "bf16" if dtype == torch.bfloat16 else "fp32"}, batch)
    first = models["fp32"]
    network_g: Any = first.networks["g"]
    wake(network_g)
    for other in models.values():
        for label, module in other.networks.items():
            module.load_state_dict(first.networks[label].state_dict())
    calls: dict[str, Call] = {}
    try:
        plain = PlainTraining(copy.deepcopy(network_g), first.networks["dc"], OPTIMIZER["lr"])
        lq, gt, target = first.lq.contiguous(), first.gt.contiguous(), first.target()
        calls[PUBLISHED] = with_tf32(False, lambda: plain.pretrain(lq, gt, target))
    except OptionError:
        pass  # it is spandrel's, which is not installed
    for precision, model in models.items():
        iterate = functools.partial(model.optimize_parameters, 1)
        calls[precision] = with_tf32(_precisions(session)[precision][1], iterate)
    yield from rows_of(session, f"{name}, {batch.count} x {batch.crop}²", calls)


def compiled_step(session: Session) -> Iterator[Row]:
    """An iteration of restoration training in bf16, as it is and compiled (`train:compile`)."""
    torch.compiler.reset()  # else sizes that another part has compiled for make these variable
    batch = Batch(1, 32, str(session.device)) if session.small else Batch(4, 128, str(session.device))
    for name in NETWORKS[:1] if session.small else NETWORKS:
        calls: dict[str, Call] = {}
        for label, compiled in (("bf16", False), ("bf16, compile", True)):
            train = {"precision": "bf16", "compile": compiled}
            model = restoration(network_of(session, name), train, batch)
            calls[label] = functools.partial(model.optimize_parameters, 1)
        yield from rows_of(session, f"{name}, {batch.count} x {batch.crop}²", calls)


def restore(session: Session, name: str) -> Iterator[Row]:
    """An image through a network, against the published form in float32."""
    network, x = _ready(session, name)
    calls: dict[str, Call] = {}
    try:
        peer, plain_x = reference(network), x.contiguous()
        calls[PUBLISHED] = with_tf32(False, _forward(peer, plain_x, None))
    except OptionError:
        pass
    for precision, (dtype, tf32) in _precisions(session).items():
        calls[precision] = with_tf32(tf32, _forward(network, x, dtype if dtype == torch.bfloat16 else None))
    yield from rows_of(session, f"{name}, {x.shape[-1]} x {x.shape[-2]}", calls)


def faster_restoring(session: Session) -> Iterator[Row]:
    """What else there is: a CUDA graph, torch.compile, cuDNN's search for the fastest algorithm."""
    for name in NETWORKS[:1] if session.small else NETWORKS:
        network, x = _ready(session, name)
        plain = _forward(network, x, torch.bfloat16)
        calls: dict[str, Call] = {"bf16": plain}
        if session.on_gpu:
            calls["bf16, CUDA graph"] = _graph(plain)
            calls["bf16, cudnn.benchmark off"] = _searching(False, plain)
        compiled: Any = torch.compile(network)
        calls["bf16, compile"] = _forward(compiled, x, torch.bfloat16)
        yield from rows_of(session, f"{name}, {x.shape[-1]} x {x.shape[-2]}", calls)


def _ready(session: Session, name: str) -> tuple[Any, torch.Tensor]:
    torch.manual_seed(0)
    network = build_network(network_of(session, name)).eval()
    wake(network)
    height, width = (48, 64) if session.small else (512, 768)
    x = torch.rand(1, 3, height, width, device=session.device)
    moved = network.to(session.device).to(memory_format=torch.channels_last)
    return moved, x.contiguous(memory_format=torch.channels_last)


def _forward(network: nn.Module, x: torch.Tensor, dtype: torch.dtype | None) -> Call:
    @torch.inference_mode()
    def call() -> torch.Tensor:
        with torch.autocast(x.device.type, dtype) if dtype else nullcontext():
            result: torch.Tensor = network(x)
            return result

    return call


def _searching(allowed: bool, call: Call) -> Call:
    def set_and_call() -> Any:
        before, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, allowed
        try:
            return call()
        finally:
            torch.backends.cudnn.benchmark = before

    return set_and_call


def _graph(call: Call) -> Call:
    """The same kernels, launched as one."""
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay
