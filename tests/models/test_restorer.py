"""Restoring photographs: tiles without seams, memory, precision, and the command as a user gives it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import in_this_process
from PIL import Image
from small_networks import build
from torch import nn

from dcpt_arch import NAFNet, RestorationBackbone
from dcpt_arch.backbones.base import FeatureInfo
from dcpt_data.images.photograph_files import ImageFile, read_image_file, write_image_file
from dcpt_data.images.pixels import to_float
from dcpt_data.images.sample_photographs import TEST, load
from dcpt_models.errors import OptionError
from dcpt_models.inference import restorer as restoring
from dcpt_models.inference.pipeline import overlapped
from dcpt_models.inference.restorer import (
    LARGEST,
    RestoreError,
    Restorer,
    average_over_symmetries,
)
from dcpt_models.inference.tiling import cover, join, plan
from dcpt_models.runtime.devices import choose_device
from dcpt_models.runtime.memory import bytes_per_pixel, free_main_memory, free_memory, is_out_of_memory, used_memory

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")


class Local(RestorationBackbone):
    """A network that looks no further than two pixels, at full and at half resolution."""

    head = ("ending",)
    size_multiple = 4

    def __init__(self) -> None:
        super().__init__()
        self.feature_info.append(FeatureInfo(channels=4, stride=1))
        self.near = nn.Conv2d(3, 4, 3, padding=1)
        self.down = nn.Conv2d(3, 16, 2, stride=2)
        self.ending = nn.Conv2d(4, 3, 3, padding=1)

    def encode(self, x):
        return [self.near(x).sin() + torch.pixel_shuffle(self.down(x).sin(), 2)], None

    def decode(self, x, features, carried):
        return 0.4 + 0.3 * x + 0.2 * self.ending(features[0])


class Plain(RestorationBackbone):
    """A network without features whose decode is given."""

    head = ()
    size_multiple = 8

    def __init__(self, function) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1))
        self.function = function

    def encode(self, x):
        return [], None

    def decode(self, x, features, carried):
        return self.function(x) + self.bias


def local(seed: int = 0) -> Local:
    torch.manual_seed(seed)
    return Local()


@pytest.fixture(scope="module")
def cat() -> np.ndarray:
    """300 x 451 pixels of 16 bits, in which small differences show."""
    return (load(TEST["astronaut"]).astype(np.uint16) * 257).copy()


def restored(pixels: np.ndarray, network: RestorationBackbone, **options: Any) -> np.ndarray:
    return Restorer(network, CPU, **{"precision": "fp32", **options}).restore(pixels)[0]


def worst(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(to_float(a) - to_float(b)).max())


# Tiles


def test_tiles_cover_every_side_and_weights_sum_to_one() -> None:
    for multiple, overlap in ((1, 0), (1, 8), (8, 64), (16, 64), (12, 20)):
        for length in range(1, 700, 23):
            for largest in (1, 64, 150, 333, 1000):
                axis = cover(length, largest, overlap, multiple)
                assert length <= axis.length < length + multiple
                assert axis.tile % multiple == 0 and not any(start % multiple for start in axis.starts)
                assert axis.tile <= max(largest, 2 * axis.overlap, multiple) or len(axis.starts) == 1
                assert axis.starts[0] == 0 and axis.starts[-1] + axis.tile == axis.length
                total = torch.zeros(axis.length)
                for start, (begin, end, weight) in zip(axis.starts, axis.parts(), strict=True):
                    assert start <= begin < end <= start + axis.tile
                    # Next to a neighbour, a quarter of the overlap is not used.
                    assert begin == 0 or begin - start >= axis.overlap // 4
                    assert end == axis.length or start + axis.tile - end >= axis.overlap // 4
                    total[begin:end] += weight
                torch.testing.assert_close(total, torch.ones(axis.length))
                own = [
                    (start // multiple + part.start, start // multiple + part.stop)
                    for start, part in zip(axis.starts, axis.own(multiple), strict=True)
                ]
                assert [begin for begin, _ in own] + [axis.length // multiple] == [0] + [end for _, end in own]


def test_tiles_fill_what_memory_allows() -> None:
    whole = plan(300, 451, 10**6, None, 64, 8)
    assert (whole.count, whole.down.tile, whole.across.tile) == (1, 304, 456)
    for height, width in ((3000, 4000), (4000, 500), (500, 4000), (200, 9000)):
        tiling = plan(height, width, 10**6, None, 64, 16)
        assert tiling.down.tile * tiling.across.tile <= 10**6
        assert tiling.count <= 1.5 * (height + 200) * (width + 200) / 10**6 + 1
    small = plan(300, 451, 0, None, 64, 8)
    assert (small.down.tile, small.across.tile, small.batch) == (128, 128, 1)
    batched = plan(3000, 4000, 10**6, 256, 64, 16)
    assert max(batched.down.tile, batched.across.tile) <= 256
    assert batched.batch * batched.down.tile * batched.across.tile <= 10**6
    assert batched.batch > 10


def test_an_identity_in_tiles_is_the_image() -> None:
    image = torch.rand(3, 96, 130)
    tiling = plan(96, 130, 0, 64, 16, 2)
    assert tiling.count > 4

    def tile(top: int, left: int) -> torch.Tensor:
        return image[:, top : top + tiling.down.tile, left : left + tiling.across.tile]

    begins, rows = zip(*join(tiling, tile, lambda tiles: tiles), strict=True)
    assert list(begins) == np.cumsum([0, *(part.shape[1] for part in rows[:-1])]).tolist()
    torch.testing.assert_close(torch.cat(rows, 1), image)


@pytest.mark.parametrize("options", [{"tile": 128}, {"tile": 200, "overlap": 32}, {"tile": 64, "overlap": 8}])
def test_a_local_network_gives_the_same_in_tiles(options, cat) -> None:
    network = local()
    whole = restored(cat, network, tile=0)
    assert worst(whole, cat) > 0.1
    assert worst(restored(cat, network, **options), whole) < 2 / 65535


def test_a_local_converter_leaves_no_seams(cat) -> None:
    # Its windows reach further than the unused part of the overlap, so that tiles differ a little where they meet.
    torch.manual_seed(0)
    network = NAFNet(width=8, enc_blk_nums=(1, 1), middle_blk_num=1, dec_blk_nums=(1, 1), tlc_size=48)
    for name, parameter in network.named_parameters():
        if name.endswith(("beta", "gamma")):
            nn.init.constant_(parameter, 0.5)
    whole = restored(cat, network, tile=0)
    difference = np.abs(to_float(restored(cat, network, tile=128)) - to_float(whole))
    assert worst(whole, cat) > 0.2
    assert difference.max() < 1 / 255


def test_statistics_of_a_tile_fade_into_those_of_its_neighbours(cat) -> None:
    # What a whole tile decides, as global attention does, cannot be the same in all; it must not jump.
    network = Plain(lambda x: 0.5 * x + 0.5 * x.mean((-2, -1), keepdim=True))
    difference = to_float(restored(cat, network, tile=128)) - to_float(restored(cat, network, tile=0))
    spread = difference.max() - difference.min()
    assert spread > 0.05
    fade = 64 // 2
    steepest = spread * np.pi / 2 / fade
    for axis in (0, 1):
        assert np.abs(np.diff(difference, axis=axis)).max() < 1.1 * steepest + 2 / 65535


def test_tiles_in_batches_give_the_same(cat) -> None:
    network, batches = local(), []
    network.register_forward_pre_hook(lambda _, arguments: batches.append(len(arguments[0])))
    restorer = Restorer(network, CPU, "fp32", tile=128)
    single = restorer.restore(cat)[0]
    assert set(batches) == {1}
    restorer.batched = True
    assert worst(restorer.restore(cat)[0], single) < 2 / 65535
    assert max(batches) > 2


# Kinds of images


def test_every_size_and_depth_is_restored() -> None:
    network = local()
    rng = np.random.default_rng(0)
    for height, width in ((1, 1), (3, 130), (129, 2)):
        for dtype in (np.uint8, np.uint16):
            pixels = rng.integers(0, np.iinfo(dtype).max, (height, width, 3)).astype(dtype)
            result = restored(pixels, network)
            assert (result.shape, result.dtype) == (pixels.shape, pixels.dtype)
            with torch.no_grad():
                image = network(torch.from_numpy(to_float(pixels).transpose(2, 0, 1))[None])[0].clamp(0, 1)
            assert np.abs(to_float(result) - image.permute(1, 2, 0).numpy()).max() <= 0.51 / np.iinfo(dtype).max


def test_gray_is_restored_as_colour_and_averaged(cat) -> None:
    gray = cat[:64, :64, 1:2]
    result = restored(gray, local())
    assert result.shape == gray.shape
    colour = restored(np.repeat(gray, 3, axis=2), local())
    assert worst(result, colour.mean(axis=2, keepdims=True).round().astype(np.uint16)) < 2 / 65535


def test_tta_averages_the_eight_symmetries(cat) -> None:
    # Shifting by a pixel is undone by its seven companions but for a blur that has all symmetries.
    network = Plain(lambda x: x.roll(1, -1))
    x = torch.rand(1, 3, 16, 24)
    calls = []

    def shift(image: torch.Tensor) -> torch.Tensor:
        calls.append(image)
        return image.roll(1, -1)

    expected = sum(x.roll(step, axis) for step in (1, -1) for axis in (-1, -2)) / 4
    torch.testing.assert_close(average_over_symmetries(shift, x), expected)
    assert len({call.contiguous().numpy().tobytes() for call in calls}) == 8
    pixels = cat[:64, :80]
    mean = sum(np.roll(to_float(pixels), step, axis) for step in (1, -1) for axis in (0, 1)) / 4
    assert np.abs(to_float(restored(pixels, network, tta=True)) - mean).max() < 1 / 65535


def test_networks_that_cannot_restore_are_refused(cat) -> None:
    pixels = cat[:16, :16]
    with pytest.raises(RestoreError, match="takes images of 6 channels, not RGB or gray"):
        Restorer(NAFNet(in_channels=6, width=8, enc_blk_nums=(1,), dec_blk_nums=(1,)), CPU)
    with pytest.raises(RestoreError, match="it is no restoration network"):
        restored(pixels, Plain(lambda x: x[:, :1]))
    with pytest.raises(RestoreError, match="NaN or infinite values; these weights cannot"):
        restored(pixels, Plain(lambda x: x / 0))
    with pytest.raises(RestoreError, match="NaN or infinite values; try --precision fp32"):
        restored(pixels, Plain(lambda x: x / 0), precision="bf16")


@pytest.mark.parametrize("tta", [False, True])
def test_a_gray_network_runs_on_each_channel(tta: bool, cat) -> None:
    torch.manual_seed(0)
    network = NAFNet(in_channels=1, out_channels=1, width=8, enc_blk_nums=(1,), dec_blk_nums=(1,))
    pixels = cat[:50, :64]
    found = restored(pixels, network, tta=tta)
    for channel in range(3):
        alone = restored(np.ascontiguousarray(pixels[..., channel : channel + 1]), network, tta=tta)
        assert np.array_equal(found[..., channel], alone[..., 0])
    assert worst(found, pixels) > 0.001


def test_all_tiles_are_steered_by_what_the_guide_sees_in_the_whole_photograph(cat) -> None:
    """A photograph that is bright on one side only: its tiles, alone, would be told other degradations than it."""
    network = build("GuidedNAFNet").eval()
    pixels = cat[:260, :390].copy()
    pixels[:, 200:] //= 8
    seen: list[torch.Tensor] = []
    steered = network.steered
    network.steered = lambda x, told: (seen.append(told), steered(x, told))[1]
    tiled, tiling = Restorer(network, CPU, "fp32", tile=128, overlap=32).restore(pixels)
    assert tiling.count == len(seen) == 12
    assert all(torch.equal(each, seen[0]) for each in seen)
    image = torch.from_numpy(to_float(pixels).transpose(2, 0, 1))[None]
    with torch.no_grad():
        whole, first = (network(part, features="guide").sigmoid() for part in (image, image[..., :128, :128]))
    # Where tiles end they see less than the whole.
    assert (seen[0] - whole).abs().max() < 0.2 * (seen[0] - first).abs().max()
    network.steered = steered
    again = Restorer(network, CPU, "fp32", tile=128, overlap=32, told=seen[0]).restore(pixels)[0]
    assert np.array_equal(tiled, again)


def test_an_enlarging_network_gives_the_same_in_tiles(cat) -> None:
    class Double(Local):
        scale = 2

        def forward(self, x, features="none"):
            return nn.functional.interpolate(super().forward(x), scale_factor=2, mode="nearest")

    torch.manual_seed(0)
    network = Double()
    whole = restored(cat, network)
    assert np.array_equal(whole, restored(cat, local()).repeat(2, 0).repeat(2, 1))
    assert worst(whole, restored(cat, network, tile=128)) < 2 / 65535
    assert worst(whole, restored(cat, network, tile=64, overlap=8)) < 2 / 65535


def test_a_network_of_squares_gets_tiles_no_longer_than_memory_allows(monkeypatch) -> None:
    monkeypatch.setattr(restoring, "free_memory", lambda device: 10**12)
    network = local()
    network.square = True
    restorer = Restorer(network, CPU, "fp32")
    tiling = restorer._plan(np.empty((300, 6000, 3), np.uint8))
    assert tiling.across.tile**2 <= LARGEST
    assert Restorer(local(), CPU, "fp32")._plan(np.empty((300, 6000, 3), np.uint8)).across.tile ** 2 > LARGEST


# Precision


@pytest.mark.parametrize(
    ("there", "scale", "expected"),
    [(True, 0.1, torch.bfloat16), (True, 2.0, torch.float32), (False, 0.1, torch.float32)],
    ids=["near enough", "too far", "no instructions"],
)
def test_bfloat16_is_taken_where_it_is_near_enough(there, scale, expected, cat, monkeypatch) -> None:
    monkeypatch.setattr(restoring, "has_bfloat16", lambda device: there)
    network = Plain(lambda x: x + scale * (nn.functional.conv2d(x, torch.eye(3).view(3, 3, 1, 1)).float() - x))
    restorer = Restorer(network, CPU)
    restorer.restore(cat[:64, :64])
    assert restorer.dtype == expected


def test_the_difference_allowed_costs_two_hundredths_of_a_decibel() -> None:
    error = 10 ** (-35 / 10)
    cost = 10 * np.log10((error + restoring.LARGEST_ERROR) / error)
    assert cost == pytest.approx(0.02, abs=1e-9)


# Memory


def test_bytes_per_pixel_are_those_of_the_tensors_that_live_at_once() -> None:
    class Chain(nn.Sequential):
        pass

    # The input (3) lives throughout, as the caller's; convolution and activation (8 each) live together.
    chain = Chain(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 3, 1))
    assert bytes_per_pixel(chain) == pytest.approx(4 * (3 + 8 + 8))

    class Looks(nn.Conv2d):
        def forward(self, x):
            return super().forward(x) if x.mean().item() > 0 else x

    assert bytes_per_pixel(Looks(3, 8, 1)) == pytest.approx(4 * (3 + 8), rel=0.01)
    narrow, wide = (bytes_per_pixel(NAFNet(width=width, enc_blk_nums=(1,), dec_blk_nums=(1,))) for width in (8, 16))
    assert 1.8 < wide / narrow < 2.1


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("line", "files", "expected"),
    [
        ("", {}, 8000 * 1024),
        ("0::/", {"memory.max": "max", "memory.current": "5"}, 8000 * 1024),
        ("0::/", {"memory.max": "1000", "memory.current": "400", "memory.stat": "anon 3\ninactive_file 50"}, 650),
        # A group within one that has less, and one that only the host can see.
        ("0::/a/b", {"a/memory.max": "500", "a/memory.current": "450", "a/b/memory.max": "max"}, 50),
        ("0::/unseen", {"memory.max": "1000", "memory.current": "400"}, 600),
        ("0::/", {"memory.max": "1000", "memory.current": "1400"}, 0),
        (
            "3:cpu,memory:/x",
            {
                "memory/x/memory.limit_in_bytes": "900",
                "memory/x/memory.usage_in_bytes": "300",
                "memory/x/memory.stat": "total_inactive_file 7",
            },
            607,
        ),
    ],
)
def test_limits_of_containers_count(line, files, expected, tmp_path) -> None:
    write(tmp_path / "proc/meminfo", "MemTotal: 9000 kB\nMemAvailable: 8000 kB\n")
    write(tmp_path / "proc/self/cgroup", line)
    for name, text in files.items():
        write(tmp_path / "cgroup" / name, text)
    assert free_main_memory(tmp_path / "proc", tmp_path / "cgroup") == expected


def test_memory_of_this_machine() -> None:
    assert free_memory(CPU) > 2**27
    assert 2**26 < used_memory(CPU) < 2**36


def test_running_out_of_memory_is_recognised() -> None:
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert not is_out_of_memory(RuntimeError("shapes do not fit"))


class Greedy(Local):
    """A network that runs out of memory with more than so many pixels."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.sizes = most, []

    def encode(self, x):
        if x.device.type == "cpu":
            self.sizes.append(x.shape[0] * x.shape[-2] * x.shape[-1])
            if self.sizes[-1] > self.most:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes.")
        return super().encode(x)


