"""Networks as folders and on the Hugging Face Hub, whose interface is replaced by a folder here."""

from __future__ import annotations

import builtins
import json
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from safetensors.torch import load_file
from small_networks import build, every_backbone

from dcpt_arch import AnyBackbone
from dcpt_arch.checkpoints import CheckpointError, load_network
from dcpt_arch.checkpoints.hub import find_file


class Hub:
    """What of huggingface_hub is used, over a folder: repository -> files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls: list[tuple[str, Any]] = []
        self.reachable = True

    def create_repo(self, repo_id: str, private: bool, exist_ok: bool) -> None:
        self.calls.append(("create", (repo_id, private, exist_ok)))
        (self.root / repo_id).mkdir(parents=True, exist_ok=True)

    def upload_folder(
        self, repo_id: str, folder_path: Path, commit_message: str, ignore_patterns: list[str] | None
    ) -> None:
        self.calls.append(("upload", commit_message))
        for file in Path(folder_path).iterdir():
            if file.name not in (ignore_patterns or []):
                shutil.copy(file, self.root / repo_id)

    def list_repo_files(self, repo_id: str, revision: str | None = None) -> list[str]:
        return [file.name for file in (self.root / repo_id).iterdir()]

    def download(self, repo_id: str, filename: str, revision: str | None = None) -> str:
        self.calls.append(("download", (repo_id, filename, revision)))
        if not self.reachable:
            raise LocalEntryNotFoundError("cannot reach the Hub\nand more")
        file = self.root / repo_id / filename
        if not file.is_file():
            raise EntryNotFoundError(f"404: no {filename}")
        return str(file)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The stand-in, in place of the real one."""
    made = Hub(tmp_path / "hub")
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: made)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", made.download)
    return made


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return type(one) is type(other) and list(a) == list(b) and all(torch.equal(a[name], b[name]) for name in a)


@every_backbone
def test_a_folder_is_opened_again(name: str, tmp_path: Path) -> None:
    net = build(name)
    folder = net.save_pretrained(tmp_path / "deep" / "folder")
    assert same(load_network(folder), net)
    assert same(load_network(str(folder)), net)
    assert set(load_file(folder / "model.safetensors")) == set(net.state_dict())
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == [name]
    assert config["parameters"] == sum(p.numel() for p in net.parameters())
    assert 'load_network("folder")' in (folder / "README.md").read_text()


def test_the_folder_of_another_projects_network_says_which_it_is(tmp_path: Path) -> None:
    arguments = {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 4, "num_block": 3, "upscale": 1}
    net = AnyBackbone({"type": "EDSR", **arguments})
    assert same(load_network(net.save_pretrained(tmp_path)), net)


def test_a_card_stays_unless_another_is_given(tmp_path: Path) -> None:
    net = build("NAFNet")
    card = net.save_pretrained(tmp_path, "mine") / "README.md"
    net.save_pretrained(tmp_path)
    assert card.read_text() == "mine"
    net.save_pretrained(tmp_path, "other")
    assert card.read_text() == "other"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["README.md", "config.json", "model.safetensors"]


def test_a_network_goes_to_the_hub_and_comes_back(hub: Hub) -> None:
    net = build("Restormer")
    assert net.push_to_hub("me/net", private=True, message="First") == "hf://me/net"
    assert hub.calls == [("create", ("me/net", True, True)), ("upload", "First")]
    assert 'load_network("hf://me/net")' in (hub.root / "me" / "net" / "README.md").read_text()
    assert same(load_network("hf://me/net"), net)
    assert same(load_network(Path("hf://me/net")), net)  # of whose two slashes one is left
    load_network("hf://me/net@v1")
    load_network("hf://me/net@v1/model.safetensors")
    assert hub.calls[-2:] == [("download", ("me/net", "model.safetensors", "v1"))] * 2
    (hub.root / "me" / "net" / "README.md").write_text("edited there")
    net.push_to_hub("me/net")
    assert (hub.root / "me" / "net" / "README.md").read_text() == "edited there"
    net.push_to_hub("me/net", "new")
    assert (hub.root / "me" / "net" / "README.md").read_text() == "new"


def test_other_names_of_weights_are_found(hub: Hub) -> None:
    net = build("NAFNet")
    home = hub.root / "you" / "theirs"
    home.mkdir(parents=True)
    torch.save({"params": net.state_dict()}, home / "weights.pth")
    (home / "README.md").touch()
    assert same(load_network("hf://you/theirs"), net)
    assert same(load_network(home), net)
    (home / "b.pth").touch()
    for source, where in (("hf://you/theirs", "hf://you/theirs"), (home, str(home))):
        with pytest.raises(
            CheckpointError, match=r"several files of weights \(b.pth, weights.pth\); name one"
        ) as caught:
            load_network(source)
        assert str(caught.value).startswith(where)
    assert same(load_network("hf://you/theirs/weights.pth"), net)


def test_what_is_not_there_is_said(hub: Hub, tmp_path: Path) -> None:
    (hub.root / "me" / "empty").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="hf://me/empty: no file of weights in it"):
        find_file("hf://me/empty")
    with pytest.raises(CheckpointError, match=r"not downloaded \(404: no a\.pth\)"):
        find_file("hf://me/empty/a.pth")
    with pytest.raises(CheckpointError, match="hf://owner/name"):
        find_file("hf://alone")
    (tmp_path / "run" / "models").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="models/net_g_latest"):
        load_network(tmp_path / "run")
    hub.reachable = False
    with pytest.raises(CheckpointError, match=r"not downloaded \(cannot reach the Hub\).*hf auth login"):
        load_network("hf://me/net")


def test_without_the_library_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("huggingface_hub"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(CheckpointError, match=r"pip install huggingface_hub"):
        load_network("hf://me/net")
    with pytest.raises(ImportError, match=r"me/net, it needs huggingface_hub: pip install huggingface_hub"):
        build("NAFNet").push_to_hub("me/net")
