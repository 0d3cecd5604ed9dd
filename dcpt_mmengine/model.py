"""A method of this project as a model of mmengine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from basicsr.utils.registry import ARCH_REGISTRY, LOSS_REGISTRY, MODEL_REGISTRY
from torch import nn

from dcpt_mmengine.registries import MODEL_WRAPPERS, MODELS, of_engine
from dcpt_models.methods.base_model import DegradationModel
from dcpt_models.options.command_line import load_options
from dcpt_models.runtime.logs import start_logger
from dcpt_models.training.loop import new_model

DELETE = "_delete_"


@MODELS.register_module()
@MODEL_WRAPPERS.register_module()  # it synchronises its processes itself, so that Runner leaves it as it is
class MethodModel(nn.Module):
    """A method with its networks, losses, optimisers and averages, as an option file describes it.

    `MethodLoop` trains it as `basicsr/train.py` does. Loops of mmengine can train it too, by `train_step`: the same
    updates, without what belongs to a loop: position in the stream, checkpoints of this project, validation.

    Args:
        options: The option file, looked for as commands do.
        changes: What replaces values of the file, as nested mappings. A mapping with `_delete_=True` replaces the
            section, all others merge into it.
        root: Folder that relative paths are meant from if they are not in the current folder; that one by default.

    Attributes:
        method: The method.

    Raises:
        OptionError: If the options are wrong; all mistakes are listed.
    """

    iterations: torch.Tensor
    model_type: str | None = None  # of the option file, unless a subclass says another

    def __init__(self, options: str, changes: Mapping[str, Any] | None = None, root: str | None = None) -> None:
        super().__init__()
        force = list(as_forced(changes or {}))
        if self.model_type is not None:
            force.append(f"model_type={self.model_type}")
        launcher: Any = "pytorch" if dist.is_available() and dist.is_initialized() else "none"
        opt = load_options(options, Path(root or "."), is_train=True, force=force, launcher=launcher)
        start_logger(None, opt["rank"])  # to standard error; `MethodLoop` has it written to a file too
        opt["logger"].update(use_tb_logger=False, wandb=None)  # curves are the visualizer's
        self.method: DegradationModel = new_model(opt)
        self.networks = nn.ModuleDict(self.method.networks)
        self.averages = nn.ModuleDict({label: average.network for label, average in self.method.averages.items()})
        self.register_buffer("iterations", torch.zeros((), dtype=torch.int64))  # of `train_step`

    @property
    def module(self) -> MethodModel:
        """What mmengine looks for in a model wrapper."""
        return self

    def init_weights(self) -> None:
        """Nothing is left to do: `path:pretrain_network_*` of the option file are loaded."""

    def train(self, mode: bool = True) -> MethodModel:
        """Leave the networks in the modes that the method has put them in: frozen ones in eval mode."""
        self.training = mode
        return self

    def forward(self, inputs: torch.Tensor, data_samples: Any = None, mode: str = "tensor") -> torch.Tensor:
        """The restored images of degraded ones, N x 3 x H x W in [0, 1]; of the averaged network if there is one."""
        return self.method.evaluated("g")(inputs.to(self.method.device))

    def train_step(self, data: dict[str, Any], optim_wrapper: Any = None) -> dict[str, float]:
        """One iteration on a batch, all updates of it; returns losses and gradient norms."""
        self.iterations += 1
        iteration = int(self.iterations)
        self.method.update_learning_rate(iteration)
        self.method.feed_data(stacked(data))
        self.method.optimize_parameters(iteration)
        self.method.look_at_skipped()
        return self.method.get_current_log()

    @torch.no_grad()
    def val_step(self, data: dict[str, Any]) -> list[dict[str, Any]]:
        """What `ImageMetric` measures: of each image `restored` and `gt`, 3 x H x W in [0, 1], and its `name`."""
        data, network = stacked(data), self.method.evaluated("g")
        training = network.training
        restored = network.eval()(data["lq"].to(self.method.device))
        network.train(training)
        names = data.get("name", [""] * len(restored))
        return [
            {"restored": image, "gt": gt.to(image.device), "name": name}
            for image, gt, name in zip(restored, data["gt"], names, strict=True)
        ]

    test_step = val_step


def stacked(data: dict[str, Any]) -> dict[str, Any]:
    """A batch of mmengine's own collate function, which leaves the tensors of samples in lists."""
    return {
        key: torch.stack(value) if isinstance(value, list) and isinstance(value[0], torch.Tensor) else value
        for key, value in data.items()
    }


def as_forced(changes: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[str]:
    """Nested mappings as the entries that `--force_yml` takes: {"train": {"total_iter": 2}} is train:total_iter=2."""
    for key, value in changes.items():
        here = (*path, str(key))
        if isinstance(value, Mapping) and value and not value.get(DELETE):
            yield from as_forced(value, here)
            continue
        if isinstance(value, Mapping):
            value = {name: item for name, item in value.items() if name != DELETE}
        yield f"{':'.join(here)}={json.dumps(value)}"


def _method(name: str, kind: type) -> type:
    """`dict(type="DCPTModel", options=FILE)` is that method, whatever `model_type` the file has."""
    return type(name, (MethodModel,), {"model_type": name, "__doc__": kind.__doc__})


MODELS.sources += [of_engine(ARCH_REGISTRY), of_engine(LOSS_REGISTRY), of_engine(MODEL_REGISTRY, _method)]