def test_tiles_are_halved_until_they_fit_in_memory(cat) -> None:
    network = Greedy(30_000)
    shares: list[float] = []
    restorer = Restorer(network, CPU, "fp32")
    result, tiling = restorer.restore(cat, shares.append)
    assert tiling.pixels <= 30_000
    assert worst(result, restored(cat, network, tile=128)) < 2 / 65535
    assert shares[-1] == 1
    # The next image begins with what was found.
    network.sizes.clear()
    restorer.restore(cat)
    assert max(network.sizes) <= 30_000
    with pytest.raises(RestoreError, match="out of memory on cpu, even with tiles of 128 x 128"):
        restored(cat, Greedy(1000))


def test_other_errors_of_a_network_are_not_taken_for_memory(cat) -> None:
    def broken(x):
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        restored(cat, Plain(broken))


def test_memory_decides_the_size_of_tiles(cat, monkeypatch) -> None:
    held = 10**9
    monkeypatch.setattr(restoring, "used_memory", lambda device: held)
    monkeypatch.setattr(restoring, "free_memory", lambda device: 10**12)
    network = local()

    def tiles(pixels: int, **options: Any) -> int:
        return Restorer(network, CPU, "fp32", **options)._plan(np.empty((3000, 4000, 3), np.uint8)).pixels // pixels

    each = restoring.MARGINS["cpu"] * bytes_per_pixel(network) + 32
    others = restoring.IMAGES * 3000 * 4000 * 3
    assert 0.5 * LARGEST < tiles(1) <= LARGEST
    limit = int(held + others + 250_000 * each)
    assert 0.5 * 250_000 < tiles(1, max_memory=limit) <= 250_000
    assert tiles(1, tile=0) == 3000 * 4000
    assert tiles(1, tile=0, max_memory=limit) <= 250_000
    assert tiles(1, tile=256) <= LARGEST
    with pytest.raises(RestoreError, match=r"4000 x 3000 pixels need 1\.\d GB, even in tiles of 128 x 128; give"):
        tiles(1, max_memory=held)
    monkeypatch.setattr(restoring, "free_memory", lambda device: 0)
    assert tiles(1) == 128 * 128


