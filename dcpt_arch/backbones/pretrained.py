"""A network as a folder that can be passed on, and on the Hugging Face Hub: methods of every backbone.

Such a folder is read by `load_network`, see `dcpt_arch.checkpoints.hub`.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from dcpt_common import write_atomically

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
INSTALL = "it needs huggingface_hub: pip install huggingface_hub"

MINIMAL = """---
library_name: dcpt
pipeline_tag: image-to-image
tags: [image-restoration]
---

# {name}

A {kind} of {count:,} parameters that restores images. Nothing was written here of how it was trained.

```python
from dcpt_arch.checkpoints import load_network

net = load_network("{where}")  # image = net(lq): N x 3 x H x W in [0, 1], of any size
```
"""


def save_weights(state: dict[str, torch.Tensor], file: Path, notes: dict[str, Any]) -> None:
    """Write tensors to a file of safetensors; `read_checkpoint` finds them there, and a network's notes with them."""
    state = {name: value.contiguous() for name, value in state.items()}
    metadata = {"format": "pt", **{key: json.dumps(note) for key, note in notes.items()}}
    # Its own `save_file` lets nobody but the owner read the file.
    file.write_bytes(save(state, metadata))


class Pretrained(nn.Module):
    """What makes a network a file for others; `RestorationBackbone` has it."""

    def save_pretrained(self, folder: str | Path, card: str | None = None) -> Path:
        """Write a folder that `load_network` reads: `model.safetensors`, `config.json` and a model card.

        Files of these names are replaced; all else in the folder stays.

        Args:
            folder: It is made.
            card: The text of the card, README.md; `dcpt hub` writes it from a run. A card that is there stays if none
                is given.

        Returns:
            The folder.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        # Copies, since safetensors refuses tensors that share memory.
        state = {name: value.detach().cpu().clone() for name, value in self.state_dict().items()}
        with write_atomically(folder / WEIGHTS, suffix=".safetensors") as unfinished:
            save_weights(state, unfinished, self.notes())
        count = sum(parameter.numel() for parameter in self.parameters())
        kind = type(self).__name__
        config = {"library_name": "dcpt", "architectures": [kind], "parameters": count}
        with write_atomically(folder / CONFIG) as unfinished:
            unfinished.write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        if card is None and not (folder / CARD).exists():
            card = MINIMAL.format(name=folder.absolute().name, kind=kind, count=count, where=folder.absolute().name)
        if card is not None:
            with write_atomically(folder / CARD) as unfinished:
                unfinished.write_text(card, encoding="utf-8")
        return folder

    def notes(self) -> dict[str, Any]:
        """Plain values that a checkpoint must have beside the weights, for these do not tell which network it is."""
        return {}

    def push_to_hub(
        self, name: str, card: str | None = None, private: bool = False, message: str = "Upload a network by dcpt"
    ) -> str:
        """Upload what `save_pretrained` writes, to a repository that is made if it is not there.

        Whoever is logged in there (`hf auth login`, or the variable HF_TOKEN) is the one who uploads.

        Args:
            name: `owner/name`.
            card: See `save_pretrained`. A card that is there stays if none is given.
            private: Whether a repository that is made is seen by its owner alone.
            message: Of the commit.

        Returns:
            Its address, which `load_network` takes: `hf://owner/name`.

        Raises:
            ImportError: If huggingface_hub is not installed.
            OSError: If the Hub refuses, or cannot be reached.
        """
        try:
            from huggingface_hub import HfApi
        except ImportError as error:
            raise ImportError(f"to upload to {name}, {INSTALL}") from error
        api = HfApi()
        api.create_repo(name, private=private, exist_ok=True)
        with tempfile.TemporaryDirectory() as parent:
            folder = self.save_pretrained(Path(parent, name.rpartition("/")[2]), card)
            if card is None:
                text = (folder / CARD).read_text(encoding="utf-8")
                text = text.replace(f'"{folder.name}"', f'"hf://{name}"')
                (folder / CARD).write_text(text, encoding="utf-8")
            there = card is None and CARD in api.list_repo_files(name)
            ignored = [CARD] if there else None
            api.upload_folder(repo_id=name, folder_path=folder, commit_message=message, ignore_patterns=ignored)
        return f"hf://{name}"
