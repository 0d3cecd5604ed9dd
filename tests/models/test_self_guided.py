"""A network that tells the degradations of its input, and the method that trains both parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_models import make_model
from small_networks import SMALL, build, picture
from small_runs import NAMES, completed, dcpt_options, write

from dcpt_arch import NAFNet
from dcpt_arch.checkpoints.loading import load_network
from dcpt_models.errors import OptionError

KINDS = 3


def told(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows)


def test_an_image_without_degradation_goes_through_a_plain_nafnet() -> None:
    guided = build("GuidedNAFNet")
    plain = NAFNet(**SMALL["NAFNet"]).eval()
    plain.load_state_dict({k: v for k, v in guided.state_dict().items() if not k.startswith(("guide.", "steer_"))})
    x = picture(32, 48)
    with torch.no_grad():
        image, _ = guided(x, degradations=torch.zeros(2, KINDS))
        torch.testing.assert_close(image, plain(x))
        other, _ = guided(x, degradations=told([1, 0, 0], [0, 1, 0]))
    assert not torch.allclose(image, other, atol=1e-3)


def test_rows_of_nan_are_answered_by_the_guide_and_without_gradient() -> None:
    guided, x = build("GuidedNAFNet"), picture(33, 20)
    own = guided(x)
    image, logits = guided(x, degradations=torch.full((2, KINDS), torch.nan))
    torch.testing.assert_close(image, own)
    torch.testing.assert_close(logits, guided(x, features="guide"))
    image.sum().backward()
    assert all(parameter.grad is None for parameter in guided.guide.parameters())
    own.sum().backward()
    assert all(parameter.grad is not None for parameter in guided.guide.parameters())


def test_a_checkpoint_says_its_arguments(tmp_path: Path) -> None:
    guided, x = build("GuidedNAFNet"), picture(16, 16)
    torch.save({"params": guided.state_dict()}, tmp_path / "net.pth")
    with torch.no_grad():
        assert torch.equal(load_network(tmp_path / "net.pth")(x), guided(x))


def options(photographs: Path, home: Path, **train: Any) -> dict[str, Any]:
    found = dcpt_options(photographs, home)
    del found["network_dc"], found["train"]["optim_dc"]
    found["model_type"] = "SelfGuidedModel"
    found["degradations"] = [*NAMES, "clean"]
    found["network_g"] = {"type": "GuidedNAFNet", **SMALL["GuidedNAFNet"], "guide_classes": len(NAMES)}
    found["train"].update(train)
    return found


@pytest.mark.parametrize(("share", "rows"), [(1.0, 4), (0.5, 2), (0.0, 0)])
def test_a_share_of_the_batch_is_told_its_degradations(photographs, tmp_path, share: float, rows: int) -> None:
    names = ["haze", "rain+noise", "clean", "low_light"]
    model = make_model(options(photographs, tmp_path / "run", told=share), tmp_path, names)
    given = []
    model.networks["g"].register_forward_pre_hook(
        lambda _, images, keywords: given.append(keywords["degradations"]), with_kwargs=True
    )
    (losses,) = model.loss_steps()
    haze, rain, noise, _, low_light = (NAMES.index(name) for name in NAMES)
    expected = torch.zeros(4, len(NAMES))
    expected[0, haze] = expected[1, rain] = expected[1, noise] = expected[3, low_light] = 1
    torch.testing.assert_close(given[0][:rows], expected[:rows])
    assert given[0][rows:].isnan().all()
    restored, logits = model.networks["g"](model.lq, degradations=given[0])
    torch.testing.assert_close(losses["l_pix"], (restored - model.gt).abs().mean())
    p = logits.sigmoid().where(expected.bool(), 1 - logits.sigmoid())
    torch.testing.assert_close(losses["l_cls"], ((1 - p) ** 2 * -p.log()).mean())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network_g": {"type": "NAFNet", "width": 4}}, "network_g:type.*must be GuidedNAFNet"),
        ({"degradations": ["haze", "clean"]}, "network_g:guide_classes.*must be 1"),
        (
            {"train": {"learns": [], "total_iter": 3, "optim_g": {"type": "AdamW", "lr": 1e-3}}},
            "train:learns.*is empty",
        ),
        ({"degradations": []}, "degradations.*is needed by SelfGuidedModel"),
    ],
)
def test_what_does_not_fit_the_method_is_said(photographs, tmp_path, change, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        completed(write({**options(photographs, tmp_path / "run"), **change}, tmp_path))