# Reading, working and writing at the same time


def test_the_pipeline_goes_on_past_failures() -> None:
    written = []

    def check(stage: str, job: str) -> str:
        if job.startswith(stage):
            raise ValueError(f"{job} failed")
        return job

    def write_(job: str, made: str) -> None:
        written.append(check("write", made))

    jobs = ["one", "read 1", "work 1", "write 1", "two", "read 2"]
    outcomes = overlapped(
        jobs, lambda job: check("read", job), lambda job, read: check("work", read), write_, (ValueError,)
    )
    assert {job: error and str(error) for job, error in outcomes} == {
        job: None if job in ("one", "two") else f"{job} failed" for job in jobs
    }
    assert written == ["one", "two"]
    assert list(overlapped([], check, check, check, ())) == []
    with pytest.raises(ValueError, match="work 1 failed"):
        list(overlapped(jobs, str, lambda job, read: check("work", read), lambda job, made: None, (OSError,)))


# The command


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    network = NAFNet(width=8, enc_blk_nums=(1,), middle_blk_num=1, dec_blk_nums=(1,))
    file = tmp_path_factory.mktemp("weights") / "net.pth"
    torch.save({"params": network.state_dict()}, file)
    return file


def test_a_folder_of_photographs_as_a_user_restores_it(weights, crops, tmp_path) -> None:
    made = Image.Exif()
    made[274] = 6
    gray = crops["cup"][..., :1].astype(np.uint16) * 257
    write_image_file(tmp_path / "in/cat.jpg", ImageFile(crops["cat"], exif=made.tobytes()))
    write_image_file(tmp_path / "in/deep/cup.png", ImageFile(gray, alpha=gray[..., 0]))
    (tmp_path / "in/bad.jpg").write_bytes((tmp_path / "in/cat.jpg").read_bytes()[:900])
    before = {path: path.read_bytes() for path in (tmp_path / "in").rglob("*.*")}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    line = [sys.executable, str(ROOT / "tools" / "restore.py"), "in", "--weights", str(weights), "--json"]
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1, done.stderr
    assert "error: 1 of 3 images failed:\n  in/bad.jpg: damaged or truncated" in done.stderr
    assert "Traceback" not in done.stderr
    record = json.loads(done.stdout)
    assert {entry["input"]: entry["status"] for entry in record["files"]} == {
        "in/bad.jpg": "failed",
        "in/cat.jpg": "restored",
        "in/deep/cup.png": "restored",
    }
    assert record["network"] == "NAFNet"
    assert {path: path.read_bytes() for path in (tmp_path / "in").rglob("*.*")} == before
    written = {path.relative_to(tmp_path / "restored").as_posix() for path in (tmp_path / "restored").rglob("*.*")}
    assert written == {"cat.jpg", "deep/cup.png"}
    # A new NAFNet is nearly the identity, so that the photographs are recognised.
    upright = read_image_file(tmp_path / "restored/cat.jpg").pixels
    assert upright.shape == (96, 72, 3)
    cup = read_image_file(tmp_path / "restored/deep/cup.png")
    assert cup.pixels.shape == gray.shape
    assert cup.pixels.dtype == np.uint16
    assert np.array_equal(cup.alpha, gray[..., 0])


