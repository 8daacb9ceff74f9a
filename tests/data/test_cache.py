import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from restore.data.cache import ImageCache

GIB = 2**30


def image(value: int, nbytes: int = 100) -> Tensor:
    return torch.full((nbytes,), value, dtype=torch.uint8)


def test_images_are_kept_until_the_first_that_does_not_fit() -> None:
    cache: ImageCache[int, Tensor] = ImageCache(250 / GIB)
    for key, nbytes in enumerate((100, 100, 100, 10)):
        cache.add(key, image(key, nbytes))
    assert (cache.kept_bytes, cache.room, cache.is_full) == (200, 50, True)
    decoded = image(9)
    assert [cache.get(key, lambda _: decoded) is decoded for key in range(4)] == [False, False, True, True]


def test_an_image_that_is_kept_takes_its_room_once_and_is_not_copied() -> None:
    cache: ImageCache[str, Tensor] = ImageCache(100 / GIB)
    first = image(1)
    cache.add("a", first)
    cache.add("a", image(2))
    assert cache.get("a", lambda _: pytest.fail("decoded again")) is first
    assert (cache.kept_bytes, cache.is_full) == (100, False)


def test_nothing_is_kept_without_room() -> None:
    cache: ImageCache[str, Tensor] = ImageCache(0.0)
    cache.add("a", image(1))
    assert (cache.kept_bytes, cache.is_full) == (0, True)


def test_threads_together_keep_no_more_than_fits() -> None:
    cache: ImageCache[int, Tensor] = ImageCache(5050 / GIB)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: cache.add(key, image(key % 256)), range(200)))
    assert (cache.kept_bytes, cache.room) == (5000, 50)


def test_a_cache_can_be_sent_to_a_worker_that_is_spawned() -> None:
    cache: ImageCache[str, Tensor] = ImageCache(1.0)
    cache.add("a", image(3))
    again = pickle.loads(pickle.dumps(cache))
    assert torch.equal(again.get("a", lambda _: image(0)), image(3))
