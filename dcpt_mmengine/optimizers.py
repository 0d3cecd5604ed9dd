"""The optimisers of a method, where mmengine's hooks look for them."""

from __future__ import annotations

from typing import Any

from mmengine.optim import OptimWrapper, OptimWrapperDict

from dcpt_mmengine.registries import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class MethodOptimizers:
    """Shows the optimisers that the option file asks for, by label of the network: for learning rates in logs.

    The updates themselves, with accumulation, precision, clipping and the guard, are made by the method.

    Args:
        optim_wrapper_cfg: What stands beside `constructor` in the config: nothing.
        paramwise_cfg: None.

    Raises:
        ValueError: If something stands there.
    """

    def __init__(self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any] | None = None) -> None:
        if optim_wrapper_cfg or paramwise_cfg:
            raise ValueError(
                "optim_wrapper: optimisers are the option file's; change them by "
                "model=dict(changes=dict(train=dict(optim_g=dict(lr=1e-4))))"
            )

    def __call__(self, model: Any) -> OptimWrapperDict:
        """The wrappers."""
        method = model.method
        pairs = zip(method.trained, method.optimizers, strict=True)
        return OptimWrapperDict(**{label: OptimWrapper(optimizer) for label, optimizer in pairs})
