"""The model card of a run, as the Hugging Face Hub shows it: what the network is, was trained on, and reached."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

import yaml

from dcpt_arch.backbones.base import RestorationBackbone
from dcpt_models.analysis.run_records import archived_options, validations
from dcpt_models.evaluation.table import Method, Table
from dcpt_models.options.files import read_options

# Sections that say how the network was made. What names places of a machine is left out.
SHOWN = ("model_type", "degradations", "network_g", "network_dc", "datasets", "train", "manual_seed")
PLACES = ("dataroot_gt", "dataroot_lq", "datasets_root", "lmdb", "num_worker_per_gpu", "pin_memory")


def model_card(run: Path, network: RestorationBackbone, address: str, licence: str | None = None) -> str:
    """Write the card of a run's network.

    Args:
        run: Folder of a finished run.
        network: The network that goes with it.
        address: What `load_network` is given to open it: `hf://owner/name`, or a folder.
        licence: Its identifier on the Hub, such as `cc-by-nc-4.0`; none where it is not said.

    Raises:
        OptionError: If the run's options cannot be read.
    """
    options = read_options(archived_options(run)).values
    name, degradations = options["name"], options.get("degradations") or []
    front: dict[str, Any] = {"library_name": "dcpt", "pipeline_tag": "image-to-image"}
    if licence:
        front["license"] = licence
    front["tags"] = ["image-restoration", *(label.replace("_", "-") for label in degradations)]
    count = sum(parameter.numel() for parameter in network.parameters())
    results = validations(run)
    last = max(results, default=0)
    made = _without_places({key: options[key] for key in SHOWN if key in options})
    parts = [
        f"---\n{yaml.safe_dump(front, sort_keys=False).strip()}\n---",
        f"# {name}",
        f"A {type(network).__name__} of {count:,} parameters, trained by `{options['model_type']}` for "
        f"{options['train']['total_iter']:,} iterations with dcpt {_version()}"
        + (f" on: {', '.join(degradations)}." if degradations else "."),
        "## Use",
        f"```python\nfrom dcpt_arch.checkpoints import load_network\n\n"
        f'net = load_network("{address}")  # image = net(lq): N x 3 x H x W in [0, 1], of any size\n```',
        f"    dcpt restore photograph.jpg --weights {address}",
        "## Measured",
        _measured(name, results, last),
        "## How it was made",
        f"```yaml\n{yaml.safe_dump(made, sort_keys=False)}```",
    ]
    return "\n\n".join(parts) + "\n"


def _version() -> str:
    try:
        return importlib.metadata.version("dcpt")
    except importlib.metadata.PackageNotFoundError:  # a checkout that was not installed
        return "from a checkout"


def _measured(name: str, results: dict[int, Any], last: int) -> str:
    if not results or not Method(name, results[last]).sets():
        return "Nothing was measured while it was trained."
    table = Table([Method(name, results[last])]).markdown().strip()
    return f"By the validation after iteration {last:,} of its training, on whole images:\n\n{table}"


def _without_places(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_places(inner) for key, inner in value.items() if key not in PLACES}
    return value
