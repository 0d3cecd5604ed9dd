"""Data sets and their loaders: what a sample is, what decides it, and what is refused."""

from __future__ import annotations

import logging
import random
import subprocess
import sys
from itertools import islice
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from basicsr.data.data_sampler import EnlargedSampler
from PIL import Image
from torch.utils.data import DataLoader

from dcpt_data import DataError, DegradationDataset, DegradationMixtureDataset, build_train_loader, build_val_loaders
from dcpt_data.degradations import DEGRADATIONS
from dcpt_data.images.pixels import write_image

SIZE = 32
TENSORS = ("lq", "gt")


@pytest.fixture
def pairs(crops, tmp_path):
    """Folders gt/ and lq/; a degraded image is darker and otherwise the same, so that pairs can be told."""
    for folder in ("gt", "lq"):
        (tmp_path / folder).mkdir()
    for name, image in crops.items():
        write_image(tmp_path / "gt" / f"{name}.png", image)
        write_image(tmp_path / "lq" / f"{name}.png", image // 2)
    return SimpleNamespace(
        gt=tmp_path / "gt",
        lq=tmp_path / "lq",
        options={"degradation": "rain", "dataroot_gt": str(tmp_path / "gt"), "dataroot_lq": str(tmp_path / "lq")},
    )


def section(phase="train", **options):
    return {"name": "tiny", "type": "DegradationDataset", "phase": phase, "scale": 1, "gt_size": SIZE, **options}


def noise(folder, phase="train", **options):
    return DegradationDataset(section(phase, degradation="noise", dataroot_gt=str(folder), **options))


def mixture(sets, **options):
    return section(**{"type": "DegradationMixtureDataset", "sets": sets, **options})


def assert_same(first, second):
    """Samples or batches that are equal to the bit."""
    assert first.keys() == second.keys()
    for key in first:
        if key in TENSORS:
            assert torch.equal(first[key], second[key])
        else:
            assert first[key] == second[key]


def differs(first, second, key="lq"):
    return not torch.equal(first[key], second[key])


def refusal(make, *args, **kwargs):
    with pytest.raises(DataError) as caught:
        make(*args, **kwargs)
    return str(caught.value)


# What a sample is


@pytest.mark.parametrize("degradation", list(DEGRADATIONS))
@pytest.mark.parametrize("phase", ["train", "val", "test"])
def test_a_synthesised_sample(crop_folder, crops, phase, degradation):
    dataset = DegradationDataset(section(phase, degradation=degradation, dataroot_gt=str(crop_folder)))
    assert len(dataset) == len(crops)
    sample = dataset[(0, 1)]
    assert set(sample) == {"lq", "gt", "degradation", "name", "lq_path", "gt_path"}
    assert sample["degradation"] == degradation
    assert sample["name"] == "cup"
    assert sample["gt_path"] == sample["lq_path"] == str(crop_folder / "cup.png")
    for key in TENSORS:
        assert sample[key].dtype == torch.float32
        assert sample[key].is_contiguous()
        assert sample[key].shape == ((3, SIZE, SIZE) if phase == "train" else (3, 72, 96))
        if key == "gt" or degradation != "noise":  # noise is not clipped
            assert sample[key].min() >= 0 and sample[key].max() <= 1
    assert differs(sample, {"lq": sample["gt"]})


def test_noise_is_not_clipped(crop_folder):
    lq = noise(crop_folder, parameters={"sigma": 50})[0]["lq"]
    assert lq.min() < 0 or lq.max() > 1


def test_validation_gives_whole_images_as_they_are(crop_folder, crops):
    for sample, image in zip(noise(crop_folder, "val"), crops.values(), strict=True):
        np.testing.assert_array_equal(sample["gt"].numpy().transpose(1, 2, 0), image.astype(np.float32) / 255)


@pytest.mark.parametrize("phase", ["train", "val"])
def test_a_sample_of_a_pair(pairs, phase):
    dataset = DegradationDataset(section(phase, **pairs.options))
    for index, name in enumerate(sorted(path.stem for path in pairs.gt.iterdir())):
        sample = dataset[index]
        assert sample["name"] == name
        assert (sample["lq_path"], sample["gt_path"]) == (str(pairs.lq / f"{name}.png"), str(pairs.gt / f"{name}.png"))
        # Cropped and turned alike, or half the ground truth would not be the degraded image.
        assert torch.equal((sample["lq"] * 255).round(), (sample["gt"] * 255).round() // 2)


def test_names_of_nested_images_have_their_folders(crops, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_image(tmp_path / folder / "x.v1.png", crops["cat"])
    assert [sample["name"] for sample in islice(noise(tmp_path, "val"), 2)] == ["a/x.v1", "b/x.v1"]


def test_16_bit_and_grayscale_images_in_training(crops, tmp_path):
    deep = crops["face"].astype(np.uint16) * 257 + 1
    write_image(tmp_path / "deep.png", deep)
    gray = np.repeat(crops["cup"][..., :1], 3, axis=2)
    write_image(tmp_path / "gray.png", gray)
    dataset = noise(tmp_path, use_hflip=False, use_rot=False)
    sample = dataset[0]
    levels = sample["gt"].double() * 65535
    assert (levels - levels.round()).abs().max() < 0.01
    assert (levels.round() % 257 == 1).all()  # what 8 bits would have lost
    sample = dataset[1]
    assert sample["gt"].shape == (3, SIZE, SIZE)
    assert torch.equal(sample["gt"][0], sample["gt"][1]) and torch.equal(sample["gt"][0], sample["gt"][2])
    assert differs({"lq": sample["lq"][0]}, {"lq": sample["lq"][1]})  # noise is of each channel's own


# What decides a sample


@pytest.mark.parametrize("degradation", list(DEGRADATIONS))
def test_a_training_sample_follows_from_seed_epoch_and_index(crop_folder, degradation):
    options = {"degradation": degradation, "dataroot_gt": str(crop_folder)}
    dataset = DegradationDataset(section(seed=5, **options))
    sample = dataset[(3, 1)]
    _ = dataset[(0, 2)]  # what was read before is no matter
    assert_same(sample, dataset[(3, 1)])
    assert_same(sample, DegradationDataset(section(seed=5, **options))[(3, 1)])
    assert differs(sample, dataset[(4, 1)])
    assert differs(sample, DegradationDataset(section(seed=6, **options))[(3, 1)])


def test_an_index_alone_is_fresh_each_time_and_follows_from_the_process_s_seed(crop_folder):
    def two(seed):
        torch.manual_seed(seed)
        dataset = noise(crop_folder)
        return dataset[2], dataset[2]

    first, again, other = two(3), two(3), two(4)
    assert differs(*first) and differs(first[0], other[0])
    for a, b in zip(first, again, strict=True):
        assert_same(a, b)


def test_every_epoch_has_its_own_noise_for_the_same_image(crops, tmp_path):
    # The crop is the whole image and nothing is turned: noise alone is left to differ.
    write_image(tmp_path / "a.png", crops["cat"][:SIZE, :SIZE])
    dataset = noise(tmp_path, use_hflip=False, use_rot=False)
    samples = [dataset[(epoch, 0)] for epoch in range(4)]
    residuals = [(sample["lq"] - sample["gt"]).flatten() for sample in samples]
    for i in range(4):
        for j in range(i):
            assert torch.equal(samples[i]["gt"], samples[j]["gt"])
            # Independent, not merely different: of 3072 values, |r| is above 0.1 once in 30 million times.
            assert torch.corrcoef(torch.stack([residuals[i], residuals[j]]))[0, 1].abs() < 0.1


def test_augmentation_can_be_switched_off(crop_folder, crops):
    corners = {"still": set(), "turned": set()}
    whole = crops["cat"]
    for kind, on in (("still", False), ("turned", True)):
        dataset = noise(crop_folder, gt_size=72, use_hflip=on, use_rot=on)
        for epoch in range(40):
            gt = (dataset[(epoch, 0)]["gt"] * 255).round()
            corners[kind].add(bool(gt[:, 0].mean() > gt[:, -1].mean()))
    assert corners["still"] == {bool(whole[0].mean() > whole[-1].mean())}
    assert corners["turned"] == {True, False}


def test_a_share_of_the_photographs_is_gray_before_it_is_degraded(crop_folder):
    dataset = noise(crop_folder, gray=0.5)
    samples = [dataset[(epoch, 0)] for epoch in range(60)]
    gray = [bool((one["gt"] == one["gt"][:1]).all()) for one in samples]
    assert 18 < sum(gray) < 42
    assert all((one["lq"][0] != one["lq"][1]).any() for one in samples)
    assert not any((one["gt"] == one["gt"][:1]).all() for one in (noise(crop_folder)[(e, 0)] for e in range(9)))


@pytest.mark.parametrize("degradation", list(DEGRADATIONS))
def test_validation_does_not_depend_on_epoch_seed_or_other_images(crop_folder, crops, tmp_path, degradation):
    options = {"degradation": degradation, "dataroot_gt": str(crop_folder)}
    dataset = DegradationDataset(section("val", **options))
    sample = dataset[3]
    assert_same(sample, dataset[(9, 3)])
    assert_same(sample, DegradationDataset(section("val", seed=9, **options))[3])
    write_image(tmp_path / "spoon.png", crops["spoon"])  # the same image, now the only one
    alone = DegradationDataset(section("val", degradation=degradation, dataroot_gt=str(tmp_path)))[0]
    assert sample["name"] == alone["name"] == "spoon"
    assert torch.equal(sample["lq"], alone["lq"])


def test_validation_draws_anew_for_every_image(crops, tmp_path):
    for name in ("a", "b"):
        write_image(tmp_path / f"{name}.png", crops["cat"])
    dataset = DegradationDataset(section("val", degradation="rain", dataroot_gt=str(tmp_path)))
    assert differs(dataset[0], dataset[1])


@pytest.mark.parametrize("sigma", [15, 25, 50, None])
def test_test_noise_is_the_published_protocols_to_the_bit(crop_folder, sigma):
    dataset = noise(crop_folder, "test", parameters={} if sigma is None else {"sigma": sigma})
    for sample in islice(dataset, len(dataset)):
        gt = sample["gt"].numpy().transpose(1, 2, 0)
        # Every image from seed 0, drawn in the order H, W, C in float64, and not clipped.
        added = np.random.RandomState(0).normal(0, (sigma or 25) / 255, gt.shape)
        np.testing.assert_array_equal(sample["lq"].numpy().transpose(1, 2, 0), (gt + added).astype(np.float32))


def test_test_noise_is_clipped_where_that_is_asked_for(crop_folder):
    plain, clipped = (
        noise(crop_folder, "test", parameters={"sigma": 50, **extra})[0]["lq"] for extra in ({}, {"clip": True})
    )
    assert plain.min() < 0
    assert torch.equal(clipped, plain.clip(0, 1))


def test_limit_spreads_evenly_over_the_names(crop_folder, crops):
    names = sorted(crops)
    for limit, expected in ((1, names[:1]), (2, [names[0], names[3]]), (3, names[::2]), (99, names)):
        dataset = noise(crop_folder, "val", limit=limit)
        assert [dataset[i]["name"] for i in range(len(dataset))] == expected
    assert "limit must be 1 or more" in refusal(noise, crop_folder, limit=0)


# What is refused


def test_a_pair_of_different_sizes_names_both_files(pairs, crops):
    write_image(pairs.lq / "cup.png", crops["cup"][:60])
    dataset = DegradationDataset(section(**pairs.options))
    _ = dataset[0]
    message = refusal(dataset.__getitem__, 1)
    assert str(pairs.gt / "cup.png") in message and str(pairs.lq / "cup.png") in message
    assert "96x72 and 96x60" in message


def test_an_unreadable_image_is_named(pairs):
    path = pairs.lq / "suit.png"
    path.write_bytes(path.read_bytes()[:500])
    loader = build_train_loader(section(**pairs.options, batch_size_per_gpu=2))
    assert str(path) in refusal(lambda: list(islice(loader, 3)))


def test_a_process_ends_after_an_unreadable_image_in_a_worker(pairs):
    path = pairs.lq / "suit.png"
    path.write_bytes(path.read_bytes()[:500])
    options = section(**pairs.options, batch_size_per_gpu=2, num_worker_per_gpu=2)
    # The iterator stays alive, as it does in a traceback: nothing but the end of the process ends its workers.
    script = f"from dcpt_data import build_train_loader\nbatches = iter(build_train_loader({options!r}))\n"
    script += "while True:\n    next(batches)\n"
    # A process of its own with a limit: one that waits for its workers for ever would hang the tests too.
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert str(path) in done.stderr
    assert "killed by signal" not in done.stderr  # ending the workers is no failure of its own


def test_parameters_of_pairs_are_refused(pairs):
    message = refusal(DegradationDataset, section(**pairs.options, parameters={"density": 0.1}))
    assert "`parameters` are for synthesised degradations" in message and str(pairs.lq) in message


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"source": "CBSD86"}, "did you mean 'CBSD68'"),
        ({"degradation": "nois", "dataroot_gt": "."}, "did you mean 'noise'"),
        ({"degradation": "noise", "dataroot_gt": ".", "parameters": {"sigm": 5}}, "did you mean 'sigma'"),
        ({"degradation": "noise", "dataroot_gt": ".", "parameters": {"sigma": 999}}, r"sigma must lie in [0, 255]"),
        ({"degradation": "underwater", "dataroot_gt": "."}, "give `dataroot_lq` for pairs"),
        ({"degradation": "noise"}, "needs a `source`, or `degradation` and `dataroot_gt`"),
        ({"dataroot_gt": "."}, "needs a `source`, or `degradation` and `dataroot_gt`"),
    ],
)
def test_what_is_not_known_is_told_with_the_nearest_name(options, words):
    assert words in refusal(DegradationDataset, section(**options))
    assert words in refusal(DegradationMixtureDataset, mixture({"part": options}))


