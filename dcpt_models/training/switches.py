"""The switches of a training that cost or save time and memory; `dcpt plan` tries each."""

from __future__ import annotations

from typing import Any

from basicsr.utils.registry import ARCH_REGISTRY

from dcpt_models.options.check import declared_by

SWITCHES = ("bf16", "accumulate", "checkpointing", "compile", "tf32")
ON_GPUS = ("compile", "tf32")  # compiling takes minutes on a CPU, and TF32 is none of its formats


def usual_switches(opt: dict[str, Any]) -> list[str]:
    """The switches that are worth trying on the device of a run."""
    network = declared_by(ARCH_REGISTRY.get(opt["network_g"]["type"])).annotations
    names = [name for name in SWITCHES if opt["num_gpu"] or name not in ON_GPUS]
    return [name for name in names if name != "checkpointing" or "checkpointing" in network]


def turned(opt: dict[str, Any], name: str) -> tuple[str, str, Any]:
    """What is changed to turn a switch on, or off where the options have it on: section, key, value."""
    train, network = opt["train"], opt["network_g"]
    changes: dict[str, tuple[str, str, Any]] = {
        "bf16": ("train", "precision", "bf16" if train.get("precision", "fp32") == "fp32" else "fp32"),
        "accumulate": ("train", "accumulate", 2 if train.get("accumulate", 1) == 1 else 1),
        "checkpointing": ("network_g", "checkpointing", not network.get("checkpointing", False)),
        "compile": ("train", "compile", not train.get("compile", False)),
        "tf32": ("train", "tf32", not train.get("tf32")),
    }
    return changes[name]
