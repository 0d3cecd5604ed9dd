"""The degradation classifier with a vision transformer (Dosovitskiy et al., ICLR 2021): "ViT" in Table 10 of DCPT."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn

from dcpt_arch.backbones.base import FeatureInfo
from dcpt_arch.classifiers.base import Levels, check_positive
from dcpt_arch.classifiers.tokens import TokenClassifier
from dcpt_common import Count, Depth, Positive


class SelfAttention(nn.Module):
    """Multi-head self-attention (Appendix A, Eq. 5 to 8) over N x T x C.

    The biases of query, key and value are left out: that of the keys has no effect on the softmax.

    Args:
        channels: C, any number; each head has C / heads channels, rounded up.
        heads: Attention heads.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        inner = heads * -(-channels // heads)
        self.qkv = nn.Linear(channels, 3 * inner, bias=False)
        self.proj = nn.Linear(inner, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class EncoderBlock(nn.Module):
    """Attention and a two-layer perceptron, each behind a LayerNorm and inside a residual (Eq. 2 and 3)."""

    def __init__(self, channels: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        hidden = max(1, int(channels * mlp_ratio))
        self.norm1 = nn.LayerNorm(channels)
        self.attn = SelfAttention(channels, heads)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(nn.Linear(channels, hidden), nn.GELU(), nn.Linear(hidden, channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


@ARCH_REGISTRY.register()
class ViTDegradationClassifier(TokenClassifier):
    """Classifies the degradation of an image from a backbone's features with a small vision transformer.

    `LevelTokens` says how features become tokens. Their mean is classified, which needs no class token. Table 10 gives
    no sizes for this decoder; the defaults keep it below the ResNet in parameters and in time.

    Args:
        feature_info: The levels that the backbone declares (`net.feature_info`), highest resolution first.
        classes: Number of degradations.
        levels: "all" feature levels, or the "deepest" alone (the ablation of Table 11).
        width: Upper bound of a token's channels, which otherwise are those of the deepest level.
        grid: Each level is pooled to at most this many cells along each axis.
        depth: Number of blocks.
        heads: Attention heads of a block.
        mlp_ratio: Hidden channels of a block's perceptron, as a multiple of the token's.

    Raises:
        ValueError: If there are no levels, fewer than two classes, or a number is not above 0.
    """

    def __init__(
        self,
        feature_info: Sequence[FeatureInfo],
        classes: int,
        levels: Levels = "all",
        width: Count | None = None,
        grid: Count = 8,
        depth: Depth = 4,
        heads: Count = 4,
        mlp_ratio: Positive = 2.0,
    ) -> None:
        super().__init__(feature_info, classes, levels, width, grid)
        check_positive({"depth": depth, "heads": heads, "mlp_ratio": mlp_ratio})
        self.blocks = nn.Sequential(*(EncoderBlock(self.width, heads, mlp_ratio) for _ in range(depth)))
        for module in self.blocks.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
