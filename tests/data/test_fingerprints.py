"""Photographs are told from each other, and found again in copies of them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dcpt_data.images.sample_photographs import TEST, TRAIN, load
from dcpt_data.preparation.fingerprints import SAME, copies, fingerprint


@pytest.fixture(scope="module")
def photographs():
    return {name: load(photograph) for name, photograph in {**TRAIN, **TEST}.items()}


def encoded(image, quality):
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(data, cv2.IMREAD_COLOR)


def resized(image, factor):
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)


def noisy(image):
    return (image + np.random.default_rng(0).normal(0, 15, image.shape)).clip(0, 255).astype(np.uint8)


COPIES = {
    "JPEG of quality 30": lambda image: encoded(image, 30),
    "half the size": lambda image: resized(image, 0.5),
    "one and a half times the size": lambda image: resized(image, 1.5),
    "noise": noisy,
    "darker": lambda image: (image * 0.7).astype(np.uint8),
    "16 bit": lambda image: image.astype(np.uint16) * 257,
    "a row less": lambda image: np.ascontiguousarray(image[:-1]),
}


def prints(images):
    return [fingerprint(image) for image in images]


@pytest.mark.parametrize("change", COPIES.values(), ids=list(COPIES))
def test_a_changed_copy_is_found(change, photographs):
    # Textures without any structure (grass, gravel) have too little in a thumbnail to survive noise.
    known = {name: image for name, image in photographs.items() if name not in ("grass", "gravel", "brick")}
    found = list(copies(prints(photographs.values()), prints(change(image) for image in known.values())))
    order = list(photographs)
    assert found == [(index, order.index(name), False) for index, name in enumerate(known)]


def test_equal_pixels_are_told_from_likeness(photographs):
    all_prints = prints(photographs.values())
    assert list(copies(all_prints, all_prints)) == [(index, index, True) for index in range(len(all_prints))]


def test_different_photographs_are_no_copies(photographs):
    for name, image in photographs.items():
        others = [other for key, other in photographs.items() if key != name]
        assert list(copies(prints(others), prints([image]))) == []


@pytest.mark.parametrize(
    "change", [lambda i: i[:, ::-1], lambda i: i[: i.shape[0] // 2]], ids=["mirrored", "half of it"]
)
def test_what_is_not_found(change, photographs):
    # As documented: to find these would take other means.
    image = photographs["chelsea"]
    assert list(copies(prints([image]), prints([np.ascontiguousarray(change(image))]))) == []


def test_flat_images_are_compared_by_their_pixels_alone():
    grey = [np.full((20, 30, 3), value, np.uint8) for value in (100, 100, 101)]
    first, equal, other = prints(grey)
    assert not first.thumbnail.any()
    assert list(copies([first], [other, equal])) == [(1, 0, True)]


def test_the_most_similar_of_several_is_named(photographs):
    image = photographs["coffee"]
    known = prints([encoded(image, 5), encoded(image, 90), photographs["chelsea"]])
    assert list(copies(known, prints([image]))) == [(0, 1, False)]


def test_a_fingerprint_depends_on_pixels_shape_and_depth_alone():
    image = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
    same = fingerprint(np.asfortranarray(image))
    assert same.digest == fingerprint(image).digest
    assert same.shape == (8, 12)
    others = [image.reshape(12, 8, 3), image[:, :, ::-1], image.astype(np.uint16), image[:7]]
    digests = {fingerprint(np.ascontiguousarray(other)).digest for other in others}
    assert len(digests) == 4 and same.digest not in digests


def test_thumbnails_have_mean_0_and_length_1(photographs):
    for image in photographs.values():
        thumbnail = fingerprint(image).thumbnail
        assert thumbnail.dtype == np.float32
        assert thumbnail.mean() == pytest.approx(0, abs=1e-6)
        assert np.linalg.norm(thumbnail) == pytest.approx(1, abs=1e-5)
    assert 0.9 < SAME < 1


def test_more_than_one_block_of_comparisons(monkeypatch, photographs):
    monkeypatch.setattr("dcpt_data.preparation.fingerprints.ROWS", 2)
    all_prints = prints(photographs.values())
    assert [(a, b) for a, b, _ in copies(all_prints[::-1], all_prints)] == [
        (index, len(all_prints) - 1 - index) for index in range(len(all_prints))
    ]


def test_nothing_is_found_in_nothing():
    one = prints([np.zeros((4, 4, 3), np.uint8)])
    assert list(copies([], one)) == list(copies(one, [])) == []
