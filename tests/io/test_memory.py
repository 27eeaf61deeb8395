from __future__ import annotations

import threading

import numpy as np
import pytest

from napari_pathfm.io.memory import Recycler, in_reach, recycler


def address(array: np.ndarray) -> int:
    return int(array.ctypes.data)


@pytest.mark.parametrize("side", [64, 240, 256, 1024])
def test_memory_within_reach_is_not_aligned_to_what_decoders_write_past_the_cache(
    side: int,
) -> None:
    memory = in_reach(side, side + 2)
    assert memory.shape == (side, side + 2, 3)
    assert memory.flags.c_contiguous
    assert address(memory) % 32 == 16


def test_memory_is_used_again_when_the_last_view_of_it_is_gone() -> None:
    memory = Recycler()
    first = memory.take(4, 50, 50, 3)
    place, part = address(first), first[1:, :10]
    part[:] = 7
    del first
    second = memory.take(4, 50, 50, 3)
    assert address(second) != place
    assert (part == 7).all()
    del part
    smaller = memory.take(3, 50, 50, 3)
    assert address(smaller) == place
    assert smaller.shape == (3, 50, 50, 3)
    assert smaller.flags.writeable


def test_little_is_not_taken_from_much() -> None:
    memory = Recycler()
    place = address(memory.take(1000))
    assert address(memory.take(100)) != place
    assert address(memory.take(600)) == place


def test_what_is_idle_is_bounded() -> None:
    memory = Recycler(idle_bytes=1000)
    held = [memory.take(400) for _ in range(5)]
    del held
    assert memory.idle_bytes == 800
    memory.take(5000)
    assert memory.idle_bytes <= 1000


def test_threads_never_share_memory() -> None:
    memory, wrong = Recycler(), []

    def use(number: int) -> None:
        for _ in range(300):
            mine = memory.take(1000)
            mine[:] = number
            if (mine != number).any():
                wrong.append(number)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not wrong
    assert memory.idle_bytes <= 2 * 8 * 1000, "a thread holds its last one while it takes the next"


def test_all_walks_share_one() -> None:
    assert recycler() is recycler()
