"""What simple classifiers make of features, and the commands that ask them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import Commands
from PIL import Image
from small_networks import BACKBONES, SMALL, build
from small_runs import NETWORK, dcpt_options, launch, write

from dcpt_arch import NAFNet
from dcpt_models import OptionError
from dcpt_models.analysis.features import extraction as features
from dcpt_models.analysis.features import probes
from dcpt_models.analysis.features.extraction import extract_features
from dcpt_models.analysis.features.findings import (
    Settings,
    architecture,
    checkpoint,
    random_networks,
    study,
    study_pixels,
)
from dcpt_models.analysis.features.probes import (
    Accuracy,
    distances,
    knn_accuracies,
    knn_accuracy,
    linear_probe_accuracies,
    linear_probe_accuracy,
)
from dcpt_models.analysis.features.training_curve import final_psnr
from dcpt_models.analysis.features.tsne import draw_embeddings, embed

CPU = torch.device("cpu")


def clouds(apart: float, count: int = 21, size: int = 40) -> tuple[np.ndarray, list[str]]:
    """Points of three classes around centres that lie `apart`."""
    rng = np.random.default_rng(0)
    centres = apart * rng.normal(size=(3, 1, size))
    points = (centres + rng.normal(size=(3, count, size))).reshape(-1, size).astype(np.float32)
    return points, [name for name in "abc" for _ in range(count)]


# --- features ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BACKBONES)
def test_the_head_makes_the_image_of_its_features(name: str) -> None:
    network = build(name).train()
    images = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    found = extract_features(network, images)
    assert network.training
    assert not any(module._forward_pre_hooks for module in network.modules())
    network.eval()
    assert found.shape[0] == 6
    assert found.dtype == np.float32
    head = torch.nn.Sequential(*network.head_modules())
    with torch.no_grad():
        restored, levels = network(images, features="also")
        made = head(torch.from_numpy(found))
        scale = getattr(network, "img_range", 1)
        torch.testing.assert_close(made / scale + images, restored)
    for number, level in enumerate(levels):
        np.testing.assert_allclose(extract_features(network, images, number), level, rtol=1e-4, atol=1e-5)
    means = extract_features(network, images, 0, grid=1)
    np.testing.assert_allclose(means[..., 0, 0], levels[0].mean((2, 3)), rtol=1e-4, atol=1e-5)
    with pytest.raises(OptionError, match=rf"{name} has no feature level 9; give 'head', or 0 to {len(levels) - 1}"):
        extract_features(network, images, 9)


def test_features_larger_than_memory_go_to_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    network, images = build("NAFNet"), torch.rand(5, 3, 16, 16)
    expected = extract_features(network, images)
    monkeypatch.setattr(features, "SHARE", 0)
    found = extract_features(network, images)
    assert isinstance(found, np.memmap)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(distances(found), distances(expected))


# --- classifiers ------------------------------------------------------------------------------------------------------


def test_neighbours_are_those_of_the_kd_tree_of_the_paper() -> None:
    from sklearn.model_selection import train_test_split
    from sklearn.neighbors import KNeighborsClassifier

    points, labels = clouds(0.4)
    expected = []
    for state in range(20):
        train, test, known, asked = train_test_split(
            points, labels, test_size=1 / 3, stratify=labels, random_state=state
        )
        assert len(train) == 2 * len(test)
        assert all(list(known).count(name) == 2 * list(asked).count(name) for name in "abc")
        tree = KNeighborsClassifier(5, weights="uniform", algorithm="kd_tree").fit(train, known)
        expected.append(tree.score(test, asked))
    assert 0.4 < np.mean(expected) < 0.95  # hard enough for differences to show
    assert knn_accuracies(distances(points), labels, range(20)) == expected
    maps = points.reshape(63, 5, 2, 4)  # flattened again
    assert knn_accuracy(maps, labels, range(20)) == Accuracy(np.mean(expected), np.std(expected))


def test_distances_are_those_of_the_flattened_features(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "COLUMNS", 7)
    points, _ = clouds(1)
    points += 1e3  # as of features with a bias
    expected = np.linalg.norm(points[:, None].astype(float) - points[None].astype(float), axis=-1)
    np.testing.assert_allclose(distances(points.reshape(63, 4, 10)), expected, atol=1e-6)


def test_accuracy_tells_what_can_be_told() -> None:
    points, labels = clouds(3)
    assert knn_accuracy(points, labels, range(5)) == Accuracy(1, 0)
    assert linear_probe_accuracy(points, labels, range(5)) == Accuracy(1, 0)
    shuffled = list(np.random.default_rng(0).permutation(labels))
    assert 0.15 < knn_accuracy(points, shuffled, range(20)).mean < 0.5  # a third is chance
    assert 0.15 < linear_probe_accuracy(points, shuffled, range(20)).mean < 0.5
    few = ["a"] * 61 + ["b"] * 2
    with pytest.raises(OptionError, match="'b' has 2 images; at least 3"):
        knn_accuracy(points, few, [0])


def test_the_linear_probe_reads_means_on_any_scale() -> None:
    points, labels = clouds(0.4)
    maps = points[:, :, None, None] + np.random.default_rng(1).normal(size=(63, 40, 4, 4)).astype(np.float32)
    maps -= (maps.mean((2, 3)) - points)[:, :, None, None]
    expected = linear_probe_accuracies(points, labels, range(3))
    assert linear_probe_accuracies(maps, labels, range(3)) == pytest.approx(expected, abs=0.051)  # one image of 21
    assert linear_probe_accuracies(1e4 * points + 7, labels, range(3)) == pytest.approx(expected, abs=0.051)


@pytest.mark.parametrize(("figure", "named"), [(None, "scikit-learn"), (Path("a.png"), "scikit-learn and matplotlib")])
def test_missing_packages_are_named(figure: Path | None, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(OptionError, match=rf'needs {named}: pip install -e "\.\[study\]"'):
        probes.check_study(figure)
    with pytest.raises(OptionError, match=r"a\.gif: the name of a figure must end with \.png, \.svg, \.pdf"):
        probes.check_study(Path("a.gif"))


# --- networks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BACKBONES)
def test_random_networks_are_of_the_checkpoints_kind(name: str, tmp_path: Path) -> None:
    network = build(name)
    torch.save(network.state_dict(), tmp_path / "net.pth")
    section = architecture(tmp_path / "net.pth")
    assert section["type"] == name
    state = torch.get_rng_state()
    first, second = random_networks(section, [0, 1]).build()
    (again,) = random_networks({"type": name, **SMALL[name]}, [0]).build()
    assert torch.equal(torch.get_rng_state(), state)
    for key, value in network.state_dict().items():
        assert first.state_dict()[key].shape == value.shape
        assert torch.equal(again.state_dict()[key], first.state_dict()[key])
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    (loaded,) = checkpoint(tmp_path / "net.pth").build()
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), network.parameters(), strict=True))


def test_a_study_counts_all_networks_and_splits() -> None:
    images, labels = torch.rand(30, 3, 8, 8), [name for name in "abc" for _ in range(10)]
    images[:10] *= 0.2
    settings = Settings(states=range(4), neighbours=3)
    finding = study(random_networks({"type": "NAFNet", **SMALL["NAFNet"]}, [0, 1]), images, labels, settings, CPU)
    each = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        each += knn_accuracies(distances(extract_features(NAFNet(**SMALL["NAFNet"]), images)), labels, range(4), 3)
    assert finding.knn == Accuracy.of(each)
    assert finding.networks == 2
    assert finding.values == 6 * 8 * 8
    pixels = study_pixels(images, labels, settings)
    assert pixels.knn == knn_accuracy(images.numpy(), labels, range(4), 3)
    assert (pixels.networks, pixels.values) == (0, 192)


# --- t-SNE ------------------------------------------------------------------------------------------------------------


def test_points_lie_with_their_class(tmp_path: Path) -> None:
    points, labels = clouds(2)
    placed = embed(distances(points), perplexity=10)
    np.testing.assert_array_equal(placed, embed(distances(points), perplexity=10))
    between = distances(placed) + np.diag(np.full(63, np.inf))
    nearest = [labels[i] for i in between.argmin(axis=1)]
    assert np.mean([a == b for a, b in zip(nearest, labels, strict=True)]) > 0.95
    for suffix, magic in ((".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")):
        file = tmp_path / "figures" / f"tsne{suffix}"
        draw_embeddings({"one": placed, "two": placed}, labels, file)
        assert file.read_bytes().startswith(magic)
    text = (tmp_path / "figures" / "tsne.svg").read_text()
    assert all(f">{name}</text>" in text for name in ("one", "two", *"abc"))


# --- the commands -----------------------------------------------------------------------------------------------------

SMALL_STUDY = ["--images", 6, "--crop", 32, "--seeds", 2, "--tiles"]


@pytest.fixture(scope="module")
def run(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny pre-training run with checkpoints 2 and 3, validated at the end."""
    home = tmp_path_factory.mktemp("study")
    options = dcpt_options(photographs, home / "run")
    options["train"]["total_iter"] = 4
    launch(write(options, home))
    return home / "run"


