"""Where a checkpoint lies: a file, a folder that `save_pretrained` or `dcpt pack` wrote, or a repository of the Hub."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from dcpt_arch.backbones.pretrained import INSTALL, WEIGHTS
from dcpt_arch.checkpoints.errors import CheckpointError

# `hf://owner/name`, with `@revision` and `/file` behind it; one slash is left of the two where it has been a `Path`.
ON_THE_HUB = re.compile(r"hf:/{1,2}(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^/]+))?(?:/(?P<file>.+))?")
# The names of weights in a folder: of save_pretrained, of `dcpt pack`.
NAMES = (WEIGHTS, "network.safetensors")
ENDINGS = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")


def is_on_the_hub(source: str | Path) -> bool:
    """Whether this names a checkpoint of the Hugging Face Hub."""
    return str(source).startswith("hf:/")


def find_file(source: str | Path) -> Path:
    """The file of weights that a path or an address means; a file of the Hub is downloaded, once.

    Args:
        source: A file, a folder, or `hf://owner/name`, `hf://owner/name@revision`, `hf://owner/name/file.pth`.

    Raises:
        CheckpointError: If there is none, or several, or it cannot be downloaded.
    """
    if is_on_the_hub(source):
        return _downloaded(str(source))
    path = Path(source)
    if not path.is_dir():
        return path
    if (path / "models").is_dir():
        raise CheckpointError(f"{path}: the folder of a run; name one of its networks, as models/net_g_latest.pth")
    return path / _choose([file.name for file in path.iterdir() if file.is_file()], str(path))


def _choose(names: Iterable[str], where: str) -> str:
    names = sorted(names)
    for name in NAMES:
        if name in names:
            return name
    weights = [name for name in names if name.endswith(ENDINGS)]
    if len(weights) != 1:
        many = f"several files of weights ({', '.join(weights[:8])}); name one: {where}/{weights[0]}" if weights else ""
        raise CheckpointError(f"{where}: {many or 'no file of weights in it'}")
    return weights[0]


def _downloaded(address: str) -> Path:
    found = ON_THE_HUB.fullmatch(address)
    if found is None:
        raise CheckpointError(f"{address}: no address of the Hub; write hf://owner/name, or hf://owner/name/file.pth")
    try:
        from huggingface_hub import HfApi, hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
    except ImportError as error:
        raise CheckpointError(f"{address}: {INSTALL}") from error
    repo, revision, file = found["repo"], found["revision"], found["file"]
    try:
        try:
            return Path(hf_hub_download(repo, file or WEIGHTS, revision=revision))
        except LocalEntryNotFoundError:  # neither reached nor downloaded before
            raise
        except EntryNotFoundError:
            if file:
                raise
        where = f"hf://{repo}" + (f"@{revision}" if revision else "")
        chosen = _choose(HfApi().list_repo_files(repo, revision=revision), where)
        return Path(hf_hub_download(repo, chosen, revision=revision))
    except (OSError, EntryNotFoundError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(
            f"{address}: not downloaded ({reason}); look whether it is there; or log in: hf auth login"
        ) from error