def test_pairs_may_be_of_a_degradation_that_cannot_be_synthesised(pairs):
    dataset = DegradationDataset(section(**{**pairs.options, "degradation": "underwater"}))
    assert dataset[0]["degradation"] == "underwater"


# Sources


def test_a_source_gives_folders_degradation_and_pairing(crops, tmp_path):
    root = tmp_path / "RESIDE/SOTS/outdoor"
    for folder, name in (("gt", "0001.png"), ("hazy", "0001_0.8_0.2.png")):
        (root / folder).mkdir(parents=True)
        write_image(root / folder / name, crops["cat"])
    sample = DegradationDataset(section("test", source="SOTS-outdoor", datasets_root=str(tmp_path)))[0]
    assert sample["degradation"] == "haze"
    assert sample["lq_path"] == str(root / "hazy/0001_0.8_0.2.png")
    assert sample["gt_path"] == str(root / "gt/0001.png")


def test_own_ground_truth_replaces_both_folders_of_a_source(crop_folder):
    sample = DegradationDataset(section(source="Rain200L", dataroot_gt=str(crop_folder)))[0]
    assert sample["degradation"] == "rain"
    assert sample["lq_path"] == sample["gt_path"] == str(crop_folder / "cat.png")


# Images smaller than the crop


@pytest.fixture
def log_file(tmp_path):
    """What is logged, also by worker processes, which write to a file but not to pytest's memory."""
    logger, handler = logging.getLogger("basicsr"), logging.FileHandler(tmp_path / "log.txt")
    logger.addHandler(handler)
    yield tmp_path / "log.txt"
    logger.removeHandler(handler)
    handler.close()