def test_a_checkpoint_stands_beside_random_networks_and_pixels(
    run: Path, photographs: Path, commands: Commands, tmp_path: Path
) -> None:
    weights = run / "models" / "net_g_latest.pth"
    arguments = ["--weights", weights, "--gt", photographs, *SMALL_STUDY, "--states", 5, "--json"]
    done = commands.run("tools/knn.py", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    pixels, random, trained = record["findings"]
    assert [pixels["label"], random["label"]] == ["raw pixels", "NAFNet, 2 random networks"]
    assert trained["label"] == "run/net_g_latest"
    assert trained["values"] == random["values"] == 8 * 32 * 32
    assert all(0 <= one["knn"]["mean"] <= 1 for one in record["findings"])
    assert sum(record["images"].values()) == 30


def test_the_curve_of_a_run(run: Path, photographs: Path, commands: Commands, tmp_path: Path) -> None:
    tuned = tmp_path / "tuned"
    tuned.mkdir()
    lines = [
        {"iteration": n, "results": {"a": {"psnr": 20.0}, "average": {"psnr": p}}} for n, p in ((1, 9.0), (2, 21.5))
    ]
    (tuned / "validation.jsonl").write_text("\n".join(map(json.dumps, lines)))
    done = commands.run(
        *("tools/knn.py", "--run", run, "--gt", photographs, *SMALL_STUDY, "--states", 3, "--json"),
        *("--tuned", f"2={tuned}", "--figure", "figures/curve.svg"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    curve = json.loads(done.stdout)["curve"]
    assert [point["iteration"] for point in curve] == [0, 2, 4]
    assert [point["networks"] for point in curve] == [2, 1, 1]
    assert [point["psnr_after_fine_tuning"] for point in curve] == [None, 21.5, None]
    last = json.loads((run / "validation.jsonl").read_text().splitlines()[-1])
    assert curve[-1]["validation"] == last["results"]["average"]
    assert curve[0]["validation"] == {}
    assert "after fine-tuning from here" in (tmp_path / "figures" / "curve.svg").read_text()


def test_a_picture_of_features(run: Path, photographs: Path, commands: Commands, tmp_path: Path) -> None:
    arguments = ["--weights", run / "models" / "net_g_latest.pth", "--gt", photographs, *SMALL_STUDY]
    arguments += ["--figure", "tsne.png", "--perplexity", 5, "--level", 1, "--grid", 4]
    done = commands.run("tools/tsne.py", *arguments, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert [panel["values"] for panel in record["panels"]] == [3 * 32 * 32, 16 * 4 * 4, 16 * 4 * 4]
    assert np.array(record["panels"][2]["points"]).shape == (30, 2)
    with Image.open(tmp_path / "tsne.png") as image:
        assert image.width > 2000
        assert len(image.convert("RGB").getcolors(2**24) or []) > 5


@pytest.mark.parametrize(
    ("tool", "arguments", "code", "message"),
    [
        ("knn", [], 2, "which network? Give --weights FILE"),
        ("knn", ["--network", "NAFNett"], 2, "did you mean 'NAFNet'?"),
        ("knn", ["--network", "NAFNet", "widht=8"], 2, "did you mean 'width'?"),
        ("knn", ["--network", "NAFNet", "width=wide"], 2, "width"),
        ("knn", ["--network", "NAFNet", "8"], 2, "expected KEY=VALUE"),
        ("knn", ["--weights", "none.pth"], 1, "none.pth: no such checkpoint file"),
        ("knn", ["--network", "NAFNet", "--gt", "none"], 1, "none: no such folder"),
        ("knn", ["--network", "NAFNet", "--degradations", "hazy"], 1, "did you mean 'haze'?"),
        ("knn", ["--network", "NAFNet", "--lq", "none"], 2, "must be NAME=FOLDER"),
        ("knn", ["--network", "NAFNet", "--train-sets"], 2, "--train-sets goes with -opt"),
        ("knn", ["--network", "NAFNet", "-opt", "none.yml"], 2, "none.yml"),
        ("knn", ["--network", "NAFNet", "--figure", "a.png"], 2, "--figure and --tuned go with --run"),
        ("knn", ["--run", "nowhere"], 2, "no checkpoints models/net_g_N.pth"),
        ("knn", ["--run", "{run}", "--tuned", "7=nowhere"], 2, "the run has checkpoints 0, 2, 4"),
        ("knn", ["--run", "{run}", "--figure", "a.jpg"], 2, "must end with .png, .svg, .pdf"),
        ("tsne", ["--network", "NAFNet"], 2, "--figure"),
        (
            "tsne",
            ["--network", "NAFNet", *SMALL_STUDY, "--figure", "a.png", "--perplexity", "30"],
            2,
            "--perplexity must",
        ),
    ],
)
def test_mistakes_are_told(
    tool: str, arguments: list[Any], code: int, message: str, run: Path, commands: Commands, tmp_path: Path
) -> None:
    done = commands.run(f"tools/{tool}.py", *(str(one).format(run=run) for one in arguments), cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_documentation_is_todays() -> None:
    root = Path(__file__).resolve().parents[2]
    text = (root / "docs" / "STUDYING.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"```python\n(.*?)```", text, re.S)
    namespace: dict[str, Any] = {}
    exec(snippet, namespace)
    assert 0 <= namespace["mean"] <= 1
    files = [
        root / "dcpt_models" / "analysis" / "features" / "arguments.py",
        *(root / "dcpt_tools" / "studying" / f"{n}.py" for n in ("knn", "tsne", "report")),
    ]
    sources = "".join(file.read_text(encoding="utf-8") for file in files)
    switches = set(re.findall(r"--[a-z][a-z-]*", text))
    assert {"--weights", "--run", "--figure", "--table"} <= switches
    assert not [switch for switch in switches if f'"{switch}"' not in sources]


def test_a_run_without_psnr_is_no_tuned_one(run: Path) -> None:
    with pytest.raises(OptionError, match=r"no validation\.jsonl with psnr"):
        final_psnr({}, run)


def test_the_network_of_an_option_file_is_studied_with_its_sets(run: Path, commands: Commands, tmp_path: Path) -> None:
    archived = run / "options.yml"
    arguments = ["-opt", archived, "--train-sets", *SMALL_STUDY, "--images", 3, "--states", 2]
    done = commands.run("tools/knn.py", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    header, _, pixels, random = done.stdout.splitlines()[:4]
    assert header.startswith("| features ")
    assert re.fullmatch(r"\| raw pixels +\| 3,072 +\| \d+\.\d ± \d+\.\d +\| \d+\.\d ± \d+\.\d +\|", pixels)
    assert random.startswith(f"| NAFNet, 2 random networks | {NETWORK['width'] * 32 * 32:,}")
    assert "haze 3, rain 3, noise 3, motion_blur 3, low_light 3; crops of 32 x 32 from the training sets" in done.stdout
    assert "* chance: 20.0%" in done.stdout
