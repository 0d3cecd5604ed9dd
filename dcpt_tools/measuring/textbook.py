"""The published forms of networks and of the DCPT iteration, to compare with: equal weights, plain layers.

NAFNet, Restormer and SwinIR are spandrel's, which are the published ones. What it has not is written out here, layer by
layer as the formulas have it: PromptIR, the classifier, and the iteration. All of it is NCHW in memory and float32.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import nn

from dcpt_arch import DCPTSwinIR, NAFNet, PromptIR, RestorationBackbone
from dcpt_arch.backbones.promptir_arch import PromptGenerationModule
from dcpt_arch.checkpoints.loading import to_published_layout
from dcpt_arch.layers.norm_and_stage import LayerNorm2d
from dcpt_arch.layers.restormer_block import ChannelNorm, GatedFeedForward, TransposedAttention
from dcpt_models.errors import OptionError
from dcpt_models.losses.focal_loss import FocalLoss

PUBLISHED = "published form"  # the label in tables


def wake(network: RestorationBackbone) -> None:
    """Give values to what starts at zero, behind which nothing would be computed of any consequence."""
    for name, parameter in network.named_parameters():
        if name.endswith(("beta", "gamma")):
            torch.nn.init.normal_(parameter, std=0.3)


def published(network: RestorationBackbone) -> nn.Module:
    """The published form of a network, with equal weights; it takes images whose sides are multiples of its own.

    Raises:
        OptionError: If spandrel is needed and not installed.
    """
    if isinstance(network, PromptIR):
        return plain(network)
    try:
        from spandrel import MAIN_REGISTRY, ModelLoader
        from spandrel_extra_arches import EXTRA_REGISTRY
    except ImportError as error:
        raise OptionError('this comparison needs spandrel: pip install -e ".[test]"') from error
    registry = type(MAIN_REGISTRY)()
    for source in (MAIN_REGISTRY, EXTRA_REGISTRY):
        registry.add(*source.architectures())
    device = next(network.parameters()).device
    loader = ModelLoader(device=device, registry=registry)
    peer: nn.Module = loader.load_from_state_dict(to_published_layout(network)).model
    for module in peer.modules():
        if hasattr(module, "drop_prob"):  # SwinIR leaves out layers at random while training; ours does not
            module.drop_prob = 0.0  # type: ignore[assignment]
    return peer.train(network.training).requires_grad_(True)


def reference(network: RestorationBackbone) -> nn.Module:
    """The published form, or where spandrel is not installed the one written out here, if there is one.

    Raises:
        OptionError: If there is none.
    """
    try:
        return published(network)
    except OptionError:
        if isinstance(network, DCPTSwinIR):
            raise
        return plain(network)


def plain(network: nn.Module) -> nn.Module:
    """A copy of a network or a classifier whose layers are the plain ones of this file."""
    network = copy.deepcopy(network)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(module, ChannelNorm) and isinstance(child, LayerNorm2d):
                module.add_module(name, PlainTokenNorm(child))
            elif type(child) in PLAIN:
                module.add_module(name, PLAIN[type(child)](child))
    return network.to(memory_format=torch.contiguous_format)


class PlainLayerNorm2d(nn.Module):
    """Mean and variance over the channels, and what they are for, one after the other."""

    def __init__(self, norm: LayerNorm2d) -> None:
        super().__init__()
        assert norm.bias is not None  # none of the published networks that are compared is without
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).pow(2).mean(1, keepdim=True)
        y = (x - mean) / (variance + self.eps).sqrt()
        return self.weight.view(1, -1, 1, 1) * y + self.bias.view(1, -1, 1, 1)


class PlainTokenNorm(PlainLayerNorm2d):
    """The same over the last dimension, pixels as a sequence, and back."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        mean = tokens.mean(-1, keepdim=True)
        variance = tokens.var(-1, keepdim=True, unbiased=False)
        y = (tokens - mean) / torch.sqrt(variance + self.eps) * self.weight + self.bias
        return y.transpose(1, 2).unflatten(2, x.shape[2:])


