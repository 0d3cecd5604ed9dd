"""Makes any network from image to image a backbone, without a change to it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Literal

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn

from dcpt_arch.adapter.dry_runs import Size
from dcpt_arch.adapter.measuring import CHANNELS, image_of
from dcpt_arch.adapter.plans import Plan, Request, plan_for
from dcpt_arch.adapter.sources import build, name_of
from dcpt_arch.adapter.taps import Collector
from dcpt_arch.backbones.base import NOTE, FeatureInfo, RestorationBackbone
from dcpt_arch.layers.padding import pad_to_multiple, pad_to_size
from dcpt_common import Count


@ARCH_REGISTRY.register()
class AnyBackbone(RestorationBackbone):
    """A network of anybody's, whose named modules give the feature levels.

    The network stays as it is: its state dict has its own names, and loads where the network came from. What the
    adapter measures (channels, strides, order of dimensions, size multiple) it finds by passes that compute shapes and
    no values.

    Args:
        network: A section with `type` and arguments: `EDSR` of the engine's registry, `spandrel:SCUNet`,
            `package.module:Class`, `folder/file.py:Class`; or `checkpoint: FILE`, which spandrel recognises. In Python
            also a network that is built already; its checkpoints then cannot be opened without it.
        features: Names of modules whose outputs are the levels, in any order; maps (N x C x H x W, N x H x W x C) or
            tokens (N x L x C). "auto" takes, of a network that goes down and up again, the last block at each
            resolution on its way up; of any other, three blocks evenly through its depth.
        head: Names of modules that turn the last features into an image; fine-tuning starts them anew. "auto" takes
            all that comes after the last level.
        size_multiple: Sides of images are padded to multiples of it. None to have it found.
        square: Whether images are padded to squares, which some networks need. None to have it found.
        output: Which item is the restored image, where the network gives a list, tuple or dict.

    Attributes:
        network: The network itself.
        section: What it was built by; None if it was given built.
        plan: What was found of it.

    Raises:
        ValueError: If there is no such network, or it does not take an RGB image or gives none of the same size; if
            names are of no modules that could be what they should; with the reason and the candidates.
    """

    def __init__(
        self,
        network: dict[str, Any] | nn.Module,
        features: Literal["auto"] | list[str] = "auto",
        head: Literal["auto"] | list[str] = "auto",
        size_multiple: Count | None = None,
        square: bool | None = None,
        output: int | str | None = None,
    ) -> None:
        super().__init__()
        for key, names in (("features", features), ("head", head)):
            if isinstance(names, str) and names != "auto":
                raise ValueError(f"{key} must be 'auto' or a list of names, not {names!r}; write [{names}]")
        section = None
        if isinstance(network, Mapping):
            network, section = build(network)
        if not isinstance(network, nn.Module):
            raise ValueError(
                "network must be a section, such as {'type': 'EDSR', 'upscale': 1}, or a torch.nn.Module that is "
                f"built already, not {network!r:.60}"
            )
        if isinstance(network, AnyBackbone):
            raise ValueError("the network is an AnyBackbone itself; give that without another around it")
        plan = plan_for(network, Request(features, head, size_multiple, square, output), section)
        self._adapt(network, section, plan)

    @classmethod
    def from_note(cls, note: Mapping[str, Any], **overrides: Any) -> AnyBackbone:
        """Build the network that a checkpoint's note tells of; nothing is imported because the note names it.

        Args:
            note: What `notes` gave.
            overrides: Arguments of the inner network that win over those noted.

        Raises:
            ValueError: If it cannot be built here; with the reason.
        """
        note = dict(note)
        network, section = build({**note.pop("network", {}), **overrides}, trusted=False)
        self = cls.__new__(cls)
        RestorationBackbone.__init__(self)
        self._adapt(network, section, Plan.from_note(note))
        return self

    @staticmethod
    def written_out(section: Mapping[str, Any]) -> dict[str, Any]:
        """A `network_g` section of an option file with all that was left to be found; no random state is changed.

        Raises:
            ValueError: As of the class.
        """
        with torch.random.fork_rng([]):
            network = AnyBackbone(**{key: value for key, value in section.items() if key != "type"})
        # The network's own section stays as it is: a checkpoint that it names gives its weights again.
        return {"type": AnyBackbone.__name__, "network": section["network"], **network.plan.settings()}

    def _adapt(self, network: nn.Module, section: dict[str, Any] | None, plan: Plan) -> None:
        self.network, self.section, self.plan = network, section, plan
        self.head = tuple(plan.head)  # type: ignore[misc]
        self.size_multiple, self.in_channels = plan.size_multiple, CHANNELS
        self.feature_info += [FeatureInfo(channels=each.channels, stride=each.stride) for each in plan.layouts]
        parameters = dict(network.named_parameters())
        try:
            self._collector = Collector([network.get_submodule(name) for name in plan.features])
            self.head_modules()
            for name in plan.unused:  # they get no gradient, for which several processes would wait
                parameters[name].requires_grad_(False)
        except (AttributeError, KeyError) as error:
            raise ValueError(
                f"{type(network).__name__} has no such part ({error}); it is of another version"
            ) from error
        self._report()

    def _report(self) -> None:
        logger, name, plan = logging.getLogger("basicsr"), type(self.network).__name__, self.plan
        if plan.unused:
            some = ", ".join(plan.unused[:5]) + (", ..." if len(plan.unused) > 5 else "")
            logger.warning(f"{name}: {len(plan.unused)} tensors have no part in the image, and are not trained: {some}")
        levels = zip(plan.features, plan.layouts, strict=True)
        shown = ", ".join(f"{each} ({layout.channels} channels, stride {layout.stride})" for each, layout in levels)
        squares = ", and to squares" if plan.square else ""
        logger.info(
            f"{name}: features: {shown}; head: {', '.join(plan.head)}; images are padded to multiples of "
            f"{plan.size_multiple}{squares}"
        )

    def arguments(self) -> dict[str, Any]:
        """What builds its like, with nothing left to be found."""
        return {"network": self.section, **self.plan.settings()}

    def notes(self) -> dict[str, Any]:
        if self.section is None:
            return {}
        section = {**self.section, "type": name_of(self.section["type"])}
        return {NOTE: {"network": section, **self.plan.note()}}

    # The levels

    def pad(self, x: torch.Tensor) -> torch.Tensor:
        x = pad_to_multiple(x, self.size_multiple)
        if self.plan.square and x.shape[-2] != x.shape[-1]:
            x = pad_to_size(x, max(x.shape[-2:]), max(x.shape[-2:]))
        return x.contiguous() if self.plan.contiguous else x

    def encode(self, x: torch.Tensor) -> tuple[list[torch.Tensor], None]:
        _, found = self._collector.take(self.network, x, stop=True)
        return self._maps(found, (x.shape[-2], x.shape[-1])), None

    def whole(self, x: torch.Tensor, keep: bool) -> tuple[torch.Tensor, list[torch.Tensor]]:
        if not keep:
            return image_of(self.network(x), self.plan.output), []
        output, found = self._collector.take(self.network, x, stop=False)
        return image_of(output, self.plan.output), self._maps(found, (x.shape[-2], x.shape[-1]))

    def _maps(self, found: list[torch.Tensor], size: Size) -> list[torch.Tensor]:
        return [layout.to_map(each, size) for layout, each in zip(self.plan.layouts, found, strict=True)]

    def forward(self, x: torch.Tensor, features: Literal["none", "only", "also"] = "none") -> Any:
        result = super().forward(x, features)
        if not self.plan.square or features == "none":
            return result
        # What was added to make a square is no part of the image, nor of its features.
        height, width = (-(-side // self.size_multiple) * self.size_multiple for side in x.shape[-2:])
        image, levels = (None, result) if features == "only" else result
        levels = [
            level[..., : height // info.stride, : width // info.stride]
            for level, info in zip(levels, self.feature_info, strict=True)
        ]
        return levels if features == "only" else (image, levels)

    # As if the network were not inside of another

    def is_head(self, name: str) -> bool:
        return any(name.startswith(f"{part}.") for part in self.head)

    def image_channels(self) -> int:
        return CHANNELS

    def head_modules(self) -> list[nn.Module]:
        return [self.network.get_submodule(name) for name in self.head]

    def to(self, *args: Any, **kwargs: Any) -> AnyBackbone:
        if self.plan.contiguous:
            kwargs.pop("memory_format", None)
        return super().to(*args, **kwargs) if args or kwargs else self

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return self.network.state_dict(*args, **kwargs)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        return self.network.load_state_dict(state_dict, strict=strict, assign=assign)
