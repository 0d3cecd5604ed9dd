"""Any network as a backbone: what is found of it, that it computes what it computed before, and what is refused."""

from __future__ import annotations

import copy
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_networks import SECTIONS, adapted, original
from small_networks import SMALL, build, picture
from torch import nn
from torch.utils.checkpoint import checkpoint

from dcpt_arch import AnyBackbone, DegradationClassifier, ViTDegradationClassifier
from dcpt_arch.adapter.layouts import Layout, layout_of
from dcpt_arch.adapter.sources import build as build_section
from dcpt_arch.checkpoints.export import ExportError, export_network, to_program
from dcpt_arch.checkpoints.initialise import initialise
from dcpt_arch.checkpoints.loading import CheckpointError, load_network, to_published_layout

# Levels, with channels and stride; head; size multiple.
FOUND: dict[str, tuple[dict[str, tuple[int, int]], list[str], int]] = {
    "EDSR": ({f"body.{i}": (8, 1) for i in (2, 1, 0)}, ["conv_after_body", "conv_last"], 1),
    "RCAN": ({f"body.{i}": (16, 1) for i in (2, 1, 0)}, ["conv_after_body", "conv_last"], 1),
    "RRDBNet": (
        {f"body.{i}": (8, 4) for i in (2, 1, 0)},
        ["conv_body", "conv_up1", "conv_up2", "conv_hr", "conv_last"],
        4,
    ),
    "SwinIR": ({f"layers.{i}": (8, 1) for i in (2, 1, 0)}, ["norm", "conv_after_body", "conv_last"], 4),
    "SCUNet": ({"m_up1.1": (64, 1), "m_up2.0": (128, 2), "m_up3.0": (256, 4)}, ["m_tail"], 64),
    "DRUNet": ({"m_up1.1": (4, 1), "m_up2.1": (8, 2), "m_up3.1": (8, 4)}, ["m_tail"], 8),
    "Uformer": (
        {f"decoderlayer_{i}": (64 // 2**i, 2 ** (3 - i)) for i in (3, 2, 1, 0)},
        ["output_proj"],
        16,
    ),
}


class Shapes(nn.Module):
    """Every kind of output that a module can have, shared and unused ones among them."""

    def __init__(self) -> None:
        super().__init__()
        self.fixed = nn.Conv2d(3, 4, 3, padding=1).requires_grad_(False)
        self.body = nn.Conv2d(4, 4, 3, padding=1)
        self.again = nn.Conv2d(4, 4, 1)
        self.pair = Pair()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.spare = nn.Conv2d(4, 4, 1)
        self.late = nn.Conv2d(4, 4, 1)
        self.alias = self.body
        self.ending = nn.Conv2d(4, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.body(self.fixed(x))
        y = self.again(self.again(y))
        y, _ = self.pair(y)
        return x + self.ending(self.late(y * self.pool(y)))


class Pair(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, x


class Several(nn.Module):
    """Gives what `make` makes of the image, beside others."""

    def __init__(self, make: Any) -> None:
        super().__init__()
        self.first, self.last, self.make = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 3, 1), make

    def forward(self, x: torch.Tensor) -> Any:
        return self.make(self, x, self.last(self.first(x)))


class Checkpointed(nn.Module):
    """Four convolutions, the middle two inside one region whose activations are computed twice."""

    def __init__(self, twice: bool) -> None:
        super().__init__()
        self.twice = twice
        self.a, self.b, self.c = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.ending = nn.Conv2d(4, 3, 1)

    def middle(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(self.b(x).sin()).sin()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.a(x).sin()
        y = checkpoint(self.middle, y, use_reentrant=False) if self.twice else self.middle(y)
        return x + self.ending(y)


class Viewing(Checkpointed):
    """Fails where channels lie last in memory."""

    def middle(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(self.b(x).view(-1).view(x.shape))


# What is found


@pytest.mark.parametrize("name", SECTIONS)
def test_foreign_networks(name: str, tmp_path: Path) -> None:
    net = adapted(name)
    levels, head, multiple = FOUND[name]
    declared = [(info.channels, info.stride) for info in net.feature_info]
    assert dict(zip(net.plan.features, declared, strict=True)) == levels
    assert (list(net.plan.features), list(net.head), net.size_multiple) == (list(levels), head, multiple)
    x, side = picture(18, 25), -(-25 // multiple) * multiple
    ended: list[nn.Module] = []
    hooks = [module.register_forward_hook(lambda module, *_: ended.append(module)) for module in net.head_modules()]
    with torch.no_grad():
        only = net(x, features="only")
        assert not ended, "nothing behind the features is computed"
        image, also = net(x, features="also")
        assert torch.equal(net(x), image) and image.shape == x.shape and ended
        high = -(-18 // multiple) * multiple
        assert [tuple(f.shape) for f in only] == [(2, c, high // s, side // s) for c, s in levels.values()]
        assert all(torch.equal(a, b) for a, b in zip(only, also, strict=True))
    for hook in hooks:
        hook.remove()
    assert [p for p in net.parameters() if p.grad is not None] == []
    sum(f.square().mean() for f in net(x, features="only")).backward()  # type: ignore[union-attr]
    touched = {n for n, p in net.network.named_parameters() if p.grad is not None}
    assert touched and not any(net.is_head(n) for n in touched)

    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        assert all(f.isfinite().all() for f in net(x, features="only"))

    # Its state dict is the original's, both ways, and the file tells which network it is.
    theirs = original(name)
    theirs.load_state_dict(net.state_dict(), strict=True)
    with torch.no_grad():
        fitting = picture(side, side)
        assert torch.equal(theirs(fitting), net(fitting))
    for ending in (".pth", ".safetensors") if name == "EDSR" else (".pth",):
        assert export_network(net, tmp_path / f"net{ending}", "original").difference == 0
        assert load_network(tmp_path / f"net{ending}").plan == net.plan
    saved = torch.load(tmp_path / "net.pth", weights_only=True)
    assert saved["params"].keys() == theirs.state_dict().keys()


@pytest.mark.parametrize("name", ["NAFNet", "DCPTSwinIR"])
def test_ours_through_the_adapter_are_what_they_are_without_it(name: str) -> None:
    ours = build(name)
    levels = {
        "NAFNet": ["decoders.1", "decoders.0"],
        "DCPTSwinIR": ["layers.3", "layers.2", "layers.1"],
    }[name]
    net = AnyBackbone({"type": name, **SMALL[name]}, features=levels[::-1], head=list(ours.head)).eval()
    net.load_state_dict(ours.state_dict())
    assert net.plan.features == levels
    assert net.feature_info == ours.feature_info and net.size_multiple == ours.size_multiple
    assert {n for n in ours.state_dict() if ours.is_head(n)} == {n for n in net.state_dict() if net.is_head(n)}
    for size in ((16, 16), (9, 21)):
        x = picture(*size)
        with torch.no_grad():
            assert torch.equal(net(x), ours(x))
            for ask in ("only", "also"):
                found, wanted = net(x, features=ask), ours(x, features=ask)
                if ask == "also":
                    assert torch.equal(found[0], wanted[0])
                    found, wanted = found[1], wanted[1]
                assert len(found) == len(wanted)
                assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        ((1, 5, 16, 24), (1, 5, 24, 40), Layout("NCHW", 5, 8)),
        ((1, 16, 24, 5), (1, 24, 40, 5), Layout("NHWC", 5, 8)),
        ((1, 384, 5), (1, 960, 5), Layout("NLC", 5, 8)),
        ((1, 5, 384), (1, 5, 960), Layout("NCL", 5, 8)),
        ((1, 5, 24, 16), (1, 5, 40, 24), None),  # transposed
        ((1, 5, 1, 1), (1, 5, 1, 1), None),  # pooled
        ((24, 16, 5), (60, 16, 5), None),  # cut into windows
        ((1, 5), (1, 5), None),
        ((1, 5, 256, 384), (1, 5, 384, 640), None),  # larger than the image
    ],
)
def test_layouts(first: Any, second: Any, wanted: Layout | None) -> None:
    layout = layout_of((first, second), ((128, 192), (192, 320)))
    assert layout == wanted
    if layout:
        value = torch.arange(2 * 5 * 6, dtype=torch.float).view(2, 5, 2, 3)  # of an image of 16 x 24
        given = {
            "NCHW": value,
            "NHWC": value.permute(0, 2, 3, 1),
            "NLC": value.flatten(2).transpose(1, 2),
            "NCL": value.flatten(2),
        }[layout.order]
        assert torch.equal(layout.to_map(given, (16, 24)), value)


def test_squares_alone() -> None:
    net, x = adapted("Uformer"), picture(16, 40)
    assert net.plan.square
    with torch.no_grad():
        # 16 x 48 is what the size multiple asks for, and 48 x 48 what the network gets.
        assert [f.shape[-2:] for f in net(x, features="only")] == [(16 // 2**i, 48 // 2**i) for i in range(4)]
        assert net(x).shape == x.shape
    with pytest.raises(ExportError, match="squares alone"):
        to_program(net)


def test_channels_last_where_a_network_cannot_take_it() -> None:
    net = AnyBackbone(Viewing(twice=False))
    assert net.plan.contiguous and not AnyBackbone(Checkpointed(twice=False)).plan.contiguous
    x = picture(8, 8)
    expected = net(x)
    assert torch.equal(net.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last)), expected)


def test_activations_that_are_computed_twice_are_computed_by_the_same_network() -> None:
    gradients = []
    for twice in (False, True):
        torch.manual_seed(0)
        net = AnyBackbone(Checkpointed(twice), features=["b", "a"]).train()
        loss = sum(f.square().mean() for f in net(picture(8, 8), features="only"))
        assert isinstance(loss, torch.Tensor)
        loss.backward()
        gradients.append({name: p.grad for name, p in net.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys() == {f"network.{a}.{b}" for a in "ab" for b in ("weight", "bias")}
    assert all(torch.equal(gradients[0][name], gradients[1][name]) for name in gradients[0])


def test_a_copy_gives_its_own_features() -> None:
    net = adapted("EDSR")
    other = copy.deepcopy(net)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
        assert all(not f.any() for f in other(picture(8, 8), features="only"))
        assert all(f.any() for f in net(picture(8, 8), features="only"))


def test_compiled_in_one_graph() -> None:
    net, x = AnyBackbone(Checkpointed(twice=False)).eval(), picture(8, 8)
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), net(x))
        for found, wanted in zip(compiled(x, features="only"), net(x, features="only"), strict=True):
            torch.testing.assert_close(found, wanted)
    sum(f.square().mean() for f in compiled(x, features="only")).backward()
    assert {n for n, p in net.network.named_parameters() if p.grad is None} == {"ending.weight", "ending.bias"}


def test_what_has_no_part_in_the_image_is_frozen(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="basicsr"):
        net = AnyBackbone(Shapes())
    assert "2 tensors have no part in the image, and are not trained: spare.weight, spare.bias" in caplog.text
    assert net.plan.features == ["late", "body"]
    frozen = {name for name, p in net.network.named_parameters() if not p.requires_grad}
    assert frozen == {"fixed.weight", "fixed.bias", "spare.weight", "spare.bias"}


def test_no_random_number_is_drawn() -> None:
    section = {"type": "AnyBackbone", "network": SECTIONS["DRUNet"]}
    state = torch.get_rng_state()
    found = AnyBackbone.written_out(section)
    assert torch.equal(torch.get_rng_state(), state)
    assert found == {**section, "features": ["m_up1.1", "m_up2.1", "m_up3.1"], "head": ["m_tail"], "size_multiple": 8}
    assert AnyBackbone.written_out(found) == found


# What is refused


CANDIDATES = r"candidates: body \(4 channels, stride 1\), late \(4 channels, stride 1\)$"  # nothing follows `ending`


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["bodi"], "no module 'bodi'; did you mean 'body'"),
        (["body", "body"], "twice"),
        ([], "names no module"),
        (["again"], "'again' runs 2 times in a pass .*shared, or recurrent"),
        (["spare"], "'spare' is not used"),
        (["alias"], "'alias' is the same module as 'body'"),
        (["pair"], "'pair' gives a tuple, no tensor"),
        (["pool"], r"'pool' gives 1 x 4 x 1 x 1 for an image of 256x128, no map"),
        (["fixed"], "no trained parameter stands before 'fixed'"),
    ],
)
def test_what_is_no_level(names: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        AnyBackbone(Shapes(), features=names)
    if "twice" not in message:
        assert caught.match(CANDIDATES)


@pytest.mark.parametrize(
    ("network", "arguments", "message"),
    [
        ("EDSR", {}, r"network must be a section, such as .*, or a torch.nn.Module .* not 'EDSR'"),
        (nn.Conv2d, {}, r"network must be a section, .* not <class"),
        (Shapes(), {"features": "body"}, r"features must be 'auto' or a list of names, not 'body'; write \[body\]"),
        (Shapes(), {"head": "ending"}, r"head must be 'auto' or a list of names, not 'ending'; write \[ending\]"),
    ],
)
def test_arguments_of_other_kinds(network: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AnyBackbone(network, **arguments)


class Ungraded(Checkpointed):
    """Runs without gradients, in training too."""

    @torch.no_grad()
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x)


@pytest.mark.parametrize("network", [Checkpointed(twice=False).requires_grad_(False), Ungraded(twice=False)])
def test_a_network_in_which_nothing_is_trained(network: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"nothing in .* is trained: its parameters are frozen .*or it runs without"):
        AnyBackbone(network)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["endin"], "no module 'endin'; did you mean 'ending'.*candidates: again, late, ending"),
        (["fixed"], "'fixed' runs before the last level is there.*candidates"),
        ([], "names no module; candidates"),
    ],
)
def test_what_is_no_head(names: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AnyBackbone(Shapes(), features=["body"], head=names)


@pytest.mark.parametrize(
    ("make", "output", "message"),
    [
        (lambda self, x, y: [y, y], None, r"gives a list \(0: 1 x 3 x 128 x 256, 1: .*say by `output`"),
        (lambda self, x, y: {"sr": y}, None, r"gives a dict \('sr': 1 x 3 x 128 x 256\).*output: sr"),
        (lambda self, x, y: [y, y], 2, "has no item 2"),
        (lambda self, x, y: y, 0, "names item 0; leave `output` out"),
        (lambda self, x, y: [y, y] if self.training else y, None, "gives a list"),
        (lambda self, x, y: y.repeat_interleave(2, 2).repeat_interleave(2, 3), None, "2 times the side.*scale"),
        (lambda self, x, y: y[:, :1], None, "1 channels.*num_out_ch"),
        (lambda self, x, y: y.mean((2, 3)), None, "gives 1 x 3, no image"),
    ],
)
def test_outputs(make: Any, output: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AnyBackbone(Several(make), output=output)


def test_one_of_several_outputs() -> None:
    torch.manual_seed(0)
    net, x = AnyBackbone(Several(lambda self, x, y: [x, y]), output=1), picture(7, 9)
    assert torch.equal(net(x), net.network(x)[1])
    assert not torch.equal(net(x), x)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"type": "EDSRR"}, "no network 'EDSRR'; did you mean 'EDSR'"),
        ({"type": "spandrel:SCUnet"}, "no network 'SCUnet'; did you mean 'SCUNet'"),
        ({"type": "no_such_package:Net"}, "no module 'no_such_package'.*folder/file.py:Class"),
        ({"type": "torch.nn:Conv2D"}, "no 'Conv2D' there; did you mean 'Conv2d'"),
        ({"type": "os:system", "command": "false"}, "is no network"),
        ({"type": "EDSR", "num_in_ch": 4, "num_out_ch": 4, "upscale": 1}, "takes no image of 3 channels"),
        ({"type": "EDSR", "num_in_ch": 3, "num_out_ch": 3, "width": 1}, "cannot be built .*width"),
        ({"type": "EDSR", "num_in_ch": 3, "num_out_ch": 3, "upscale": 2}, "2 times the side"),
        ({"width": 3}, "no `type`"),
        ({"checkpoint": "nowhere.pth"}, "nowhere.pth: no such checkpoint file"),
        ({"checkpoint": "nowhere.pth", "width": 3}, "no other arguments"),
    ],
)
def test_networks_that_cannot_be_built(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AnyBackbone(section)


def test_a_size_multiple_that_does_not_suffice() -> None:
    assert adapted("DRUNet", size_multiple=16).size_multiple == 16
    with pytest.raises(ValueError, match=r"size_multiple: 4 is too small: an image of .* does not come out"):
        adapted("DRUNet", size_multiple=4)


# Files


def test_the_network_of_a_checkpoint(tmp_path: Path) -> None:
    given = {"type": "spandrel:NAFNet", "width": 4, "enc_blk_nums": [1], "dec_blk_nums": [1]}
    theirs, _ = build_section(given)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    net = AnyBackbone({"checkpoint": str(tmp_path / "theirs.pth")}).eval()
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in theirs.state_dict().items())
    assert net.section == {**given, "img_channel": 3, "middle_blk_num": 1}
    export_network(net, tmp_path / "ours.pth")
    assert load_network(tmp_path / "ours.pth").section == net.section


