"""The networks included in the package: where they are, and how those of a run are stored like them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch

from dcpt_arch.backbones.pretrained import save_weights
from dcpt_arch.checkpoints.loading import find_weights, load_network, read_checkpoint
from dcpt_models.errors import OptionError
from dcpt_models.inference.diagnoser import option_file_of
from dcpt_models.options.files import dump_options, read_options

# What comes with the package, if anything does.
FOLDER = Path(__file__).parents[1] / "weights"


class Package(NamedTuple):
    """A folder with a network that restores and the classifier of its features.

    Attributes:
        network: Weights of the network, float16.
        classifier: Weights of the classifier, float16.
        options: The options that both need to be built, as an option file.
    """

    network: Path
    classifier: Path
    options: Path

    @classmethod
    def of(cls, folder: Path) -> Package:
        """The files of a folder."""
        return cls(folder / "network.safetensors", folder / "classifier.safetensors", folder / "options.yml")


def default_package() -> Package:
    """The networks that come with this package.

    Raises:
        OptionError: If none do.
    """
    package = Package.of(FOLDER)
    if not all(file.is_file() for file in package):
        raise OptionError(
            "no weights are included in this version; give those of a run, such as "
            "--weights experiments/finetune_promptir_5d/models/net_g_latest.pth"
        )
    return package


def pack(run: Path, folder: Path, overwrite: bool = False) -> Package:
    """Store the last networks of a run: half the size, and nothing of the machine that it ran on.

    Args:
        run: Folder of a finished run whose method trains a network that restores and a classifier together.
        folder: Where to; it is made.
        overwrite: Whether files of an earlier package are replaced.

    Returns:
        The files, the averaged weights in them if the run has such.

    Raises:
        OptionError: If the run has no classifier, or there are files already.
        CheckpointError: If a checkpoint is missing or bad.
    """
    network, classifier = (run / "models" / f"net_{label}_latest.pth" for label in ("g", "dc"))
    package = Package.of(folder)
    there = next((file for file in package if file.exists()), None)
    if there and not overwrite:
        raise OptionError(f"{there} exists; choose another folder, or give --overwrite")
    options = read_options(option_file_of(network)).values
    if not options.get("network_dc"):
        raise OptionError(f"{run}: a run without `network_dc`, so there is no classifier to pack")
    restoring = load_network(network)
    states = (restoring.state_dict(), find_weights(read_checkpoint(classifier), file=classifier).state)
    folder.mkdir(parents=True, exist_ok=True)
    for file, state, notes in zip(package, states, (restoring.notes(), {}), strict=False):
        half = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
        save_weights(half, file, notes)
    needed = {key: options[key] for key in ("name", "model_type", "degradations", "network_g", "network_dc")}
    needed["datasets"] = {"train": {"gt_size": options["datasets"]["train"]["gt_size"]}}
    dump_options(needed, package.options, "What the networks beside this file are built by.")
    return package


def rounding(run: Path, package: Package) -> float:
    """The greatest difference that rounding to float16 makes to a pixel, in 1/255, on random images."""
    image = torch.rand(2, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        exact, packed = (load_network(file)(image) for file in (run / "models" / "net_g_latest.pth", package.network))
    return float((exact - packed).abs().max() * 255)