def test_small_images_are_padded_with_one_warning_from_two_workers(crops, tmp_path, log_file):
    folder = tmp_path / "small"
    folder.mkdir()
    for i in range(8):
        write_image(folder / f"{i}.png", crops["cat"][: 20 + i, :40])
    options = {"degradation": "noise", "dataroot_gt": str(folder), "num_worker_per_gpu": 2}
    for batch in islice(build_train_loader(section(**options)), 16):
        assert batch["gt"].shape == (1, 3, SIZE, SIZE)
    (line,) = (line for line in log_file.read_text().splitlines() if "less than the crop" in line)
    assert "pixels are less than the crop of 32; such images of 'tiny' are padded by reflection" in line
    assert str(folder) in line


@pytest.mark.parametrize("shape", [(1, 40), (40, 1), (1, 1)])
def test_an_image_one_pixel_wide_can_be_trained_on(crops, tmp_path, shape):
    write_image(tmp_path / "a.png", crops["cat"][: shape[0], : shape[1]])
    assert noise(tmp_path)[0]["gt"].shape == (3, SIZE, SIZE)


def test_images_as_large_as_the_crop_give_no_warning(crops, tmp_path, log_file):
    folder = tmp_path / "fits"
    folder.mkdir()
    write_image(folder / "a.png", crops["cat"][:SIZE, :SIZE])
    dataset = noise(folder)
    _ = dataset[0]
    assert log_file.read_text() == ""
    write_image(folder / "a.png", crops["cat"][: SIZE - 1, :SIZE])
    _ = dataset[0]
    assert "32x31 pixels" in log_file.read_text()