class PlainAttention(nn.Module):
    """Restormer's attention: queries and keys divided by their norms, and two products of all pixels."""

    def __init__(self, attention: TransposedAttention) -> None:
        super().__init__()
        self.heads, self.temperature = attention.heads, attention.temperature
        self.qkv, self.qkv_dwconv, self.project_out = attention.qkv, attention.qkv_dwconv, attention.project_out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        q, k, v = self.qkv_dwconv(self.qkv(x)).chunk(3, dim=1)
        q, k, v = (tensor.reshape(n, self.heads, c // self.heads, h * w) for tensor in (q, k, v))
        q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
        attention = (q @ k.transpose(-2, -1) * self.temperature).softmax(dim=-1)
        return self.project_out((attention @ v).reshape(n, c, h, w))


class PlainFeedForward(nn.Module):
    """Restormer's gated feed-forward network."""

    def __init__(self, network: GatedFeedForward) -> None:
        super().__init__()
        self.project_in, self.dwconv, self.project_out = network.project_in, network.dwconv, network.project_out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = self.dwconv(self.project_in(x)).chunk(2, dim=1)
        return self.project_out(F.gelu(a) * b)


class PlainPrompts(nn.Module):
    """PromptIR's prompts, repeated for each image, weighted, and summed."""

    def __init__(self, prompts: PromptGenerationModule) -> None:
        super().__init__()
        self.prompt_param, self.linear_layer, self.conv3x3 = (
            prompts.prompt_param,
            prompts.linear_layer,
            prompts.conv3x3,
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = F.softmax(self.linear_layer(x.mean(dim=(-2, -1))), dim=1)[:, :, None, None, None]
        repeated = self.prompt_param.repeat(len(x), 1, 1, 1, 1)
        prompt = (weights * repeated).sum(dim=1)
        return self.conv3x3(F.interpolate(prompt, x.shape[-2:], mode="bilinear"))


PLAIN: dict[type, type[nn.Module]] = {
    LayerNorm2d: PlainLayerNorm2d,
    TransposedAttention: PlainAttention,
    GatedFeedForward: PlainFeedForward,
    PromptGenerationModule: PlainPrompts,
}


def level_modules(network: RestorationBackbone, peer: nn.Module) -> list[nn.Module]:
    """The modules of a published form whose outputs are the feature levels, in the order of `network.feature_info`."""
    levels = range(len(network.feature_info))
    if isinstance(network, NAFNet):
        return list(peer.get_submodule("decoders").children())[::-1]
    if isinstance(network, DCPTSwinIR):
        return list(peer.get_submodule("layers").children())[::-1][: len(levels)]
    name = "reduce_noise_level" if isinstance(network, PromptIR) else "decoder_level"
    return [peer.get_submodule(f"{name}{level + 1}") for level in levels]


class PlainTraining:
    """Iterations as one writes them by hand after the papers: full precision, whole networks, PyTorch's optimiser.

    Args:
        network: Ours, whose weights are copied.
        classifier: Ours, too; none to train restoration alone.
        lr: Learning rate of AdamW.
    """

    def __init__(self, network: RestorationBackbone, classifier: nn.Module | None, lr: float) -> None:
        self.network = reference(network)
        self.features: list[torch.Tensor] = []
        self.classifier = plain(classifier) if classifier is not None else None
        self.optimizers = [torch.optim.AdamW(self.network.parameters(), lr=lr, weight_decay=0.0)]
        if self.classifier is not None:
            self.optimizers.append(torch.optim.AdamW(self.classifier.parameters(), lr=lr, weight_decay=0.0))
            for module in level_modules(network, self.network):
                module.register_forward_hook(lambda module, given, output: self.features.insert(0, output))
        self.cri_cls = FocalLoss()

    def restore(self, lq: torch.Tensor, gt: torch.Tensor) -> None:
        """An iteration of restoration."""
        self._update(F.l1_loss(self.network(lq), gt))

    def pretrain(self, lq: torch.Tensor, gt: torch.Tensor, target: torch.Tensor) -> None:
        """An iteration of DCPT, with an update for each stage; `target` has class indices, N."""
        assert self.classifier is not None
        self.restore(gt, gt)
        self.features.clear()
        self._update(self.cri_cls(self.logits(lq), target))
        self.features.clear()

    def logits(self, lq: torch.Tensor) -> torch.Tensor:
        """What the classifier says of the features that hooks catch in a whole pass; N x classes."""
        assert self.classifier is not None
        self.features.clear()
        self.network(lq)
        # Levels are computed from the last to the first. SwinIR's are sequences of pixels.
        images = [f.mT.unflatten(2, lq.shape[-2:]) if f.dim() == 3 else f for f in self.features]
        return self.classifier(images)

    def _update(self, loss: torch.Tensor) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.step()

    def free(self) -> None:
        """Forget gradients, so that the memory of the next iteration is measured with them."""
        for optimizer in self.optimizers:
            optimizer.zero_grad()
