"""Error messages for files that are no readable checkpoint: what the file is, and what to do; used by `loading`.

Nothing here runs code from a file: it looks at the first bytes, and at the names in an archive.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HEAD = 512
LARGEST_HEADER = 100_000_000  # of safetensors, as that library itself has it
ARCHIVES = {b"\x1f\x8b": "gzip", b"7z\xbc\xaf": "7-Zip", b"Rar!": "RAR", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}
SAVE = "torch.save({'params': network.state_dict()}, 'weights.pth')"
# What programs keep their settings in, beside the weights.
OF_SETTINGS = ("argparse.", "omegaconf.", "yacs.", "easydict.", "types.", "pathlib.", "mmcv.", "mmengine.", "munch.")


def what_it_is(path: Path) -> str | None:
    """What a file is that is no checkpoint of the kind its name says, and what to do; None if it may be one.

    Args:
        path: A file that is there.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        return "is empty; copy or save it again"
    if text.startswith(b"version https://git-lfs."):
        return "is a pointer of Git LFS, not the file itself; run `git lfs pull` where it was cloned, or download it"
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "is a web page, saved in place of the file; download what the page's own download button gives"
    if path.suffix != ".safetensors" and _is_safetensors(head):
        return f"is a file of safetensors; rename it to {path.with_suffix('.safetensors').name}"
    # A file of safetensors begins with a length, whose first byte may be that of a pickle.
    pickled = head.startswith(b"\x80") and not _is_safetensors(head)
    if path.suffix == ".safetensors" and (head.startswith(b"PK\x03\x04") or pickled):
        return f"is a file of torch.save; rename it to {path.with_suffix('.pth').name}"
    kind = next((name for magic, name in ARCHIVES.items() if head.startswith(magic)), None)
    if kind or head[257:262] == b"ustar":
        return f"is an archive ({kind or 'tar'}); unpack it, and name the checkpoint that was in it"
    if head.startswith(b"PK\x03\x04"):
        return _what_archive(path)
    if len(head) > 8 and all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in head):
        return f"is a text file, beginning with {head[:40].decode()!r}; name the file of the weights"
    return None


def _is_safetensors(head: bytes) -> bool:
    return len(head) > 8 and head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= LARGEST_HEADER


def _what_archive(path: Path) -> str | None:
    """The same of a zip file, which is what torch.save writes."""
    try:
        names = zipfile.ZipFile(path).namelist()
    except Exception:  # a damaged one, as `where_damaged` will say: BadZipFile, OSError, UnicodeDecodeError
        return None
    if any(name.endswith("/constants.pkl") for name in names):
        return f"is a TorchScript program; save the weights alone where it was made: {SAVE}"
    if not any(name.endswith("data.pkl") for name in names):
        return "is a zip archive; unpack it, and name the checkpoint that was in it"
    return None


def where_damaged(path: Path) -> str | None:
    """Which part of a file of torch.save is not as it was written; None if all are, or it has no checksums.

    PyTorch itself does not look at them, and would give other numbers than were saved.
    """
    if not zipfile.is_zipfile(path):
        return None  # of before PyTorch 1.6; or cut off, which torch will say
    part = "its directory"
    try:
        with zipfile.ZipFile(path) as archive:
            for part in archive.namelist():
                if archive.getinfo(part).CRC:  # 0 where torch.serialization.set_crc32_options(False) was called
                    with archive.open(part) as opened:
                        while opened.read(2**20):
                            pass
    except Exception:  # whatever damage makes it raise: BadZipFile, UnicodeDecodeError, NotImplementedError
        return part
    return None


def what_was_refused(message: str) -> str:
    """What a pickle holds that is no plain weights, and what to do.

    Args:
        message: What torch's reading of weights alone says; of its many lines, the one is read that names the object.
    """
    line = next((line.strip() for line in message.splitlines() if "GLOBAL" in line), "")
    found = re.search(r"GLOBAL ([\w.]+)", line)
    name = found[1] if found else ""
    if name.startswith("numpy."):
        holds = "beside weights it holds numbers of numpy"
    elif name.startswith(OF_SETTINGS):
        holds = "beside weights it holds settings of the program that wrote it"
    elif name.startswith("torch.nn."):
        holds = "it holds a whole network, which is code and weights"
    else:
        holds = "it holds objects of a program, perhaps a whole network"
    return (
        f"not a file of plain weights, so it was not opened{f' ({line})' if line else ''}: {holds}. Have the weights "
        f"alone saved where it was made: {SAVE}"
    )


def what_has_no_tensors(content: Mapping[str, Any]) -> str:
    """What was read without finding weights in it, and what to do."""
    if "optimizers" in content and "iter" in content:
        return (
            f"a training state has no weights; those of its networks are in models/net_*_{content['iter']}.pth of its "
            "run. To resume the run, name the state as path:resume_state"
        )
    holds = ", ".join(map(str, content)) or "nothing"
    return f"no tensors in the checkpoint; it holds: {holds}"[:300]