def test_a_checkpoint_that_spandrel_does_not_know(tmp_path: Path) -> None:
    torch.save(nn.Linear(1, 1).state_dict(), tmp_path / "linear.pth")
    with pytest.raises(ValueError, match=r"linear.pth: spandrel does not know its network; give .*\(Unsupported"):
        AnyBackbone({"checkpoint": str(tmp_path / "linear.pth")})


USER = """
import sys
from torch import nn
sys.imported_by_test = getattr(sys, "imported_by_test", 0) + 1

class Mine(nn.Module):
    def __init__(self, width: int = 4):
        super().__init__()
        self.first, self.middle = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x):
        return x + self.last(self.middle(self.first(x).relu()).relu())
"""


def test_a_class_of_the_users_and_a_file_that_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "my_own_network.py"
    file.write_text(USER)
    monkeypatch.setattr(sys, "imported_by_test", 0, raising=False)
    net = AnyBackbone({"type": f"{file}:Mine", "width": 5}).eval()
    assert (net.plan.features, net.head) == (["middle", "first"], ("last",))
    export_network(net, tmp_path / "net.pth")
    note = torch.load(tmp_path / "net.pth", weights_only=True)["any_backbone"]
    assert note["network"] == {"type": "my_own_network:Mine", "width": 5}, "no folder of this machine"
    assert str(tmp_path) not in str(note)
    # Nothing is imported because a file names it, even where it could be.
    del sys.modules["my_own_network"]
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(CheckpointError, match=r"nothing is imported because a file names it.*--import my_own_network"):
        load_network(tmp_path / "net.pth")
    assert sys.imported_by_test == 1  # type: ignore[attr-defined]
    with pytest.raises(CheckpointError, match="is no network"):
        load_network({"params": net.state_dict(), "any_backbone": {**note, "network": {"type": "os:system"}}})
    AnyBackbone({"type": "my_own_network:Mine", "width": 5})
    x = picture(5, 5)
    with torch.no_grad():
        assert torch.equal(load_network(tmp_path / "net.pth")(x), net(x))
    del sys.modules["my_own_network"]


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    net = adapted("SwinIR")
    export_network(net, tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match=r"does not fit SwinIR.*SwinIR has other options here"):
        load_network(tmp_path / "net.pth", embed_dim=12)
    content = torch.load(tmp_path / "net.pth", weights_only=True)
    with pytest.raises(CheckpointError, match="note on the network is not complete"):
        load_network({**content, "any_backbone": {"network": SECTIONS["SwinIR"]}})
    with pytest.raises(CheckpointError, match="SwinIR has no such part"):
        load_network({**content, "any_backbone": {**content["any_backbone"], "head": ["ending"]}})
    # Names that a network of ours would have are not renamed.
    initialise(adapted("SwinIR", seed=1), tmp_path / "net.pth", scope="encoder")
    assert to_published_layout(net).keys() == original("SwinIR").state_dict().keys()


# Classifiers of features


def test_a_classifier_for_given_features() -> None:
    features = [torch.rand(2, 6, 20, 24), torch.rand(2, 8, 10, 12), torch.rand(2, 8, 3, 3)]
    classifier = DegradationClassifier.from_features(features, classes=4, width=8)
    assert classifier(features).shape == (2, 4)
    assert [(info.channels, info.stride) for info in classifier.used] == [(6, 1), (8, 2), (8, 8)]
    assert ViTDegradationClassifier.from_features(features, 3, width=8)(features).shape == (2, 3)
    with pytest.raises(ValueError, match="highest resolution first"):
        DegradationClassifier.from_features(features[::-1], classes=4)
    with pytest.raises(ValueError, match="must be maps"):
        DegradationClassifier.from_features([torch.rand(2, 20, 6)], classes=4)