# Mixtures


def five(folder):
    return {name: {"degradation": name, "dataroot_gt": str(folder)} for name in DEGRADATIONS}


def test_a_mixture_is_its_parts_each_repeated(crop_folder, pairs):
    sets = {
        "noise": {"degradation": "noise", "dataroot_gt": str(crop_folder), "repeat_ratio": 3},
        "rain": {**pairs.options, "limit": 2},
    }
    dataset = DegradationMixtureDataset(mixture(sets))
    assert len(dataset) == 3 * 6 + 2
    assert dataset.counts() == {"noise": 18, "rain": 2}
    samples = [dataset[i] for i in range(len(dataset))]
    assert [sample["degradation"] for sample in samples] == ["noise"] * 18 + ["rain"] * 2
    names = sorted(path.stem for path in crop_folder.iterdir())
    assert [sample["name"] for sample in samples] == [*names * 3, names[0], names[3]]
    assert {path for sample in samples[18:] for path in [sample["lq_path"]]} <= {str(p) for p in pairs.lq.iterdir()}


def test_a_repeated_image_is_cropped_and_degraded_anew(crop_folder):
    sets = {"noise": {"degradation": "noise", "dataroot_gt": str(crop_folder), "repeat_ratio": 2}}
    dataset = DegradationMixtureDataset(mixture(sets))
    first, again = dataset[1], dataset[7]
    assert first["gt_path"] == again["gt_path"]
    assert differs(first, again, "gt") and differs(first, again, "lq")


