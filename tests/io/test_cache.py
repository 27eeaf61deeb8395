from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_pathfm.core.slide import SlideError
from napari_pathfm.io.cache import DEFAULT_BYTES, SegmentCache, shared_cache


def block(kilobytes: int = 1) -> np.ndarray:
    return np.zeros(kilobytes * 1024, np.uint8)


def test_each_segment_is_decoded_once() -> None:
    cache, calls = SegmentCache(), []
    for _ in range(3):
        cache.get("a", lambda: calls.append(1) or block())
    assert len(calls) == 1


def test_threads_that_want_one_segment_decode_it_once() -> None:
    cache, calls, found = SegmentCache(), [], []
    ready = threading.Barrier(8)

    def decode() -> np.ndarray:
        calls.append(1)
        time.sleep(0.05)
        return block()

    def want() -> None:
        ready.wait(10)
        found.append(cache.get("a", decode))

    threads = [threading.Thread(target=want) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(calls) == 1
    assert len(found) == 8
    assert all(each is found[0] for each in found)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5)), max_size=60))
def test_the_bound_holds(wanted: list[tuple[int, int]]) -> None:
    cache = SegmentCache(4 * 1024)
    for key, size in wanted:
        assert cache.get((key, size), lambda size=size: block(size)).size == size * 1024
        assert cache.nbytes <= cache.max_bytes
        assert cache.nbytes == sum(part.nbytes for part in cache._kept.values())


def test_the_least_recently_used_goes_first() -> None:
    cache = SegmentCache(2 * 1024)
    cache.get("a", block)
    cache.get("b", block)
    assert cache.peek("a") is not None
    cache.get("c", block)
    assert cache.peek("b") is None
    assert cache.peek("a") is not None
    assert len(cache) == 2
    cache.clear()
    assert cache.nbytes == 0
    assert cache.peek("a") is None


def test_an_error_reaches_the_caller_and_is_not_kept() -> None:
    cache = SegmentCache()

    def broken() -> np.ndarray:
        raise SlideError("damaged")

    with pytest.raises(SlideError):
        cache.get("a", broken)
    assert cache.get("a", block) is cache.peek("a")


def test_segments_are_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        SegmentCache().get("a", block)[0] = 1


def test_decoding_may_ask_for_other_segments() -> None:
    cache = SegmentCache()
    cache.get("coarse", lambda: cache.get("fine", block).copy())
    assert len(cache) == 2


def test_one_cache_is_shared() -> None:
    assert shared_cache() is shared_cache()
    assert shared_cache().max_bytes == DEFAULT_BYTES


def test_what_is_wanted_once_goes_first() -> None:
    cache = SegmentCache(10 * 1024)
    cache.get("kept", block)
    for number in range(50):
        cache.get(number, block, once=True)
    assert cache.peek("kept") is not None
    assert cache.nbytes <= 10 * 1024
    for number in range(100, 109):
        cache.get(number, block)
    assert cache.peek("kept") is not None, "steps make room first"
    cache.get("another", block)
    assert len(cache) == 10