run_here = partial(in_this_process, "restore.py")


def test_results_are_kept_or_replaced(weights, crop_folder, tmp_path, monkeypatch, capsys) -> None:
    arguments = (crop_folder, "--weights", weights, "--precision", "fp32", "--format", "tiff")
    assert run_here(monkeypatch, tmp_path, *arguments) == 0
    assert "6 images restored to restored by NAFNet (cpu, float32)" in capsys.readouterr().out
    results = sorted((tmp_path / "restored").iterdir())
    assert [path.name for path in results] == sorted(f"{path.stem}.tiff" for path in crop_folder.iterdir())
    results[0].write_text("mine")
    results[1].unlink()
    assert run_here(monkeypatch, tmp_path, *arguments) == 0
    shown = capsys.readouterr().out
    assert "1 images restored" in shown
    assert "5 were there already and are kept (--overwrite replaces them)" in shown
    assert results[0].read_text() == "mine"
    assert run_here(monkeypatch, tmp_path, *arguments, "--overwrite", "--tta", "--tile", 64, "--overlap", 8) == 0
    assert read_image_file(results[0]).pixels.shape == (72, 96, 3)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("nowhere", 1, "nowhere: no such file or folder"),
        ("{crops}/cat.png --out {crops}", 1, "is among the images to read"),
        ("{crops}/cat.png --device tpu", 2, "--device tpu: no such device"),
        ("{crops}/cat.png --device cuda:99", 2, "GPUs here"),
        ("{crops}/cat.png --max-memory 0.000001", 1, "cat.png: 96 x 72 pixels need"),
        ("{crops}/cat.png --max-memory lots", 2, "must be a number of gigabytes"),
        ("{crops}/cat.png --tile -1", 2, "must be a whole number from 0"),
        ("{crops}/cat.png --overlap x", 2, "must be a whole number from 0"),
        ("{crops}/cat.png --weights {crops}/cat.png", 1, "cat.png: "),
    ],
)
def test_bad_arguments(arguments, code, message, weights, crop_folder, tmp_path, monkeypatch, capsys) -> None:
    before = {path: path.read_bytes() for path in crop_folder.iterdir()}
    given = arguments.format(crops=crop_folder).split()
    assert run_here(monkeypatch, tmp_path, "--weights", weights, *given) == code
    assert message in capsys.readouterr().err
    assert {path: path.read_bytes() for path in crop_folder.iterdir()} == before
    assert not list(tmp_path.iterdir())