def test_a_mixtures_sample_follows_from_seed_epoch_and_index(crop_folder):
    dataset = DegradationMixtureDataset(mixture(five(crop_folder), seed=1))
    other = DegradationMixtureDataset(mixture(five(crop_folder), seed=2))
    for index in range(0, len(dataset), 6):
        assert_same(dataset[(2, index)], DegradationMixtureDataset(mixture(five(crop_folder), seed=1))[(2, index)])
        assert differs(dataset[(2, index)], dataset[(3, index)])
        assert differs(dataset[(2, index)], other[(2, index)])


def test_two_parts_of_one_degradation_are_one_class(crop_folder):
    part = {"degradation": "noise", "dataroot_gt": str(crop_folder)}
    dataset = DegradationMixtureDataset(mixture({"bsd": part, "wed": {**part, "repeat_ratio": 2}}))
    assert dataset.counts() == {"noise": 18}
    assert {dataset[i]["degradation"] for i in range(18)} == {"noise"}


def test_a_mixture_hands_its_root_and_reading_down(crops, tmp_path):
    for root in ("a", "b"):
        (tmp_path / root / "WED").mkdir(parents=True)
        write_image(tmp_path / root / "WED" / f"{root}.png", crops["cat"])
    sets = {"one": {"source": "WED"}, "two": {"source": "WED", "datasets_root": str(tmp_path / "b")}}
    dataset = DegradationMixtureDataset(mixture(sets, datasets_root=str(tmp_path / "a"), gt_size=24))
    assert [dataset[i]["name"] for i in range(2)] == ["a", "b"]
    assert dataset[0]["gt"].shape == (3, 24, 24)


