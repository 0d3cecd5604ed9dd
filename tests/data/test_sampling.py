"""The stream of training samples: what it holds does not depend on processes, batch sizes or restarts."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import numpy as np
import pytest

from dcpt_data.datasets.sampling import Shard, ShuffledBatches, Stage


def batches(count, *args, **kwargs):
    return list(islice(ShuffledBatches(*args, **kwargs), count))


def merged(count, length, batch_size, seed, world_size):
    """The samples of `count` iterations of all processes, in the order of the global stream."""
    processes = [batches(count, length, batch_size, seed, rank, world_size) for rank in range(world_size)]
    return [key for iteration in zip(*processes, strict=True) for batch in iteration for key in batch]


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
@pytest.mark.parametrize("batch_size", [1, 3, 8])
@pytest.mark.parametrize("length", [1, 7, 24])
def test_each_sample_of_an_epoch_comes_exactly_once(length, batch_size, world_size):
    epochs = 6
    iterations = -(-length * epochs // (batch_size * world_size))
    stream = merged(iterations, length, batch_size, 0, world_size)[: length * epochs]
    # In order too: an epoch begins only when the one before has ended.
    assert [epoch for epoch, _ in stream] == [epoch for epoch in range(epochs) for _ in range(length)]
    assert Counter(stream) == {(epoch, index): 1 for epoch in range(epochs) for index in range(length)}


@pytest.mark.parametrize("length", [1, 3, 7])
def test_batches_are_full_across_epoch_ends_and_in_sets_smaller_than_a_batch(length):
    found = batches(20, length, 5, 0)
    assert {len(batch) for batch in found} == {5}
    assert any(len({epoch for epoch, _ in batch}) > 1 for batch in found)


@pytest.mark.parametrize("start", [1, 3, 4, 1000])
@pytest.mark.parametrize(("rank", "world_size"), [(0, 1), (1, 3)])
def test_a_start_gives_the_stream_from_that_iteration(start, rank, world_size):
    whole = batches(start + 5, 10, 4, 7, rank, world_size)
    assert batches(5, 10, 4, 7, rank, world_size, start) == whole[start:]


def test_a_late_start_draws_no_earlier_epoch(monkeypatch):
    drawn = []
    generator = np.random.default_rng
    monkeypatch.setattr("numpy.random.default_rng", lambda seed: drawn.append(seed[1]) or generator(seed))
    batches(1, 10, 4, 0, start=1_000_000)
    assert drawn == [400_000]


def test_each_pass_over_the_sampler_begins_anew():
    sampler = ShuffledBatches(10, 4, 0)
    assert list(islice(sampler, 5)) == list(islice(sampler, 5))


def test_the_order_follows_the_seed():
    assert batches(10, 50, 5, 1) == batches(10, 50, 5, 1)
    assert batches(10, 50, 5, 1) != batches(10, 50, 5, 2)


def test_each_epoch_has_an_order_of_its_own():
    first, second = batches(2, 50, 50, 0)
    assert [index for _, index in first] != [index for _, index in second]
    assert [index for _, index in first] != list(range(50))


@pytest.mark.parametrize("length", [5, 16, 37])
def test_two_processes_see_what_one_with_twice_the_batch_sees(length):
    one = batches(12, length, 8, 3)
    first, second = (batches(12, length, 4, 3, rank, 2) for rank in range(2))
    assert [a + b for a, b in zip(first, second, strict=True)] == one


@pytest.mark.parametrize(("length", "batch_size"), [(0, 4), (4, 0)])
def test_nothing_to_draw_is_refused(length, batch_size):
    with pytest.raises(ValueError, match=f"got {length} and {batch_size}"):
        ShuffledBatches(length, batch_size, 0)


@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
@pytest.mark.parametrize("length", [0, 1, 5, 15])
def test_shards_cover_every_image_once(length, world_size):
    shards = [Shard(length, rank, world_size) for rank in range(world_size)]
    assert sorted(index for shard in shards for index in shard) == list(range(length))
    sizes = [len(list(shard)) for shard in shards]
    assert [len(shard) for shard in shards] == sizes
    assert max(sizes) - min(sizes) <= 1


STAGES = (Stage(until=3, gt_size=16, batch_size_per_gpu=4), Stage(until=5, gt_size=24, batch_size_per_gpu=2))


def test_stages_of_progressive_training_follow_each_other():
    found = batches(8, 7, 1, 0, stages=STAGES)
    assert [len(batch) for batch in found] == [4, 4, 4, 2, 2, 1, 1, 1]
    assert [batch[0][2:] for batch in found] == [(16,)] * 3 + [(24,)] * 2 + [()] * 3
    # The stream of samples is that of any other batches.
    plain = [key for batch in batches(19, 7, 1, 0) for key in batch]
    assert [key[:2] for batch in found for key in batch] == plain


@pytest.mark.parametrize("start", range(8))
def test_a_stream_in_stages_starts_anywhere_and_on_any_number_of_processes(start):
    whole = list(islice(ShuffledBatches(7, 2, 0, stages=STAGES), 9))
    assert list(islice(ShuffledBatches(7, 2, 0, start=start, stages=STAGES), 9 - start)) == whole[start:]
    parts = [ShuffledBatches(7, 2, 0, rank, 2, start, STAGES) for rank in range(2)]
    both = [[*a, *b] for a, b in islice(zip(*parts, strict=True), 3)]
    doubled = [Stage(stage.until, stage.gt_size, 2 * stage.batch_size_per_gpu) for stage in STAGES]
    one = ShuffledBatches(7, 4, 0, start=start, stages=doubled)
    assert both == list(islice(one, 3))
    assert parts[0].samples_until(start) == one.samples_until(start)
