from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from restore.data.sampling import RunSampler, ShareSampler, flip_and_turn, generator_of_sample, image_of_sample
from restore.io.errors import SettingError


@settings(deadline=None)
@given(seed=st.integers(0, 2**31), count=st.integers(1, 50), rounds=st.integers(1, 4))
def test_every_round_shows_every_image_once(seed: int, count: int, rounds: int) -> None:
    for round_ in range(rounds):
        shown = [image_of_sample(seed, round_ * count + k, count) for k in range(count)]
        assert sorted(shown) == list(range(count))


def test_rounds_and_seeds_have_their_own_order() -> None:
    orders = {tuple(image_of_sample(seed, r * 20 + k, 20) for k in range(20)) for seed in range(3) for r in range(3)}
    assert len(orders) == 9


def test_random_numbers_depend_on_seed_and_number_alone() -> None:
    draws = {(s, i): generator_of_sample(s, i).integers(2**40) for s in range(10) for i in range(50)}
    assert len(set(draws.values())) == 500
    assert generator_of_sample(3, 7).integers(2**40) == draws[3, 7]


@settings(deadline=None)
@given(
    batches=st.integers(1, 20),
    per_process=st.integers(1, 4),
    world=st.integers(1, 4),
    start=st.integers(0, 20),
)
def test_processes_share_the_global_batch_and_a_start_only_skips(
    batches: int, per_process: int, world: int, start: int
) -> None:
    size = per_process * world
    shares = [
        list(RunSampler(batches, size, start=min(start, batches), rank=rank, world=world)) for rank in range(world)
    ]
    whole = list(RunSampler(batches, size))
    assert [sorted(sum(parts, [])) for parts in zip(*shares, strict=True)] == whole[start:]
    assert sum(whole, []) == list(range(batches * size))
    assert all(len(RunSampler(batches, size, start=start)) == batches for start in range(batches))


def test_a_batch_that_does_not_divide_is_refused() -> None:
    with pytest.raises(SettingError) as error:
        RunSampler(1, 3, world=2)
    assert (error.value.key, error.value.got) == ("data.batch_size", 3)


@settings(deadline=None)
@given(count=st.integers(0, 30), world=st.integers(1, 5))
def test_shares_hold_each_index_once(count: int, world: int) -> None:
    seen = Counter(i for rank in range(world) for i in ShareSampler(count, rank=rank, world=world))
    assert seen == Counter(range(count))


def test_the_eight_symmetries_are_different_and_a_square_keeps_its_shape() -> None:
    image = torch.arange(2 * 3 * 3).view(2, 3, 3)
    views = [flip_and_turn(image, code) for code in range(8)]
    assert len({tuple(view.flatten().tolist()) for view in views}) == 8
    expected = {
        tuple(np.rot90(flipped, turns, (1, 2)).flatten().tolist())
        for flipped in (image.numpy(), image.numpy()[:, :, ::-1])
        for turns in range(4)
    }
    assert {tuple(view.flatten().tolist()) for view in views} == expected