def test_a_balanced_mixture_has_every_degradation_equally_often(crop_folder, pairs):
    noise = {"degradation": "noise", "dataroot_gt": str(crop_folder)}
    sets = {"bsd": noise, "rain": {**pairs.options, "limit": 2}, "wed": {**noise, "limit": 1}}
    dataset = DegradationMixtureDataset(mixture(sets, sampling="balanced"))
    assert dataset.counts() == {"noise": 7, "rain": 7}
    samples = [dataset[i] for i in range(len(dataset))]
    assert [sample["degradation"] for sample in samples] == ["noise", "rain"] * 7
    names = sorted(path.stem for path in crop_folder.iterdir())
    assert [sample["name"] for sample in samples[::2]] == [*names, names[0]]  # both parts, each image once
    assert len({sample["name"] for sample in samples[1::2]}) == 2
    assert differs(samples[1], samples[5], "gt")  # a repeated pair is cropped anew


@pytest.mark.parametrize("workers", [1, 2])
def test_plain_indices_of_the_engines_sampler_give_new_samples_every_epoch(crop_folder, workers):
    dataset = DegradationMixtureDataset(mixture({"noise": {"degradation": "noise", "dataroot_gt": str(crop_folder)}}))
    sampler = EnlargedSampler(dataset, num_replicas=1, rank=0)

    def epochs():
        loader = DataLoader(dataset, batch_size=1, sampler=sampler, num_workers=workers, generator=seeded)
        return [{sample["name"][0]: sample for sample in loader} for _ in range(2)]

    seeded = torch.Generator().manual_seed(3)
    first, second = epochs()
    assert len(first) == len(dataset) == len(second)
    assert all(differs(first[name], second[name]) for name in first)
    seeded.manual_seed(3)
    for name, sample in epochs()[0].items():
        assert torch.equal(sample["lq"], first[name]["lq"])


@pytest.mark.parametrize("sets", [{}, None])
def test_a_mixture_of_nothing_is_refused(sets):
    options = mixture(sets)
    if sets is None:
        del options["sets"]
    assert "the mixture 'tiny' has no `sets`" in refusal(DegradationMixtureDataset, options)


@pytest.mark.parametrize("ratio", [0, -1])
def test_a_part_that_never_comes_is_refused(crop_folder, ratio):
    sets = {"part": {"degradation": "noise", "dataroot_gt": str(crop_folder), "repeat_ratio": ratio}}
    message = refusal(DegradationMixtureDataset, mixture(sets))
    assert f"repeat_ratio of 'part' must be 1 or more, not {ratio}" in message


# Loaders


def training(folder, pairs, workers=0, **options):
    sets = {**five(folder), "own": {**pairs.options, "degradation": "snow"}}
    return mixture(sets, batch_size_per_gpu=7, num_worker_per_gpu=workers, **options)


def test_batches_are_the_same_with_and_without_workers(crop_folder, pairs):
    # Eight batches reach into the second epoch.
    alone = list(islice(build_train_loader(training(crop_folder, pairs)), 8))
    helped = list(islice(build_train_loader(training(crop_folder, pairs, workers=2)), 8))
    for first, second in zip(alone, helped, strict=True):
        assert_same(first, second)
    assert alone[0]["lq"].shape == (7, 3, SIZE, SIZE)
    assert {name for batch in alone for name in batch["degradation"]} == {*DEGRADATIONS, "snow"}


def test_opencv_has_one_thread_before_workers_are_forked(crop_folder, pairs):
    # Threads do not survive a fork, so that workers may wait for them for ever.
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(2)
        build_train_loader(training(crop_folder, pairs, workers=2))
        assert cv2.getNumThreads() == 1
    finally:
        cv2.setNumThreads(before)


def test_a_loader_goes_on_where_a_run_was_stopped(crop_folder, pairs):
    whole = list(islice(build_train_loader(training(crop_folder, pairs)), 8))
    resumed = list(islice(build_train_loader(training(crop_folder, pairs), start=6), 2))
    for first, second in zip(whole[6:], resumed, strict=True):
        assert_same(first, second)


