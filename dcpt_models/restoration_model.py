"""Plain restoration: fine-tuning after DCPT, or all-in-one training from scratch."""

from __future__ import annotations

from collections.abc import Iterator

from basicsr.utils.registry import MODEL_REGISTRY

from dcpt_models.base_model import DegradationModel, Losses


@MODEL_REGISTRY.register()
class RestorationModel(DegradationModel):
    """Trains `net_g` to restore: the pixel loss between net_g(lq) and gt."""

    def loss_steps(self) -> Iterator[Losses]:
        yield {"l_pix": self.cri_pix(self.net_g(self.lq), self.gt)}