def test_a_gpu_is_taken_if_there_is_one(monkeypatch) -> None:
    for there, expected in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert choose_device("auto").type == expected


@pytest.mark.parametrize(("tile", "overlap"), [(1, 32), (64, 200)])
def test_tiles_smaller_than_what_they_share_are_refused(tile: int, overlap: int, cat) -> None:
    with pytest.raises(
        OptionError, match=f"at least twice the overlap: --tile {2 * overlap}, or --overlap {tile // 2}"
    ):
        restored(cat, NAFNet(width=4, enc_blk_nums=[1], dec_blk_nums=[1]), tile=tile, overlap=overlap)


@pytest.mark.parametrize("name", ["CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED"])
def test_libraries_that_cannot_allocate_are_out_of_memory(name: str) -> None:
    assert is_out_of_memory(RuntimeError(f"CUDA error: {name} when calling `cublasCreate(handle)`"))
    assert not is_out_of_memory(RuntimeError("CUDNN_STATUS_EXECUTION_FAILED"))


def test_a_network_that_folds_pixels_into_channels_takes_photographs() -> None:
    # Its first convolution has 12 channels of input; the images have 3.
    network = NAFNet(width=4, enc_blk_nums=(1,), middle_blk_num=1, dec_blk_nums=(1,), fold=2)
    pixels = np.full((9, 12, 3), 77, np.uint8)
    assert Restorer(network, CPU, "fp32").restore(pixels)[0].shape == pixels.shape