def test_processes_share_the_samples_of_an_iteration(crop_folder, pairs):
    whole = next(iter(build_train_loader({**training(crop_folder, pairs), "batch_size_per_gpu": 14})))
    parts = [next(iter(build_train_loader(training(crop_folder, pairs), rank, 2))) for rank in range(2)]
    for key in TENSORS:
        assert torch.equal(whole[key], torch.cat([part[key] for part in parts]))


def test_the_seed_decides_order_and_samples(crop_folder, pairs):
    first, same, other = (next(iter(build_train_loader(training(crop_folder, pairs, seed=seed)))) for seed in (1, 1, 2))
    assert_same(first, same)
    assert first["gt_path"] != other["gt_path"]


def global_state():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002


def seed_all(seed):
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - it is the global state that is under test
    torch.manual_seed(seed)


@pytest.mark.parametrize("workers", [0, 2])
def test_global_random_state_neither_matters_nor_changes(crop_folder, pairs, workers):
    validation = {"val": section("val", degradation="rain", dataroot_gt=str(crop_folder))}
    found = []
    for seed in (1, 2):
        seed_all(seed)
        before = global_state()
        batches = list(islice(build_train_loader(training(crop_folder, pairs, workers)), 3))
        found.append([*batches, *build_val_loaders(validation)[0]])
        assert global_state() == before
    for first, second in zip(*found, strict=True):
        assert_same(first, second)


def test_validation_loaders_come_in_order_without_the_training_set(crop_folder, pairs):
    datasets = {
        "val_rain": section("val", **pairs.options) | {"name": "rain"},
        "train": section(degradation="noise", dataroot_gt="nowhere"),
        "test_noise": section("test", degradation="noise", dataroot_gt=str(crop_folder)) | {"name": "noise"},
    }
    loaders = build_val_loaders(datasets)
    assert [loader.dataset.opt["name"] for loader in loaders] == ["rain", "noise"]
    assert [batch["name"] for batch in loaders[0]] == [[name] for name in sorted(p.stem for p in pairs.gt.iterdir())]


def test_processes_share_a_validation_set(crop_folder, crops):
    datasets = {"val": section("val", degradation="noise", dataroot_gt=str(crop_folder))}
    shares = [[batch["name"][0] for batch in build_val_loaders(datasets, rank, 4)[0]] for rank in range(4)]
    assert sorted(name for share in shares for name in share) == sorted(crops)
    assert max(map(len, shares)) == 2


# Names and orientation


def test_two_images_of_one_name_are_refused_when_a_set_is_opened(crops, tmp_path):
    for name in ("a.png", "a.jpg", "b.png"):
        write_image(tmp_path / name, crops["cat"])
    section_ = section("val", degradation="noise", dataroot_gt=str(tmp_path))
    assert "a.jpg and a.png share one name" in refusal(DegradationDataset, section_)


@pytest.mark.parametrize("degradation", ["noise", "rain", "haze"])
@pytest.mark.parametrize("phase", ["train", "val"])
def test_a_name_that_is_not_utf_8(crops, phase, degradation, tmp_path):
    write_image(tmp_path / "caf\udce9.png", crops["cat"])
    sample = DegradationDataset(section(phase, degradation=degradation, dataroot_gt=str(tmp_path)))[0]
    assert sample["name"] == "caf\udce9"


def test_a_pair_of_which_one_is_stored_turned_is_a_pair(crops, tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    for side in ("gt", "lq"):
        (tmp_path / side).mkdir()
    Image.fromarray(np.rot90(crops["cat"], 1)).save(tmp_path / "gt" / "a.png", exif=exif)
    write_image(tmp_path / "lq" / "a.png", crops["cat"])
    roots = {"dataroot_gt": str(tmp_path / "gt"), "dataroot_lq": str(tmp_path / "lq")}
    for phase in ("train", "val"):
        sample = DegradationDataset(section(phase, degradation="rain", **roots))[0]
        assert torch.equal(sample["gt"], sample["lq"])
